//! Composition: turns settings into running workers.
//!
//! The one module that knows both settings and the parts they set up. Nothing here sees a request.

mod beginning;
mod quotas;
mod renewal;
mod secret;
mod sockets;
mod succession;
mod upstreams;
mod watch;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::beginning::{Beginning, Load, StartError};
pub use self::renewal::{Patience, Renewed};
use self::sockets::Opened;
pub use self::sockets::{Given, Place, Purpose};
pub use self::succession::{Estate, Late, Owner, TellLate};
pub use self::upstreams::{asker, reach};
use crate::audit::journal::{self, Journal};
use crate::authn::{Authenticator, KeyRing};
use crate::callback::Callback;
use crate::config::{
    AuditPolicy, AuditSettings, AuditSync, Given as Values, Listen, Loaded, ServerSettings,
    Settings, TlsFiles,
};
use crate::directory::Directory;
use crate::endpoint::Audit;
use crate::layer::auth::Gate;
use crate::layer::cors::Cors;
use crate::lifecycle::Phases;
use crate::listener::bind;
use crate::listener::head_guard::Limits;
use crate::listener::tls;
use crate::metrics::{Reloads, Requests};
use crate::ops::{self, Ops};
use crate::ownership::Ownership;
use crate::permit::Isolation;
use crate::proxy::admission::Admissions;
use crate::quota::MemoryLedger;
use crate::route::{Listener, Router};
use crate::secret::Secret;
use crate::server::connection;
use crate::token::Sealer;
use crate::traces::Sending;
use crate::worker::{self, Adopted, Shared};
use watch::Watching;

/// A running gateway.
#[derive(Debug)]
pub struct App {
    /// The static keys in force, for reloads.
    pub keys: Arc<KeyRing>,
    /// Who is who, for reloads.
    pub authenticator: Arc<Authenticator>,
    /// What TLS offers, where it is spoken, for reloads.
    pub tls: Option<Arc<tls::Store>>,
    /// The steps of stopping.
    pub phases: Phases,
    /// Where it listens, and what for; free ports are known by now.
    pub listening: Vec<(Listen, Listener)>,
    /// How reloads went.
    pub reloads: Arc<Reloads>,
    /// Where audit events are written, for reopening and for its end.
    pub journal: Option<Arc<Journal>>,
    shared: Arc<Shared>,
    ledger: MemoryLedger,
    /// What seals sandbox tokens, if that is nowhere but in memory.
    secret: Option<Secret>,
    requests: Arc<Requests>,
    /// Which settings were given which values when they last took effect.
    values: Mutex<Values>,
    /// What TLS is made of, by the settings in force.
    tls_files: Mutex<Option<TlsFiles>>,
    /// What it listens on, for a successor.
    sockets: Mutex<Vec<(Place, bind::Socket)>>,
    /// Where connections go that a predecessor gives up.
    adopting: Mutex<Vec<UnboundedSender<(Adopted, OwnedSemaphorePermit)>>>,
    /// Places for connections, taken or not.
    places: usize,
    towards: renewal::Towards,
    workers: Vec<JoinHandle<io::Result<()>>>,
    sending: Option<Sending>,
}

