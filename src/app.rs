//! Composition: turns settings into running workers.
//!
//! The one module that knows both settings and the parts they set up. Nothing here sees a request.

mod secret;
mod sockets;
mod watch;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use http::HeaderValue;
use tokio::sync::Semaphore;

use crate::audit::journal::{self, Journal};
use crate::authn::{Authenticator, KeyRing};
use crate::callback::Callback;
use crate::config::{
    AuditPolicy, AuditSettings, AuditSync, Listen, Loaded, Settings, TenantSettings,
    UpstreamSettings, UpstreamUrl,
};
use crate::directory::Directory;
use crate::endpoint::Audit;
use crate::http1::{ConnectError, Tls};
use crate::layer::auth::Gate;
use crate::layer::cors::Cors;
use crate::lifecycle::Phases;
use crate::listener::head_guard::Limits;
use crate::metrics::Reloads;
use crate::ops::{self, Ops};
use crate::ownership::Ownership;
use crate::permit::Isolation;
use crate::proxy::admission::Admissions;
use crate::proxy::census::Census;
use crate::proxy::edit::Reserved;
use crate::proxy::lookup::Asker;
use crate::proxy::{Marking, Shown, Upstream, Upstreams, pool, v1};
use crate::quota::{self, Cadence, Ledger, MemoryLedger, Policy};
use crate::route::{Listener, Router};
use crate::server::connection;
use crate::traces::Sending;
use crate::worker::{self, Shared};
use watch::Watching;

/// A running gateway.
#[derive(Debug)]
pub struct App {
    /// The static keys in force, for reloads.
    pub keys: Arc<KeyRing>,
    /// Who is who, for reloads.
    pub authenticator: Arc<Authenticator>,
    /// The steps of stopping.
    pub phases: Phases,
    /// Where it listens, and what for; free ports are known by now.
    pub listening: Vec<(Listen, Listener)>,
    /// How reloads went.
    pub reloads: Arc<Reloads>,
    /// Where audit events are written, for reopening and for its end.
    pub journal: Option<Arc<Journal>>,
    towards: Towards,
    workers: Vec<JoinHandle<io::Result<()>>>,
    sending: Option<Sending>,
}

/// What proves identities in TLS towards those whom the gateway asks.
#[derive(Debug)]
struct Towards {
    upstreams: Tls,
    callback: Option<Tls>,
}

impl Towards {
    fn of(settings: &Settings) -> Self {
        let callback = settings.auth.callback.as_ref().map(|callback| callback.tls.clone());
        Self { upstreams: settings.upstream.tls.tls.clone(), callback }
    }
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address as it was set.
        address: String,
        /// Why.
        cause: io::Error,
    },
    /// The state directory cannot be used.
    #[error("cannot use the state directory: {0}")]
    State(io::Error),
    /// The audit log cannot be kept.
    #[error("cannot keep the audit log {path}: {cause}")]
    Audit {
        /// Its file as it was set.
        path: String,
        /// Why.
        cause: io::Error,
    },
    /// The auth callback cannot be set up.
    #[error("cannot set the auth callback up: {0}")]
    Callback(io::Error),
    /// Traces cannot be sent.
    #[error("cannot set traces up: {0}")]
    Traces(io::Error),
    /// A thread could not be started.
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
}

impl App {
    /// Binds every socket, then starts the workers.
    ///
    /// # Errors
    /// What could not be had from the system.
    pub fn start(loaded: Loaded) -> Result<Self, StartError> {
        let Loaded { settings, keys, warnings } = loaded;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let count = settings.server.workers.map_or_else(cores, usize::from);
        let (listening, mut sockets) = sockets::for_workers(&settings, count)?;
        let ops_sockets = sockets::for_operators(&settings)?;
        let phases = Phases::default();
        let keys = Arc::new(KeyRing::new(keys));
        let journal = journal(&settings.audit)?.map(Arc::new);
        let watching = watch::begin(&settings, journal.clone(), &phases);
        let watching = watching.map_err(StartError::Traces)?;
        let towards = Towards::of(&settings);
        let shared = Arc::new(share(&settings, Arc::clone(&keys), phases.clone(), &watching)?);
        let reloads = Arc::new(Reloads::default());
        let registry = watch::registry(
            watching.requests,
            watching.spans,
            watching.trail,
            &shared,
            &keys,
            &reloads,
        );
        let mut workers = Vec::with_capacity(count);
        for number in 0..count {
            let (shared, sockets) = (Arc::clone(&shared), sockets.pop().unwrap_or_default());
            let serve = move || worker::run(shared, sockets, number == 0);
            workers.push(begin(format!("worker-{number}"), "a worker", serve)?);
        }
        let authenticator = Arc::clone(&shared.gate.authenticator);
        if !ops_sockets.is_empty() {
            let unready = watch::unready(Arc::clone(&authenticator), Arc::clone(&keys));
            let ops = Ops { registry, phases: phases.clone(), workers: count, unready };
            let serve = move || ops::run(ops, ops_sockets);
            begin("ops".to_owned(), "metrics and health", serve)?;
        }
        let sending = watching.sending;
        Ok(Self {
            keys,
            authenticator,
            phases,
            listening,
            reloads,
            journal,
            towards,
            workers,
            sending,
        })
    }

