//! An in-memory sandbox API that speaks E2B's protocol, for the demo, tests and benches.
//!
//! It is not a sandbox: it isolates nothing, keeps everything in memory and answers commands from a toy shell. It is an
//! *upstream*: the gateway stands in front of it. Of the gateway's own modules it uses only the clock and the port
//! numbers.

mod connect;
mod control;
mod dataplane;
mod envd;
mod events;
mod faults;
mod files;
mod filesystem;
mod interpreter;
mod port;
mod process;
mod python;
mod query;
mod record;
mod reply;
mod schedules;
mod server;
mod shell;
mod state;
mod tally;
mod templates;
mod transfer;
mod view;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

pub use self::faults::Lists;
pub use self::record::{KEPT_BODY, Plane, RecordedRequest};
use self::state::World;

/// A port that is closed in every sandbox, to see what a client makes of it.
pub const CLOSED_PORT: u16 = 9;

/// Metadata of a create request: answer with this status and create nothing.
pub const FAIL: &str = "simulator-fail";

/// Metadata of a create request: answer with this status although the sandbox is there.
pub const FAIL_AFTER: &str = "simulator-fail-after";

/// Metadata of a create request: how it ends without an answer. `reset` and `reset-after` end the connection, without
/// and with a sandbox; `stall` and `stall-after` are silent for a second first; so is `late`, and its sandbox is there
/// after three; `garbled` answers nonsense.
pub const FAULT: &str = "simulator-fault";

/// Metadata of a fork request: so many of the forks fail.
pub const FAIL_FORKS: &str = "simulator-fail-forks";

/// Metadata of a create request: create at once, but answer only after so many milliseconds.
pub const DELAY: &str = "simulator-delay-ms";

/// How the simulator behaves.
#[derive(Clone)]
pub struct Options {
    /// Where the control plane listens; port 0 takes any free port.
    pub listen: SocketAddr,
    /// Where the data plane listens, for every port of every sandbox.
    pub envd_listen: SocketAddr,
    /// If set, the control plane demands exactly this `X-API-Key`, save for `GET /health`.
    pub api_key: Option<String>,
    /// As Cube: 405 on `POST /v2/sandboxes` and `POST /v2/sandboxes/{id}/connect`.
    pub v1_only: bool,
    /// As a simple upstream: lists take `metadata` and `sandboxID` filters and do not apply them.
    pub ignore_filters: bool,
    /// As Cube: snapshots say which sandbox they were taken of.
    pub snapshot_origins: bool,
    /// Whether sandboxes have tokens. Without, as at Cube, answers hold none and the data plane is open.
    pub tokens: bool,
    /// What becomes of the metadata that creates and forks give.
    pub metadata: Metadata,
    /// The `domain` of create answers.
    pub domain: Option<String>,
    /// Run real commands on this machine in place of the toy shell. There is no isolation whatsoever.
    pub local_processes: bool,
    /// Keep requests for [`Simulator::requests`], without bound: not for anything that runs long. They are counted in
    /// any case.
    pub record: bool,
}

/// What becomes of metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metadata {
    /// It is kept, and a fork gets its parent's.
    #[default]
    Kept,
    /// It is kept, but a fork has none.
    KeptButNotForked,
    /// It is forgotten at once.
    Dropped,
}

impl Default for Options {
    fn default() -> Self {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            listen: loopback,
            envd_listen: loopback,
            api_key: None,
            v1_only: false,
            ignore_filters: false,
            snapshot_origins: false,
            tokens: true,
            metadata: Metadata::Kept,
            domain: None,
            local_processes: false,
            record: true,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .field("envd_listen", &self.envd_listen)
            .field("api_key", &self.api_key.as_ref().map(|_| "[redacted]"))
            .field("v1_only", &self.v1_only)
            .field("ignore_filters", &self.ignore_filters)
            .field("snapshot_origins", &self.snapshot_origins)
            .field("tokens", &self.tokens)
            .field("metadata", &self.metadata)
            .field("domain", &self.domain)
            .field("local_processes", &self.local_processes)
            .field("record", &self.record)
            .finish()
    }
}

