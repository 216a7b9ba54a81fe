//! The daemon: starts a gateway and runs it to its end, reloading on the way.
//!
//! First SIGTERM or SIGINT: stop accepting and let streams finish; at the deadline, or with a second signal, close what
//! is left. SIGHUP, or a changed keys file, reloads without touching a connection; a reload that fails keeps what is in
//! force and says so.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};

use crate::app::App;
use crate::config::{Loaded, Settings, Sources, load_keys};
use crate::telemetry;

/// How often the keys file is looked at: a change takes effect within two seconds.
const LOOK: Duration = Duration::from_secs(1);

/// How long the end waits for the workers to let go of what was cut off.
const LETTING_GO: Duration = Duration::from_secs(1);

/// How long it then waits for the audit journal to reach the disk.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Serves until a signal ends it.
///
/// # Errors
/// It could not start, or a worker ended on its own.
pub fn serve(sources: Sources, loaded: Loaded) -> Result<(), Box<dyn Error + Send + Sync>> {
    telemetry::start(&loaded.settings.log);
    let keys_file = loaded.settings.auth.keys_file.clone();
    let drain = loaded.settings.server.drain_timeout;
    let daemon = Daemon::prepare(keys_file, drain)?;
    let app = App::start(loaded)?;
    let ended = daemon.run(&app, &sources);
    app.finish();
    match ended {
        Ended::Drained | Ended::CutOff => Ok(()),
        Ended::Failed => Err("a worker ended on its own; the log says why".into()),
    }
}

/// What a run comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Asked to stop, and everything ended in time.
    Drained,
    /// Asked to stop; what was still open was closed.
    CutOff,
    /// A worker ended on its own.
    Failed,
}

/// What has to be in place before anything listens: a signal that comes, or a keys file that changes, as soon as the
/// gateway can be seen must not be missed.
#[derive(Debug)]
pub struct Daemon {
    runtime: Runtime,
    signals: Signals,
    hang_up: Signal,
    watch: Option<Watch>,
    drain: Duration,
}

impl Daemon {
    /// Starts to receive signals and to watch the keys file. `drain` bounds the wait for streams at the end.
    ///
    /// # Errors
    /// Signals cannot be received.
    pub fn prepare(keys_file: Option<PathBuf>, drain: Duration) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let (signals, hang_up) = (Signals::new()?, signal(SignalKind::hangup())?);
        drop(inside);
        Ok(Self { runtime, signals, hang_up, watch: keys_file.map(Watch::new), drain })
    }

    /// Runs until a signal ends it.
    #[must_use]
    pub fn run(self, app: &App, sources: &Sources) -> Ended {
        let Self { runtime, mut signals, mut hang_up, mut watch, drain } = self;
        runtime.block_on(async {
            let mut tick = tokio::time::interval(LOOK);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = signals.end() => break,
                    _ = hang_up.recv() => {
                        if let Some(journal) = &app.journal {
                            journal.reopen();
                        }
                        reload_all(app, sources);
                    }
                    _ = tick.tick() => {
                        telemetry::tell_left_out();
                        if watch.as_mut().is_some_and(Watch::has_changed) {
                            reload_keys(app, sources);
                        }
                        if app.has_failed() {
                            tracing::error!("a worker ended on its own");
                            app.phases.drain.cancel();
                            close_accounts(app).await;
                            return Ended::Failed;
                        }
                    }
                }
            }
            stop(app, &mut signals, drain).await
        })
    }
}

#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Drains, then stops.
async fn stop(app: &App, signals: &mut Signals, limit: Duration) -> Ended {
    tracing::info!(limit_s = limit.as_secs(), "draining: no new connections, streams may finish");
    app.phases.drain.cancel();
    let deadline = Instant::now() + limit;
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let ended = loop {
        tokio::select! {
            _ = look.tick() => {
                if app.has_ended() {
                    break Ended::Drained;
                }
            }
            () = tokio::time::sleep_until(deadline) => break Ended::CutOff,
            () = signals.end() => break Ended::CutOff,
        }
    };
    match ended {
        Ended::Drained => tracing::info!("drained"),
        Ended::CutOff | Ended::Failed => tracing::warn!("closed what was still open"),
    }
    close_accounts(app).await;
    ended
}

/// Waits until the workers have let go of what was cut off, which is accounted for then, tunnels included, and has the
/// audit journal write and sync what it was offered.
async fn close_accounts(app: &App) {
    app.phases.stop.cancel();
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let limit = Instant::now() + LETTING_GO;
    while !app.has_ended() && Instant::now() < limit {
        look.tick().await;
    }
    if let Some(journal) = &app.journal {
        journal.close(LAST_WORDS);
    }
}

fn reload_keys(app: &App, sources: &Sources) {
    let old = app.keys.snapshot();
    match load_keys(sources, &old) {
        Ok(keys) => {
            let count = keys.len();
            let revoked = app.keys.install(keys);
            app.reloads.count(true);
            tracing::info!(keys = count, revoked, "the keys were reloaded");
        }
        Err(problems) => {
            app.reloads.count(false);
            tracing::error!(%problems, "the keys were not reloaded; the old ones stay in force")
        }
    }
}

/// Keys and the log's filter take effect at once, certificates towards upstreams and the auth callback with the next connection, and
/// what the callback said is forgotten; other settings are checked, and take effect with a restart.
fn reload_all(app: &App, sources: &Sources) {
    app.reloads.count(try_reload_all(app, sources));
}

/// Whether it could be done.
fn try_reload_all(app: &App, sources: &Sources) -> bool {
    let callback = app.authenticator.callback();
    let old = app.keys.snapshot();
    match Settings::load(sources, Some(&old)) {
        // Whether anybody is asked for a key is decided at the start.
        Ok(loaded) if app.authenticator.is_open() && !loaded.settings.auth.is_open() => {
            tracing::error!(
                "not reloaded; the gateway started open and stays so: restart it to have credentials checked"
            );
            false
        }
        Ok(loaded) if callback.is_some() != loaded.settings.auth.callback.is_some() => {
            tracing::error!("not reloaded; an auth callback comes or goes with a restart");
            false
        }
        Ok(loaded) => {
            telemetry::refilter(&loaded.settings.log.filter);
            app.renew_tls(&loaded.settings);
            let count = loaded.keys.len();
            let revoked = app.keys.install(loaded.keys);
            if let Some(callback) = callback {
                callback.flush();
            }
            tracing::info!(
                keys = count,
                revoked,
                "reloaded; settings other than keys, certificates and the log's filter take effect with a restart"
            );
            true
        }
        Err(problems) => {
            tracing::error!(%problems, "not reloaded; the old configuration stays in force");
            false
        }
    }
}

/// Notices that a file was changed or replaced.
#[derive(Debug)]
struct Watch {
    path: PathBuf,
    seen: Option<Stamp>,
}

type Stamp = (SystemTime, u64, u64);

impl Watch {
    fn new(path: PathBuf) -> Self {
        let seen = stamp(&path);
        Self { path, seen }
    }

    fn has_changed(&mut self) -> bool {
        let now = stamp(&self.path);
        let changed = now != self.seen;
        self.seen = now;
        changed
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
