//! The simulated world: which sandboxes there are, and the life of each.
//!
//! Only lifecycle lives here. What is inside a sandbox (files, processes, interpreter contexts) is kept by those
//! modules.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::events::Events;
use super::faults::ListFault;
use super::files::Files;
use super::interpreter::Contexts;
use super::process::Processes;
use super::record::Recorder;
use super::schedules::Schedules;
use super::tally::Tally;
use super::templates::Templates;
use super::{Metadata, Options, locked};
use crate::clock::UnixTime;

/// The version sandboxes claim for their envd; SDKs choose features by it.
pub(super) const ENVD_VERSION: &str = "0.6.13";

/// How often sandboxes past their time are looked for, as at E2B.
const EXPIRY_TICK: Duration = Duration::from_millis(50);

const SEED_TEMPLATE: &str = "base";
const SEED_LIFETIME: u32 = 3600;

/// Everything the two planes share.
pub(super) struct World {
    pub(super) options: Options,
    pub(super) api: SocketAddr,
    pub(super) recorder: Arc<Recorder>,
    pub(super) templates: Mutex<Templates>,
    pub(super) schedules: Mutex<Schedules>,
    pub(super) events: Events,
    pub(super) lists: ListFault,
    /// Locked with `sandboxes`, and after it.
    pub(super) tally: Mutex<Tally>,
    seed: [u8; 16],
    created: AtomicU64,
    sandboxes: Mutex<BTreeMap<String, Arc<Sandbox>>>,
    /// Idempotency keys, and the id of the sandbox each made.
    idempotent: Mutex<BTreeMap<Vec<u8>, String>>,
}

/// What a create request asks for, as far as it matters here.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewSandbox {
    #[serde(rename = "templateID")]
    pub(super) template: String,
    pub(super) timeout: Option<u32>,
    #[serde(default)]
    pub(super) auto_pause: bool,
    pub(super) auto_resume: Option<Value>,
    pub(super) secure: Option<bool>,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) env_vars: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) network: Map<String, Value>,
    #[serde(rename = "allow_internet_access")]
    pub(super) allow_internet_access: Option<bool>,
    pub(super) volume_mounts: Option<Value>,
}

/// One sandbox.
pub(super) struct Sandbox {
    pub(super) id: String,
    /// Rises with every sandbox created: the order of lists.
    pub(super) order: u64,
    pub(super) template: String,
    pub(super) alias: Option<String>,
    pub(super) started: UnixTime,
    /// envd's token; `None` where envd is open.
    pub(super) access_token: Option<String>,
    /// The token for the interpreter and for private ports.
    pub(super) traffic_token: Option<String>,
    pub(super) spec: NewSandbox,
    pub(super) network: Mutex<Map<String, Value>>,
    pub(super) files: Files,
    pub(super) processes: Processes,
    pub(super) contexts: Contexts,
    /// Cancelled when the sandbox ends for good.
    pub(super) ended: CancellationToken,
    life: Mutex<Life>,
}

struct Life {
    running: bool,
    deadline: Instant,
    ends: UnixTime,
    /// Cancelled when the sandbox pauses or ends; connections to it last no longer.
    session: CancellationToken,
}

/// Whether [`Sandbox::resume`] had to do anything.
#[derive(PartialEq, Eq)]
pub(super) enum Resumed {
    Now,
    WasRunning,
}

