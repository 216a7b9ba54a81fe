//! How a gateway ends: asked to, by itself at a deadline, or because something went wrong.
//!
//! It ends with whoever is before it, whose last words it writes down.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Running, SOON, Stage, every};
use crate::app::{App, Patience};
use crate::daemon::Ended;
use crate::daemon::succession::{News, Predecessor};

/// How long what can say goodbye may take for it.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long the end waits for the workers to let go of what was cut off.
const LETTING_GO: Duration = Duration::from_secs(1);
/// How long the process before this one may take until it is cut off as well: its time ends a little after this one's,
/// and what is in it may then say goodbye.
const TOGETHER: Duration = Duration::from_secs(3);
/// How long the end waits for what that process has to tell, and then for the audit journal to reach the disk.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// What the service manager is asked for as long as the end is under way: more than all of the above.
pub(super) const MORE_TIME: Duration = Duration::from_secs(20);

impl Running<'_> {
    /// A signal asks it to end. The first time, it drains; the second, that is over.
    pub(super) fn signalled(&mut self) -> Option<Ended> {
        if std::mem::replace(&mut self.was_signalled, true) {
            return Some(self.cut_off());
        }
        self.ask_to_end();
        None
    }

    /// It is over at once, and so it is for the processes before this one.
    pub(super) fn cut_off(&self) -> Ended {
        if let Some(predecessor) = &self.predecessor {
            predecessor.end();
        }
        Ended::CutOff
    }

    /// It drains, if it does not already, and so do the processes before this one.
    pub(super) fn ask_to_end(&mut self) {
        if std::mem::replace(&mut self.is_ending, true) {
            return;
        }
        if let Some(predecessor) = &self.predecessor {
            predecessor.drain();
        }
        if self.upgrade.as_ref().is_some_and(|upgrade| !upgrade.is_over()) {
            self.call_off("this process was asked to end");
        }
        self.service.stopping();
        self.app.phases.leaving.cancel();
        let Patience { delay, drain, .. } = self.patience;
        match self.stage {
            Stage::Serving if !delay.is_zero() => {
                tracing::info!(delay_s = delay.as_secs(), "about to drain: not ready any more");
                self.stage = Stage::Leaving(Instant::now() + delay);
            }
            Stage::Serving => self.drain(drain),
            Stage::Draining(deadline) => {
                tracing::info!(limit_s = drain.as_secs(), "asked to end: streams have less time");
                self.stage = Stage::Draining(deadline.min(Instant::now() + drain));
            }
            Stage::Leaving(_) | Stage::Closing(_) => {}
        }
    }

    fn drain(&mut self, limit: Duration) {
        tracing::info!(
            limit_s = limit.as_secs(),
            "draining: no new connections, streams may finish"
        );
        self.app.drain();
        self.stage = Stage::Draining(Instant::now() + limit);
    }

    /// Does what its time has come for.
    pub(super) fn overdue(&mut self) -> Option<Ended> {
        match self.stage {
            Stage::Serving => self.call_off("the new process took too long"),
            Stage::Leaving(_) => self.drain(self.patience.drain),
            Stage::Draining(_) if self.app.has_tunnels() => {
                self.app.phases.close.cancel();
                self.stage = Stage::Closing(Instant::now() + GOODBYE);
            }
            Stage::Draining(_) | Stage::Closing(_) => return Some(Ended::CutOff),
        }
        None
    }

    /// Waits until the workers have let go of what was cut off, which is accounted for then, tunnels included, and until
    /// the process before this one has told all; then has the audit journal write and sync what it was offered, or pass
    /// it on.
    pub(super) async fn end(self, ended: Ended) -> Ended {
        let Self { app, upgrade, mut predecessor, service, is_abandoned, .. } = self;
        match ended {
            Ended::Drained => tracing::info!("drained"),
            Ended::CutOff => tracing::warn!("closed what was still open"),
            Ended::Failed | Ended::Abandoned => {}
        }
        service.extend(MORE_TIME);
        app.drain();
        app.phases.stop.cancel();
        let mut look = every(SOON);
        let limit = Instant::now() + LETTING_GO;
        while !app.has_ended() && Instant::now() < limit {
            look.tick().await;
        }
        // Who fails was not asked to end, and the process before it neither.
        if let Some(predecessor) = predecessor.as_mut().filter(|_| ended != Ended::Failed) {
            hear_out(predecessor, app).await;
        }
        app.hear_no_more();
        if let Some(journal) = &app.journal {
            journal.close(LAST_WORDS);
        }
        if let Some(upgrade) = upgrade {
            upgrade.finish();
        }
        if is_abandoned && ended != Ended::Failed { Ended::Abandoned } else { ended }
    }
}

/// Hears all that the process before this one has still to tell. It ends as well: by itself, or because it is told to.
async fn hear_out(predecessor: &mut Predecessor, app: &App) {
    for patience in [TOGETHER, LAST_WORDS] {
        let all = async { while predecessor.hear(app).await != News::Gone {} };
        if timeout(patience, all).await.is_ok() {
            return;
        }
        predecessor.end();
    }
    tracing::error!("the process before this one does not end; what it has to tell is lost");
}