/// A running simulator, on a runtime of its own; dropping it closes its listeners and everything it runs.
pub struct Simulator {
    api: SocketAddr,
    data: SocketAddr,
    world: Arc<World>,
    runtime: Option<Runtime>,
    listeners_closed: Mutex<mpsc::Receiver<()>>,
}

impl Simulator {
    /// Starts a simulator.
    ///
    /// # Errors
    /// When a listener cannot be bound, no runtime can be built, or the system gives no random bytes.
    pub fn start(options: Options) -> io::Result<Self> {
        let api = server::bind(options.listen)?;
        let data = server::bind(options.envd_listen)?;
        let (api_address, data_address) = (api.local_addr()?, data.local_addr()?);
        let world = Arc::new(World::new(options, api_address)?);
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("simulator")
            .enable_all()
            .build()?;
        let (listener_held, listeners_closed) = mpsc::channel();
        {
            let _inside = runtime.enter();
            let planes = [
                (TcpListener::from_std(api)?, Plane::Control, control::router(&world)),
                (TcpListener::from_std(data)?, Plane::Data, dataplane::router(&world)),
            ];
            for (listener, plane, router) in planes {
                let recorder = Arc::clone(&world.recorder);
                let held = listener_held.clone();
                runtime.spawn(async move {
                    server::accept(listener, plane, router, recorder).await;
                    drop(held);
                });
            }
            runtime.spawn(state::expire(Arc::clone(&world)));
        }
        Ok(Self {
            api: api_address,
            data: data_address,
            world,
            runtime: Some(runtime),
            listeners_closed: Mutex::new(listeners_closed),
        })
    }

    /// Base URL of the control plane, without a trailing slash.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}", self.api)
    }

    /// Base URL of the data plane.
    #[must_use]
    pub fn envd_url(&self) -> String {
        format!("http://{}", self.data)
    }

    /// Starts one sandbox of the base template for each `metadata`, as creates would, but without any request. Their
    /// ids, in order; they live for an hour.
    pub fn seed(
        &self,
        metadata: impl IntoIterator<Item = BTreeMap<String, String>>,
    ) -> Vec<String> {
        let seed = |metadata| self.world.seed(metadata).id.clone();
        metadata.into_iter().map(seed).collect()
    }

    /// Ends a sandbox, without any request; whether there was one.
    pub fn kill(&self, id: &str) -> bool {
        self.world.kill(id)
    }

    /// How many sandboxes there are that were created with this metadata, and how many there ever were at once. Only
    /// with [`Options::record`].
    #[must_use]
    pub fn count_of(&self, name: &str, value: &str) -> (usize, usize) {
        locked(&self.world.tally).of(name, value)
    }

    /// Answers lists like this from now on.
    pub fn answer_lists(&self, lists: Lists) {
        self.world.lists.set(lists);
    }

    /// The requests seen since the start or the last [`Self::clear_requests`], oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.world.recorder.requests()
    }

    /// Forgets the recorded requests; the counts stay.
    pub fn clear_requests(&self) {
        self.world.recorder.clear();
    }

    /// How many requests ever arrived, recorded or not.
    #[must_use]
    pub fn request_count(&self) -> u64 {
        self.world.recorder.seen()
    }

    /// How many requests the client left before they were answered in full.
    #[must_use]
    pub fn aborted(&self) -> u64 {
        self.world.recorder.aborted()
    }

    /// The real tokens of a sandbox (`envdAccessToken`, `trafficAccessToken`), which only the gateway should ever know;
    /// `None` for an unknown id, and without [`Options::tokens`].
    #[must_use]
    pub fn tokens_of(&self, sandbox: &str) -> Option<(String, String)> {
        let sandbox = self.world.sandbox(sandbox)?;
        Some((sandbox.access_token.clone()?, sandbox.traffic_token.clone()?))
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator")
            .field("api", &self.api)
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
            // So that the ports are free when this returns. The senders are never used, only dropped.
            let _ = locked(&self.listeners_closed).recv_timeout(Duration::from_secs(1));
        }
    }
}

/// Locks; state here is whole between statements, so a poisoned lock is as good as any.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
