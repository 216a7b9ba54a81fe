//! The daemon: starts a gateway and runs it to its end, reloading on the way.
//!
//! First SIGTERM or SIGINT: stop accepting and let streams finish; at the deadline, or with a second signal, close what
//! is left. SIGHUP, or a changed file of keys or TLS, reloads without touching a connection; a reload that fails keeps what is in
//! force and says so. SIGUSR2 has a new process of the program take this one's place. One thread does all of this; it sees
//! no request, and no request waits for it.

mod reload;
mod running;
mod service;
mod succession;
mod watch;

use std::io;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::running::Running;
use self::service::Service;
use self::succession::Heritage;
pub use self::succession::Program;
use self::watch::Watch;
use crate::app::{self, App, Beginning, Given, Patience, StartError};
use crate::config::{Loaded, Sources};
use crate::pem::Source;
use crate::platform::inherited::{self, Variables};
use crate::telemetry;

/// Why a daemon did not start, or did not end as it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Sockets that it was given are not what it can use: the settings around it have to change.
    #[error("{0}")]
    Configuration(String),
    /// It could not start.
    #[error(transparent)]
    Start(StartError),
    /// The system does not have what it needs.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The process that took its place ended first, so that nobody serves any more.
    #[error("the process that took this one's place was gone before it")]
    Abandoned,
    /// It ran, and a part of it ended.
    #[error("a worker ended on its own; the log says why")]
    WorkerEnded,
}

impl From<StartError> for ServeError {
    fn from(why: StartError) -> Self {
        if matches!(why, StartError::Inherited(_)) {
            return Self::Configuration(why.to_string());
        }
        Self::Start(why)
    }
}

/// Serves until a signal ends it. `program` is what an upgrade starts.
///
/// # Errors
/// It could not start, or a worker ended on its own.
pub fn serve(sources: &Sources, loaded: Loaded, program: Program) -> Result<(), ServeError> {
    telemetry::start(&loaded.settings.log);
    let keys_file = loaded.settings.auth.keys_file.clone();
    let mut daemon = Daemon::prepare(keys_file, Patience::of(&loaded.settings))?;
    let is_successor = sources.environment.contains_key(succession::VARIABLE);
    let (mut heritage, given) = if is_successor {
        let (heritage, given) = Heritage::receive()?;
        (Some(heritage), given)
    } else {
        (None, inherited_sockets(sources)?)
    };
    daemon.service = Service::of(sources, is_successor);
    let asker = heritage.is_some().then(|| {
        let _inside = daemon.runtime.enter();
        app::asker(&loaded.settings)
    });
    let app = App::start(
        loaded,
        Beginning {
            given,
            watched: daemon.service.watched(),
            is_counted: daemon.service.is_heard(),
            waits: is_successor,
            take_over: Box::new(|| match &mut heritage {
                Some(heritage) => heritage.take_over(),
                None => Ok(app::Estate::default()),
            }),
        },
    )?;
    daemon.program = Some(program);
    daemon.heritage = heritage.zip(asker);
    let ended = daemon.run(&app, sources);
    app.finish();
    match ended {
        Ended::Drained | Ended::CutOff => Ok(()),
        Ended::Abandoned => Err(ServeError::Abandoned),
        Ended::Failed => Err(ServeError::WorkerEnded),
    }
}

/// What a service manager opened for this process.
fn inherited_sockets(sources: &Sources) -> Result<Given, ServeError> {
    let variable = |name: &str| sources.environment.get(name).map(AsRef::as_ref);
    let variables = Variables {
        pid: variable("LISTEN_PID"),
        count: variable("LISTEN_FDS"),
        names: variable("LISTEN_FDNAMES"),
    };
    let sockets = inherited::take(variables);
    let sockets = sockets.map_err(|why| ServeError::Configuration(why.to_string()))?;
    Ok(Given::named(sockets)?)
}

/// What a run comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Asked to stop, and everything ended in time.
    Drained,
    /// Asked to stop; what was still open was closed.
    CutOff,
    /// Replaced by a process that then ended without being asked to; what was still open ended, or was closed.
    Abandoned,
    /// A worker ended on its own.
    Failed,
}

/// What has to be in place before anything listens: a signal that comes, or a keys file that changes, as soon as the
/// gateway can be seen must not be missed.
#[derive(Debug)]
pub struct Daemon {
    runtime: Runtime,
    signals: Signals,
    watch: Watch,
    patience: Patience,
    service: Service,
    program: Option<Program>,
    heritage: Option<(Heritage, crate::proxy::lookup::Asker)>,
}

impl Daemon {
    /// Starts to receive signals and to watch the keys file since it was read.
    ///
    /// # Errors
    /// Signals cannot be received.
    pub fn prepare(keys_file: Option<Source>, patience: Patience) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let signals = Signals::new()?;
        drop(inside);
        let mut watch = Watch::default();
        watch.follow(keys_file);
        Ok(Self {
            runtime,
            signals,
            watch,
            patience,
            service: Service::default(),
            program: None,
            heritage: None,
        })
    }

    /// Runs until a signal ends it.
    #[must_use]
    pub fn run(self, app: &App, sources: &Sources) -> Ended {
        let Self { runtime, signals, watch, patience, service, program, heritage } = self;
        let predecessor = heritage.map(|(heritage, asker)| heritage.into_predecessor(asker));
        if predecessor.is_none() {
            app.hear_no_more();
        }
        let running =
            Running::new(app, sources, patience, watch, service, program.as_ref(), predecessor);
        runtime.block_on(running.run(signals))
    }
}

/// The signals that mean something.
#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    upgrade: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    End,
    Reload,
    Upgrade,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next one.
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.hang_up.recv() => Asked::Reload,
            _ = self.upgrade.recv() => Asked::Upgrade,
        }
    }
}
