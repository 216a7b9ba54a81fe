//! One serving thread: a single-threaded runtime with its own sockets, upstream pool and stack.
//!
//! Workers share immutable snapshots and nothing that has to be locked on the way of a request.

mod doors;
mod reception;

use std::fmt;
use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::MissedTickBehavior;
use tokio_util::task::TaskTracker;

use self::doors::Doors;
use self::reception::Reception;
use crate::endpoint::Audit;
use crate::layer::auth::Gate;
use crate::layer::cors::Cors;
use crate::layer::observe::Watch;
use crate::lifecycle::{Phases, Pulse};
use crate::listener::{bind, tls};
use crate::proxy::admission::Admissions;
use crate::proxy::pool;
use crate::proxy::tunnel::Tunnels;
use crate::proxy::{Forwarder, Upstreams};
use crate::record::Observers;
use crate::request::trace::Sampler;
use crate::route::Listener;
use crate::server::connection::{self, Connections};
use crate::server::stack;

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// What decides.
    pub gate: Arc<Gate>,
    /// Who may start sandboxes.
    pub admissions: Arc<Admissions>,
    /// Where everything is.
    pub upstreams: Arc<Upstreams>,
    /// Which browsers' origins may ask.
    pub cors: Arc<Cors>,
    /// Who is told of requests.
    pub observers: Observers,
    /// Which traces are kept; none: none are made.
    pub sampler: Option<Sampler>,
    /// Open tunnels of all workers.
    pub tunnels: Arc<AtomicUsize>,
    /// What the audit endpoints tell of.
    pub audit: Audit,
    /// How upstreams are reached.
    pub pool: pool::Settings,
    /// What TLS offers on TCP; none: clients are spoken to in clear text.
    pub tls: Option<Arc<tls::Store>>,
    /// What connections may take.
    pub connections: connection::Settings,
    /// Whose forwarded headers are believed; a reload changes it for connections that come later.
    pub trusted_proxies: ArcSwap<Arc<[IpNet]>>,
    /// Places for open connections.
    pub places: Arc<Semaphore>,
    /// The steps of stopping.
    pub phases: Phases,
    /// Who goes on with connections that are to leave this process; nobody until there is one.
    pub heir: OnceLock<Heir>,
    /// How often somebody wants to see that the workers turn; none: nobody does.
    pub watched: Option<Duration>,
}

/// Goes on with connections that leave this process.
pub struct Heir(pub Box<dyn Fn(Adopted) + Send + Sync>);

impl fmt::Debug for Heir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Heir")
    }
}

/// A client's connection that changes processes.
#[derive(Debug)]
pub struct Adopted {
    /// What requests on it are for.
    pub listener: Listener,
    /// Whether a request ever came on it.
    pub is_used: bool,
    /// The connection.
    pub stream: Stream,
}

/// A connection outside of any runtime.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// On a unix socket.
    Unix(std::os::unix::net::UnixStream),
}

/// One socket of a worker and what it stands for.
#[derive(Debug)]
pub struct Socket {
    /// What requests on it are for.
    pub listener: Listener,
    /// The socket.
    pub socket: bind::Socket,
}

/// What one worker has to itself.
#[derive(Debug)]
pub struct Part {
    /// What it accepts connections on.
    pub sockets: Vec<Socket>,
    /// Connections that come from the process before this one, until that has ended, and their places here.
    pub adopted: UnboundedReceiver<(Adopted, OwnedSemaphorePermit)>,
    /// Whether it lists sandboxes for all of them.
    pub keeps_census: bool,
}

/// Serves until the gateway drains and every connection has ended, or until it stops.
///
/// # Errors
/// The runtime or a socket could not be set up.
pub fn run(shared: Arc<Shared>, part: Part) -> io::Result<()> {
    let Part { sockets, adopted, keeps_census } = part;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let tunnels = Tunnels {
            open: TaskTracker::new(),
            close: shared.phases.close.clone(),
            stop: shared.phases.stop.clone(),
            count: Arc::clone(&shared.tunnels),
        };
        let forwarder = Forwarder::new(
            pool::build(&shared.pool),
            Arc::clone(&shared.upstreams),
            Arc::clone(&shared.gate.authenticator),
            shared.gate.directory.clone(),
            Arc::clone(&shared.admissions),
            tunnels.clone(),
        );
        let census = keeps_census.then(|| {
            let (shared, asker) = (Arc::clone(&shared), forwarder.asker());
            tokio::spawn(async move {
                let admissions = &shared.admissions;
                tokio::select! {
                    () = admissions.census.keep(&asker, admissions.cadence) => {}
                    () = shared.phases.replaced() => {}
                }
            })
        });
        if let Some(interval) = shared.watched {
            tokio::spawn(turn(shared.phases.pulse.clone(), interval));
        }
        let callback = shared.gate.authenticator.callback();
        let line = callback.map(|callback| callback.line()).transpose()?;
        let watch = Watch {
            cors: Arc::clone(&shared.cors),
            observers: shared.observers.clone(),
            sampler: shared.sampler,
        };
        let stack = stack(Arc::clone(&shared.gate), line, watch, shared.audit.clone(), forwarder);
        let connections = Connections::new(&shared.connections, stack);
        let open = tunnels.open.clone();
        let reception = Reception { shared: Arc::clone(&shared), connections, open: open.clone() };
        let doors = Doors::of(&sockets, shared.tls.is_some())?;
        let accepting = TaskTracker::new();
        for socket in sockets {
            reception.accept_on(socket, &accepting)?;
        }
        open.spawn(reception.adopt(adopted, doors));
        let begun = shared.phases.accepting.begin();
        accepting.close();
        accepting.wait().await;
        drop(begun);
        open.close();
        tokio::select! {
            () = open.wait() => {}
            () = shared.phases.stop.cancelled() => {}
        }
        if let Some(census) = census {
            census.abort();
        }
        Ok(())
    })
}

/// Answers whenever somebody wants to see that this worker turns.
async fn turn(pulse: Pulse, interval: Duration) {
    let (mut ticks, mut seen) = (tokio::time::interval(interval), 0);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        pulse.answer(&mut seen);
    }
}