    /// Brings into force, for new connections, the authorities and certificates in TLS towards upstreams and the auth callback.
    pub fn renew_tls(&self, settings: &Settings) {
        let newer = Towards::of(settings);
        self.towards.upstreams.install(&newer.upstreams);
        if let (Some(own), Some(newer)) = (&self.towards.callback, &newer.callback) {
            own.install(newer);
        }
    }

    /// Sends what still waits to be sent. To be called when all is over.
    pub fn finish(self) {
        if let Some(sending) = self.sending {
            sending.finish();
        }
    }

    /// Whether every worker has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.workers.iter().all(JoinHandle::is_finished)
    }

    /// Whether a worker ended although nobody asked it to.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        !self.phases.drain.is_cancelled() && self.workers.iter().any(JoinHandle::is_finished)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Starts a thread that serves, and that tells the log if it has to give up.
fn begin(
    name: String,
    what: &'static str,
    serve: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<JoinHandle<io::Result<()>>, StartError> {
    let serve = move || serve().inspect_err(|cause| tracing::error!(%cause, "{what} cannot go on"));
    std::thread::Builder::new().name(name).spawn(serve).map_err(StartError::Worker)
}

fn share(
    settings: &Settings,
    keys: Arc<KeyRing>,
    phases: Phases,
    watching: &Watching,
) -> Result<Shared, StartError> {
    let auth = &settings.auth;
    let keys = (!auth.is_open()).then_some(keys);
    let callback = auth.callback.clone().map(Callback::new).transpose();
    let callback = callback.map_err(StartError::Callback)?.map(Arc::new);
    let sealer = secret::sealer(settings).map_err(StartError::State)?;
    let ownership = Ownership::open(settings.state_dir.as_deref()).map_err(StartError::State)?;
    let authenticator = Authenticator::new(keys, callback, sealer, settings.auth.precedence);
    let directory = Directory::new(ownership);
    let admissions = admissions(settings, &directory).map_err(StartError::State)?;
    let server = &settings.server;
    let origins = server.cors_origins.iter();
    let origins =
        origins.filter_map(|origin| HeaderValue::from_str(origin.as_str()).ok()).collect();
    Ok(Shared {
        gate: Arc::new(Gate {
            authenticator: Arc::new(authenticator),
            directory,
            router: Router::new(),
            isolation: if settings.tenants.isolation { Isolation::On } else { Isolation::Off },
            domain: server.domain.clone(),
            strangers: Semaphore::new(Gate::STRANGERS),
            audit: watching.journal.clone(),
        }),
        admissions: Arc::new(admissions),
        upstreams: Arc::new(upstreams(settings)),
        cors: Arc::new(Cors::new(origins)),
        observers: watching.observers.clone(),
        audit: Audit::new(Arc::clone(&watching.trail), phases.drain.clone()),
        sampler: settings.traces.as_ref().map(|traces| traces.sampler),
        tunnels: Arc::default(),
        pool: pool_settings(&settings.upstream),
        connections: connection::Settings {
            limits: Limits {
                head_timeout: server.head_timeout,
                idle_timeout: server.idle_timeout,
                park_after: Some(connection::PARK_AFTER),
                ..Limits::default()
            },
            max_streams: server.max_streams,
        },
        trusted_proxies: server.trusted_proxies.as_slice().into(),
        places: Arc::new(Semaphore::new(server.max_connections.get())),
        phases,
    })
}

/// The journal of audit events, where one is to be kept.
fn journal(audit: &AuditSettings) -> Result<Option<Journal>, StartError> {
    let Some(path) = audit.log.clone() else { return Ok(None) };
    let settings = journal::Settings {
        policy: match audit.policy {
            AuditPolicy::Drop => journal::Policy::Drop,
            AuditPolicy::Block => journal::Policy::Block,
        },
        sync: match audit.sync {
            AuditSync::Each => journal::Syncing::Each,
            AuditSync::Every(interval) => journal::Syncing::Every(interval),
            AuditSync::Never => journal::Syncing::Never,
        },
        rotate_size: audit.rotate_size,
        ..journal::Settings::new(path.clone())
    };
    let opened = Journal::open(settings);
    let failed = |cause| StartError::Audit { path: path.display().to_string(), cause };
    opened.map(Some).map_err(failed)
}

/// What admits sandboxes. What was being started when an earlier process was killed is known where there is a state
/// directory.
fn admissions(settings: &Settings, directory: &Directory) -> io::Result<Admissions> {
    let TenantSettings { limits, quota_status, .. } = &settings.tenants;
    for (tenant, limit) in limits.lines() {
        tracing::info!(tenant, limit, "active sandboxes are limited");
    }
    let policy = Policy { grace: quota::GRACE, honours_keys: true };
    let ledger = match &settings.state_dir {
        Some(state) => MemoryLedger::open(policy, &state.join("quota"))?,
        None => MemoryLedger::new(policy),
    };
    let ledger: Arc<dyn Ledger> = Arc::new(ledger);
    Ok(Admissions {
        census: Census::new(Arc::clone(&ledger), directory.clone()),
        ledger,
        limits: limits.clone(),
        over_quota: (*quota_status).into(),
        cadence: Cadence::default(),
    })
}

fn marking(tenants: &TenantSettings) -> Marking {
    let names = tenants.metadata_reserved.iter().map(ToString::to_string);
    let names: Vec<String> = names.collect();
    Marking {
        reserved: Reserved::new(names.iter().map(String::as_str)),
        shown: if tenants.show_marker { Shown::ToAdmins } else { Shown::ToNobody },
    }
}

fn upstreams(settings: &Settings) -> Upstreams {
    let upstream = &settings.upstream;
    Upstreams {
        control: address(upstream, &upstream.url),
        key: key(upstream),
        ports: upstream.envd.by_port().map(|(port, url)| (port, address(upstream, url))).collect(),
        any_port: upstream.envd.rest().map(|url| address(upstream, url)),
        domain: settings
            .server
            .domain
            .as_ref()
            .map_or("localhost", |domain| domain.as_str())
            .into(),
        response_timeout: upstream.response_timeout,
        create_timeout: upstream.create_timeout,
        lookup_timeout: upstream.lookup_timeout,
        marking: marking(&settings.tenants),
        dialects: v1::Dialects::default(),
    }
}

/// Asks the upstream that the settings name, without a gateway. Call it inside a runtime.
#[must_use]
pub fn asker(settings: &Settings) -> Asker {
    Asker::new(pool::build(&pool_settings(&settings.upstream)), Arc::new(upstreams(settings)))
}

/// Sees whether connections to an upstream can be opened, without a gateway. Call it inside a runtime.
///
/// # Errors
/// They cannot.
pub async fn reach(settings: &Settings, url: &UpstreamUrl) -> Result<(), ConnectError> {
    let pool = pool::build(&pool_settings(&settings.upstream));
    pool.reach(&url.address(&settings.upstream.tls)).await
}

fn pool_settings(upstream: &UpstreamSettings) -> pool::Settings {
    pool::Settings {
        connect_timeout: upstream.connect_timeout,
        idle_timeout: upstream.idle_timeout,
        http2: upstream.http2,
    }
}

fn address(upstream: &UpstreamSettings, url: &UpstreamUrl) -> Upstream {
    Upstream::new(url.address(&upstream.tls), url.path_prefix())
}

fn key(upstream: &UpstreamSettings) -> Option<HeaderValue> {
    let mut key = HeaderValue::from_str(upstream.api_key.as_ref()?.expose()).ok()?;
    key.set_sensitive(true);
    Some(key)
}