impl App {
    /// Opens every socket, then starts the workers.
    ///
    /// # Errors
    /// What could not be had from the system.
    pub fn start(loaded: Loaded, beginning: Beginning<'_>) -> Result<Self, StartError> {
        let Loaded { settings, keys, warnings, given: values } = loaded;
        let Beginning { mut given, watched, is_counted, waits, take_over } = beginning;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let count = settings.server.workers.map_or_else(cores, usize::from);
        let opened = sockets::for_clients(&settings, count, &mut given)?;
        check_reach(&settings, &opened)?;
        sockets::warn_of_clear_text(&settings, &opened);
        let for_operators = sockets::for_operators(&settings, &mut given)?;
        let failed = |cause| StartError::Listen { address: "all".to_owned(), cause };
        let dealt = sockets::deal(&opened, count).map_err(failed)?;
        let estate = take_over()?;
        let phases = Phases::default();
        if !waits {
            phases.open.cancel();
        }
        let keys = Arc::new(KeyRing::new(keys));
        let journal = journal(&settings.audit)?.map(Arc::new);
        let watching = watch::begin(&settings, journal.clone(), &phases, is_counted);
        let watching = watching.map_err(StartError::Traces)?;
        let towards = renewal::Towards::of(&settings);
        let (sealer, secret) =
            secret::sealer(&settings, estate.secret).map_err(StartError::State)?;
        let ledger = quotas::ledger(&settings, estate.slots).map_err(StartError::State)?;
        let own = Own { keys: Arc::clone(&keys), sealer, ledger: ledger.clone(), watched };
        let shared = Arc::new(share(&settings, own, phases.clone(), &watching)?);
        for (id, tenant, marked) in estate.owners {
            shared.gate.directory.ownership().learn(&id, tenant.as_ref(), marked);
        }
        let reloads = Arc::new(Reloads::default());
        let requests = Arc::clone(&watching.requests);
        let registry = watch::registry(
            watching.requests,
            watching.spans,
            watching.trail,
            &shared,
            &keys,
            &reloads,
        );
        let (mut workers, mut adopting) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (number, sockets) in dealt.into_iter().enumerate() {
            let (adopt, adopted) = unbounded_channel();
            let part = worker::Part { sockets, adopted, keeps_census: number == 0 };
            let shared = Arc::clone(&shared);
            let serve = move || worker::run(shared, part);
            workers.push(begin(format!("worker-{number}"), "a worker", serve)?);
            adopting.push(adopt);
        }
        let authenticator = Arc::clone(&shared.gate.authenticator);
        let tls = shared.tls.clone();
        if !for_operators.is_empty() {
            let unready = watch::unready(Arc::clone(&authenticator), Arc::clone(&keys));
            let ops = Ops { registry, phases: phases.clone(), workers: count, unready };
            let sockets = for_operators.iter().flat_map(|opened| &opened.sockets);
            let sockets: io::Result<Vec<_>> = sockets.map(bind::Socket::try_clone).collect();
            let sockets = sockets.map_err(failed)?;
            let serve = move || ops::run(ops, sockets);
            begin("ops".to_owned(), "metrics and health", serve)?;
        }
        let listening =
            opened.iter().map(|opened| (opened.address.clone(), opened.listener)).collect();
        let kept = opened.into_iter().chain(for_operators);
        let kept = kept.flat_map(|Opened { place, sockets, .. }| {
            sockets.into_iter().map(move |socket| (place.clone(), socket))
        });
        Ok(Self {
            keys,
            authenticator,
            tls,
            phases,
            listening,
            reloads,
            journal,
            shared,
            ledger,
            secret,
            requests,
            values: Mutex::new(values),
            tls_files: Mutex::new(settings.server.tls_files),
            sockets: Mutex::new(kept.collect()),
            adopting: Mutex::new(adopting),
            places: settings.server.max_connections.get(),
            towards,
            workers,
            sending: watching.sending,
        })
    }

    /// What it is at work on now.
    #[must_use]
    pub fn load(&self) -> Load {
        let shared = &self.shared;
        let tunnels = shared.tunnels.load(Ordering::Relaxed);
        let held = self.places.saturating_sub(shared.places.available_permits());
        let under_way = usize::try_from(self.requests.under_way()).unwrap_or(usize::MAX);
        Load { connections: held + tunnels, streams: under_way.max(tunnels) }
    }

    /// Accepts connections from now on.
    pub fn open(&self) {
        self.phases.open.cancel();
    }

    /// Stops to take connections: what runs may finish.
    pub fn drain(&self) {
        // They would keep the addresses open.
        drop(std::mem::take(&mut *lock(&self.sockets)));
        self.phases.drain.cancel();
    }

    /// Sends what still waits to be sent. To be called when all is over.
    pub fn finish(self) {
        if let Some(sending) = self.sending {
            sending.finish();
        }
    }