impl World {
    pub(super) fn new(options: Options, api: SocketAddr) -> io::Result<Self> {
        let mut seed = [0; 16];
        getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self {
            recorder: Arc::new(Recorder::new(options.record)),
            options,
            api,
            templates: Mutex::new(Templates::new()),
            schedules: Mutex::default(),
            events: Events::default(),
            lists: ListFault::default(),
            tally: Mutex::default(),
            seed,
            created: AtomicU64::new(0),
            sandboxes: Mutex::default(),
            idempotent: Mutex::default(),
        })
    }

    /// A name that is the same for the same purpose in one simulator, and differs between simulators.
    pub(super) fn derive(&self, purpose: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update(purpose.as_bytes());
        hex(&hash.finalize())
    }

    /// A fresh id in E2B's form: `prefix` and lower-case letters and digits, 20 in all.
    pub(super) fn fresh_id(&self, prefix: char) -> String {
        let count = self.created.fetch_add(1, Ordering::Relaxed);
        let digest = self.derive(&format!("id-{prefix}-{count}"));
        std::iter::once(prefix).chain(digest.chars().take(19)).collect()
    }

    /// Starts a sandbox; `files` are those of a parent, for forks.
    pub(super) fn create(
        &self,
        mut spec: NewSandbox,
        template: String,
        alias: Option<String>,
        timeout: u32,
        files: Files,
    ) -> Arc<Sandbox> {
        if self.options.metadata == Metadata::Dropped {
            spec.metadata.clear();
        }
        let id = self.fresh_id('i');
        let order = self.created.fetch_add(1, Ordering::Relaxed);
        let tokens = self.options.tokens;
        let secured = tokens && spec.secure != Some(false);
        let sandbox = Arc::new(Sandbox {
            access_token: secured.then(|| self.derive(&format!("envd-{id}"))),
            traffic_token: tokens.then(|| self.derive(&format!("traffic-{id}"))),
            order,
            template,
            alias,
            started: UnixTime::now(),
            network: Mutex::new(spec.network.clone()),
            spec,
            files,
            processes: Processes::default(),
            contexts: Contexts::default(),
            ended: CancellationToken::new(),
            life: Mutex::new(Life::new(timeout)),
            id: id.clone(),
        });
        {
            let mut sandboxes = locked(&self.sandboxes);
            sandboxes.insert(id, Arc::clone(&sandbox));
            if self.options.record {
                locked(&self.tally).began(&sandbox.spec.metadata);
            }
        }
        self.events.note(&sandbox, "created");
        sandbox
    }

    /// Starts a sandbox of the base template that nobody asked for.
    pub(super) fn seed(&self, metadata: BTreeMap<String, String>) -> Arc<Sandbox> {
        let spec = NewSandbox {
            template: SEED_TEMPLATE.to_owned(),
            secure: Some(true),
            metadata,
            ..NewSandbox::default()
        };
        // It is one of those that are always there.
        let (template, alias) = locked(&self.templates).resolve(SEED_TEMPLATE).unwrap_or_default();
        self.create(spec, template, Some(alias), SEED_LIFETIME, Files::new())
    }

    /// What `create` makes, or what it made for the same idempotency key while that sandbox lives.
    pub(super) fn create_once(
        &self,
        key: Option<&[u8]>,
        create: impl FnOnce() -> Arc<Sandbox>,
    ) -> Arc<Sandbox> {
        let Some(key) = key else { return create() };
        let mut made = locked(&self.idempotent);
        if let Some(sandbox) = made.get(key).and_then(|id| self.sandbox(id)) {
            return sandbox;
        }
        let sandbox = create();
        made.insert(key.to_vec(), sandbox.id.clone());
        sandbox
    }

    /// The sandbox an id names; `id-suffix` names the same one as `id`.
    pub(super) fn sandbox(&self, id: &str) -> Option<Arc<Sandbox>> {
        locked(&self.sandboxes).get(plain_id(id)).cloned()
    }

    /// Every sandbox, newest first.
    pub(super) fn sandboxes(&self) -> Vec<Arc<Sandbox>> {
        let mut all: Vec<_> = locked(&self.sandboxes).values().cloned().collect();
        all.sort_by_key(|sandbox| std::cmp::Reverse(sandbox.order));
        all
    }

    /// Ends a sandbox; whether there was one.
    pub(super) fn kill(&self, id: &str) -> bool {
        let sandbox = {
            let mut sandboxes = locked(&self.sandboxes);
            let Some(sandbox) = sandboxes.remove(plain_id(id)) else { return false };
            locked(&self.tally).ended(&sandbox.spec.metadata);
            sandbox
        };
        self.events.note(&sandbox, "killed");
        sandbox.ended.cancel();
        locked(&sandbox.life).session.cancel();
        true
    }

    fn expire(&self, now: Instant) {
        for sandbox in self.sandboxes() {
            if !sandbox.is_due(now) {
                continue;
            }
            if sandbox.spec.auto_pause {
                sandbox.pause();
            } else {
                self.kill(&sandbox.id);
            }
        }
    }
}

/// Ends or pauses sandboxes whose time is over, for as long as the runtime lives.
pub(super) async fn expire(world: Arc<World>) {
    let mut tick = tokio::time::interval(EXPIRY_TICK);
    loop {
        world.expire(tick.tick().await);
    }
}

impl Sandbox {
    pub(super) fn is_running(&self) -> bool {
        locked(&self.life).running
    }

    /// The token that ends connections to this sandbox, or `None` while it is paused.
    pub(super) fn session(&self) -> Option<CancellationToken> {
        let life = locked(&self.life);
        life.running.then(|| life.session.clone())
    }

    /// Pauses; false when it was paused already.
    pub(super) fn pause(&self) -> bool {
        let mut life = locked(&self.life);
        life.session.cancel();
        std::mem::replace(&mut life.running, false)
    }

    /// Resumes with a time to live, or on a running sandbox only extends it.
    pub(super) fn resume(&self, timeout: u32) -> Resumed {
        let mut life = locked(&self.life);
        if life.running {
            life.extend(timeout);
            return Resumed::WasRunning;
        }
        *life = Life::new(timeout);
        Resumed::Now
    }

    /// Sets the time to live from now on; false when paused.
    pub(super) fn set_timeout(&self, timeout: u32) -> bool {
        let mut life = locked(&self.life);
        if life.running {
            life.deadline = after(timeout);
            life.ends = ends(timeout);
        }
        life.running
    }

    /// Makes the sandbox live at least this long from now on; false when paused.
    pub(super) fn extend(&self, timeout: u32) -> bool {
        let mut life = locked(&self.life);
        if life.running {
            life.extend(timeout);
        }
        life.running
    }

    fn is_due(&self, now: Instant) -> bool {
        let life = locked(&self.life);
        life.running && life.deadline <= now
    }

    /// When it ends unless somebody extends its life.
    pub(super) fn ends(&self) -> UnixTime {
        locked(&self.life).ends
    }

    /// Whether ports other than envd's want the traffic token.
    pub(super) fn is_private(&self) -> bool {
        locked(&self.network).get("allowPublicTraffic") == Some(&Value::Bool(false))
    }
}

impl Life {
    fn new(timeout: u32) -> Self {
        Self {
            running: true,
            deadline: after(timeout),
            ends: ends(timeout),
            session: CancellationToken::new(),
        }
    }

    fn extend(&mut self, timeout: u32) {
        let deadline = after(timeout);
        if deadline > self.deadline {
            self.deadline = deadline;
            self.ends = ends(timeout);
        }
    }
}

fn after(timeout: u32) -> Instant {
    Instant::now() + Duration::from_secs(timeout.into())
}

fn ends(timeout: u32) -> UnixTime {
    UnixTime(UnixTime::now().0 + u64::from(timeout))
}

/// An id without what 1.x clients append to it.
pub(super) fn plain_id(id: &str) -> &str {
    id.split_once('-').map_or(id, |(id, _)| id)
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
