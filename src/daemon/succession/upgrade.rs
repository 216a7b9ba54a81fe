//! The old process's side: starts the new one, and leaves everything to it, or takes everything back.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::line::{Hearing, Line};
use super::message::{Bequest, FromNew, FromOld, LateWord, word};
use super::remote::Remote;
use super::{Program, VARIABLE};
use crate::app::{App, Estate, Late, TellLate};
use crate::platform::link::Link;
use crate::worker::{Adopted, Stream};

/// How long the new process may take until it accepts connections.
const START: Duration = Duration::from_secs(20);
/// How long it may take at the end to say what is still to be said.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A successor, on its way or in place.
#[derive(Debug)]
pub(in crate::daemon) struct Upgrade {
    child: Child,
    line: Line,
    hearing: Hearing<FromNew>,
    remote: Remote,
    stage: Stage,
    /// Whether there was a reload since it began, which it may have missed.
    wants_reload: bool,
    /// Until when it must have begun.
    pub(in crate::daemon) deadline: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// It binds.
    Binding,
    /// It takes up what this process let go of.
    TakingUp,
    /// It is in place.
    Over,
}

/// What the successor had to say, as far as it concerns this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::daemon) enum Heard {
    /// Nothing to do.
    Nothing,
    /// It can accept connections: leave.
    Ready,
    /// It cannot be.
    Failed,
    /// It was in place, and is gone.
    Lost,
    Reload,
    Drain,
    End,
}

impl Upgrade {
    /// Starts the program anew, and sends it what this process listens on.
    ///
    /// # Errors
    /// It cannot be started.
    pub(in crate::daemon) fn begin(program: &Program, app: &App) -> io::Result<Self> {
        let (link, end) = Link::pair()?;
        let mut command = Command::new(&program.file);
        command.args(&program.arguments).stdin(Stdio::from(end)).env(VARIABLE, "stdin");
        // They are about this process's descriptors and this process's watchdog.
        for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"] {
            command.env_remove(variable);
        }
        let sockets = app.sockets()?;
        let child = command.spawn()?;
        let (line, hearing) = Line::open(link)?;
        for (place, socket) in sockets {
            let purpose = place.purpose.name().to_owned();
            let message = FromOld::Socket { purpose, setting: place.setting, nth: place.nth };
            line.say(&message, Some(socket.into()));
        }
        line.say(&FromOld::Sockets, None);
        let deadline = Instant::now() + START;
        let (remote, stage) = (Remote::new(line.clone()), Stage::Binding);
        Ok(Self { child, line, hearing, remote, stage, wants_reload: false, deadline })
    }

    /// Its process.
    pub(in crate::daemon) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is in place.
    pub(in crate::daemon) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Waits for the next thing it says, and does what follows from that.
    pub(in crate::daemon) async fn hear(&mut self, app: &App) -> Heard {
        let Some((message, _)) = self.hearing.recv().await else {
            return if self.is_over() { Heard::Lost } else { Heard::Failed };
        };
        match (message, self.stage) {
            (FromNew::Bound, Stage::Binding) => {
                let Some(estate) = app.let_go(&self.tell(), Arc::new(self.remote.clone())) else {
                    return Heard::Failed;
                };
                self.stage = Stage::TakingUp;
                self.bequeath(estate);
                Heard::Nothing
            }
            (FromNew::Ready, Stage::TakingUp) => Heard::Ready,
            (FromNew::Admission { number, admitted, limit }, _) => {
                self.remote.answered(number, admitted, limit);
                Heard::Nothing
            }
            (FromNew::Reload, Stage::Over) => Heard::Reload,
            (FromNew::Drain, Stage::Over) => Heard::Drain,
            (FromNew::End, Stage::Over) => Heard::End,
            _ => Heard::Nothing,
        }
    }

    fn tell(&self) -> TellLate {
        let line = self.line.clone();
        Arc::new(move |late: Late| {
            if let Some(word) = LateWord::of(late) {
                line.say(&FromOld::Late(word), None);
            }
        })
    }

    fn bequeath(&self, estate: Estate) {
        let Estate { secret, slots, owners } = estate;
        let secret = secret.map(|secret| Bequest::Secret(secret.expose().to_owned()));
        let slots = slots.unwrap_or_default().into_iter().map(Bequest::from);
        let owners = owners.into_iter().map(Bequest::from);
        for bequest in secret.into_iter().chain(slots).chain(owners) {
            self.line.say(&FromOld::Bequest(bequest), None);
        }
        self.line.say(&FromOld::Yours, None);
    }

    /// Has it reload: now, or as soon as it is in place.
    pub(in crate::daemon) fn reload(&mut self) {
        if self.is_over() {
            self.line.say(&FromOld::Reload, None);
        } else {
            self.wants_reload = true;
        }
    }

    /// Leaves everything to it.
    pub(in crate::daemon) fn leave(&mut self, app: &App) {
        self.stage = Stage::Over;
        // Before anybody else is let in by what holds no more.
        if self.wants_reload {
            self.line.say(&FromOld::Reload, None);
        }
        let line = self.line.clone();
        app.leave(&self.tell(), move |Adopted { listener, is_used, stream }| {
            let stream = match stream {
                Stream::Tcp(stream) => OwnedFd::from(stream),
                Stream::Unix(stream) => OwnedFd::from(stream),
            };
            line.say(&FromOld::Connection { listener: word(listener), is_used }, Some(stream));
        });
        self.remote.open();
        self.line.say(&FromOld::Go, None);
    }

    /// Ends an upgrade that did not come about, and takes everything back.
    pub(in crate::daemon) fn call_off(mut self, app: &App) {
        self.line.finish(Duration::ZERO);
        // It may have ended by itself. Files are free again only when it has.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.stage == Stage::TakingUp {
            app.take_back();
        }
        // Whoever waits for an answer asks this process again.
        self.remote.end();
    }

    /// Nothing will be heard of it any more.
    pub(in crate::daemon) fn give_up(mut self) {
        self.remote.end();
        self.reap();
    }

    /// Says what is still to be said.
    pub(in crate::daemon) fn finish(&self) {
        self.line.finish(LAST_WORDS);
    }

    /// Takes note of the end of its process, so that nothing of it stays behind.
    pub(in crate::daemon) fn reap(&mut self) {
        // Its line tells that it has ended.
        let _ = self.child.try_wait();
    }
}