    /// What admits sandboxes.
    #[must_use]
    pub fn admissions(&self) -> Arc<Admissions> {
        Arc::clone(&self.shared.admissions)
    }

    /// Whether there are open tunnels.
    #[must_use]
    pub fn has_tunnels(&self) -> bool {
        self.shared.tunnels.load(Ordering::Relaxed) > 0
    }

    /// How many workers have not ended.
    #[must_use]
    pub fn running(&self) -> usize {
        self.workers.iter().filter(|worker| !worker.is_finished()).count()
    }

    /// Whether every worker accepts connections, or will as soon as it may.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.phases.accepting.count() >= self.workers.len()
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

/// Whatever panics elsewhere, what these locks guard is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An open gateway must not be reachable from elsewhere by mistake; of addresses that are set, the settings say so.
fn check_reach(settings: &Settings, opened: &[Opened]) -> Result<(), StartError> {
    let is_open = settings.auth.is_open() && !settings.server.allow_open;
    let reachable = opened.iter().find(|opened| is_open && !opened.address.is_local());
    reachable.map_or(Ok(()), |opened| {
        Err(StartError::Inherited(format!(
            "{} is reachable from elsewhere and no keys are set; set some, or say --allow-open",
            opened.address
        )))
    })
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

/// What the workers share that is made before the rest.
struct Own {
    keys: Arc<KeyRing>,
    sealer: Sealer,
    ledger: MemoryLedger,
    watched: Option<Duration>,
}

fn share(
    settings: &Settings,
    own: Own,
    phases: Phases,
    watching: &Watching,
) -> Result<Shared, StartError> {
    let Own { keys, sealer, ledger, watched } = own;
    let auth = &settings.auth;
    let keys = (!auth.is_open()).then_some(keys);
    let callback = auth.callback.clone().map(Callback::new).transpose();
    let callback = callback.map_err(StartError::Callback)?.map(Arc::new);
    let ownership = Ownership::open(settings.state_dir.as_deref()).map_err(StartError::State)?;
    let authenticator = Authenticator::new(keys, callback, sealer, settings.auth.precedence);
    let directory = Directory::new(ownership);
    let admissions = quotas::admissions(settings, ledger, &directory);
    let server = &settings.server;
    if let Some(offer) = &server.tls {
        let clients = offer.clients().map_or("not asked for", |clients| {
            if clients.are_required { "required" } else { "optional" }
        });
        let certificates = offer.identities().len();
        tracing::info!(certificates, client_certificates = clients, "TLS is spoken on TCP");
    }
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
        upstreams: Arc::new(upstreams::of(settings)),
        cors: Arc::new(Cors::new(origins(server))),
        observers: watching.observers.clone(),
        audit: Audit::new(Arc::clone(&watching.trail), phases.drain.clone()),
        sampler: settings.traces.as_ref().map(|traces| traces.sampler),
        tunnels: Arc::default(),
        pool: upstreams::pool(&settings.upstream),
        tls: server.tls.clone().map(|offer| Arc::new(tls::Store::new(offer))),
        connections: connection::Settings {
            limits: Arc::new(ArcSwap::from_pointee(connection_limits(server))),
            max_streams: server.max_streams,
        },
        trusted_proxies: ArcSwap::from_pointee(server.trusted_proxies.as_slice().into()),
        places: Arc::new(Semaphore::new(server.max_connections.get())),
        phases,
        heir: OnceLock::new(),
        watched,
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

fn origins(server: &ServerSettings) -> Vec<HeaderValue> {
    let origins = server.cors_origins.iter();
    origins.filter_map(|origin| HeaderValue::from_str(origin.as_str()).ok()).collect()
}

fn connection_limits(server: &ServerSettings) -> Limits {
    Limits {
        head_timeout: server.head_timeout,
        idle_timeout: server.idle_timeout,
        park_after: Some(connection::PARK_AFTER),
        ..Limits::default()
    }
}
