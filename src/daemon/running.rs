//! A gateway that runs, as a machine with a few stages: it serves, is on its way out, drains, says goodbye.
//!
//! What moves it are signals, time, the process that is to take its place and the one whose place it has taken.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::service::Service;
use super::succession::{Heard, Predecessor, Program, Upgrade};
use super::watch::{Files, Watch};
use super::{Asked, Ended, Signals, reload};
use crate::app::{App, Patience};
use crate::config::Sources;
use crate::telemetry;

/// How often the files of keys and of TLS are looked at: a change takes effect within two seconds.
const LOOK: Duration = Duration::from_secs(1);
/// How often is looked whether something that is waited for has come about.
const SOON: Duration = Duration::from_millis(20);
/// How long what can say goodbye may take for it.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long the end waits for the workers to let go of what was cut off.
const LETTING_GO: Duration = Duration::from_secs(1);
/// How long it then waits for the audit journal to reach the disk.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// What the service manager is asked for as long as the end is under way.
const MORE_TIME: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Running<'a> {
    app: &'a App,
    sources: &'a Sources,
    patience: Patience,
    watch: Watch,
    tls: Files,
    service: Service,
    program: Option<&'a Program>,
    predecessor: Option<Predecessor>,
    upgrade: Option<Upgrade>,
    stage: Stage,
    has_begun: bool,
    /// Whether somebody asked for an upgrade before it had begun.
    wants_upgrade: bool,
    /// Whether somebody asked it to end.
    is_ending: bool,
}

/// Where it is, and until when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Serving,
    /// It says that it will accept no more, and does.
    Leaving(Instant),
    /// What runs may finish.
    Draining(Instant),
    /// What can say goodbye does.
    Closing(Instant),
}

impl<'a> Running<'a> {
    pub(super) fn new(
        app: &'a App,
        sources: &'a Sources,
        patience: Patience,
        watch: Watch,
        service: Service,
        program: Option<&'a Program>,
        predecessor: Option<Predecessor>,
    ) -> Self {
        Self {
            app,
            sources,
            patience,
            watch,
            tls: Files::default(),
            service,
            program,
            predecessor,
            upgrade: None,
            stage: Stage::Serving,
            has_begun: false,
            wants_upgrade: false,
            is_ending: false,
        }
    }

    /// Runs to the end.
    pub(super) async fn run(mut self, mut signals: Signals) -> Ended {
        let (mut look, mut soon) = (every(LOOK), every(SOON));
        loop {
            let (app, deadline) = (self.app, self.deadline());
            let ended = tokio::select! {
                asked = signals.next() => self.obey(asked),
                _ = look.tick() => self.look(),
                _ = soon.tick(), if self.waits_for_something() => self.look_soon(),
                () = until(deadline) => self.overdue(),
                heard = hear_successor(&mut self.upgrade, app) => self.heard(heard),
                lives = hear_predecessor(&mut self.predecessor, app) => {
                    if !lives {
                        tracing::info!("the process before this one has ended");
                        self.predecessor = None;
                    }
                    None
                }
            };
            if let Some(ended) = ended {
                return self.end(ended).await;
            }
        }
    }

    fn obey(&mut self, asked: Asked) -> Option<Ended> {
        match asked {
            Asked::End => return self.ask_to_end(),
            Asked::Reload => self.reload(),
            Asked::Upgrade => self.begin_upgrade(),
        }
        None
    }

    /// The first time, it drains; the second, that is over.
    fn ask_to_end(&mut self) -> Option<Ended> {
        if std::mem::replace(&mut self.is_ending, true) {
            if let Some(predecessor) = &self.predecessor {
                predecessor.end();
            }
            return Some(Ended::CutOff);
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
                self.stage = Stage::Draining(deadline.min(Instant::now() + drain));
            }
            Stage::Leaving(_) | Stage::Closing(_) => {}
        }
        None
    }

    fn drain(&mut self, limit: Duration) {
        tracing::info!(
            limit_s = limit.as_secs(),
            "draining: no new connections, streams may finish"
        );
        self.app.drain();
        self.stage = Stage::Draining(Instant::now() + limit);
    }

    fn reload(&mut self) {
        if let Some(predecessor) = &self.predecessor {
            predecessor.reload();
        }
        if self.is_replaced() {
            return reload::who_may_go_on(self.app, self.sources, &mut self.watch);
        }
        self.service.reloading();
        if let Some(journal) = &self.app.journal {
            journal.reopen();
        }
        let reloaded = reload::all(self.app, self.sources);
        if let Some(renewed) = reloaded.renewed {
            self.patience = renewed.patience;
            self.watch.follow(renewed.keys_file);
        }
        self.service.reloaded(reloaded.status);
    }

    fn is_replaced(&self) -> bool {
        self.upgrade.as_ref().is_some_and(Upgrade::is_over)
    }

    fn begin_upgrade(&mut self) {
        let Some(program) = self.program else {
            tracing::warn!("not upgraded: only a daemon is");
            return;
        };
        if !self.has_begun {
            self.wants_upgrade = true;
            return;
        }
        if self.upgrade.is_some() || self.stage != Stage::Serving {
            tracing::warn!("not upgraded: one process is coming or going already");
            return;
        }
        match Upgrade::begin(program, self.app) {
            Ok(upgrade) => {
                tracing::info!(process = upgrade.id(), "a new process is to take this one's place");
                self.upgrade = Some(upgrade);
            }
            Err(cause) => {
                tracing::error!(%cause, "not upgraded: the program could not be started");
            }
        }
    }

    fn call_off(&mut self, why: &str) {
        if let Some(upgrade) = self.upgrade.take() {
            tracing::error!("not upgraded: {why}; this process goes on");
            upgrade.call_off(self.app);
        }
    }

    fn heard(&mut self, heard: Heard) -> Option<Ended> {
        match heard {
            Heard::Nothing => {}
            Heard::Ready => self.leave(),
            Heard::Failed => self.call_off("the new process did not start; its log says why"),
            Heard::Lost => {
                tracing::error!("the process that took this one's place is gone");
                let limit = Instant::now() + self.patience.drain;
                if let Stage::Draining(deadline) = self.stage {
                    self.stage = Stage::Draining(deadline.min(limit));
                }
                if let Some(upgrade) = self.upgrade.take() {
                    upgrade.give_up();
                }
            }
            Heard::Reload => self.reload(),
            Heard::Drain if !self.is_ending => return self.ask_to_end(),
            Heard::Drain => {}
            Heard::End => {
                self.is_ending = true;
                return self.ask_to_end();
            }
        }
        None
    }

    /// Leaves everything to the new process.
    fn leave(&mut self) {
        let Some(upgrade) = &mut self.upgrade else { return };
        self.service.replaced_by(upgrade.id());
        upgrade.leave(self.app);
        let limit = self.patience.upgrade;
        tracing::info!(
            process = upgrade.id(),
            limit_s = limit.as_secs(),
            "replaced: connections go to the new process, streams may finish here"
        );
        self.stage = Stage::Draining(Instant::now() + limit);
    }

    /// What is done about once a second.
    fn look(&mut self) -> Option<Ended> {
        telemetry::tell_left_out();
        if self.watch.has_changed() {
            let is_replaced = self.is_replaced();
            reload::keys(self.app, self.sources, &mut self.watch, is_replaced);
        }
        if let Some(tls) = &self.app.tls
            && !self.is_replaced()
            && self.tls.have_changed(tls.offer().sources())
        {
            reload::tls(self.app);
        }
        self.service.tick(self.app);
        if self.is_ending {
            self.service.extend(MORE_TIME);
        }
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.reap();
        }
        if self.app.has_failed() {
            tracing::error!("a worker ended on its own");
            return Some(Ended::Failed);
        }
        None
    }

    /// Whether there is a reason to look more often.
    fn waits_for_something(&self) -> bool {
        !self.has_begun || self.stage != Stage::Serving
    }

    fn look_soon(&mut self) -> Option<Ended> {
        if !self.has_begun && self.app.has_begun() {
            self.has_begun = true;
            self.service.ready();
            if let Some(predecessor) = &mut self.predecessor {
                predecessor.ready();
            }
            if std::mem::take(&mut self.wants_upgrade) {
                self.begin_upgrade();
            }
        }
        match self.stage {
            Stage::Draining(_) if self.app.has_ended() => Some(Ended::Drained),
            Stage::Closing(_) if self.app.has_ended() => Some(Ended::CutOff),
            Stage::Serving | Stage::Leaving(_) | Stage::Draining(_) | Stage::Closing(_) => None,
        }
    }

    /// Until when something has to happen by itself.
    fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Leaving(deadline) | Stage::Draining(deadline) | Stage::Closing(deadline) => {
                Some(deadline)
            }
            Stage::Serving => {
                self.upgrade.as_ref().filter(|upgrade| !upgrade.is_over()).map(|of| of.deadline)
            }
        }
    }

    fn overdue(&mut self) -> Option<Ended> {
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

    /// Waits until the workers have let go of what was cut off, which is accounted for then, tunnels included, and has the
    /// audit journal write and sync what it was offered, or pass it on.
    async fn end(self, ended: Ended) -> Ended {
        let Self { app, upgrade, .. } = self;
        match ended {
            Ended::Drained => tracing::info!("drained"),
            Ended::CutOff => tracing::warn!("closed what was still open"),
            Ended::Failed => {}
        }
        app.drain();
        app.hear_no_more();
        app.phases.stop.cancel();
        let mut look = every(SOON);
        let limit = Instant::now() + LETTING_GO;
        while !app.has_ended() && Instant::now() < limit {
            look.tick().await;
        }
        if let Some(journal) = &app.journal {
            journal.close(LAST_WORDS);
        }
        if let Some(upgrade) = upgrade {
            upgrade.finish();
        }
        ended
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn hear_successor(upgrade: &mut Option<Upgrade>, app: &App) -> Heard {
    match upgrade {
        Some(upgrade) => upgrade.hear(app).await,
        None => std::future::pending().await,
    }
}

async fn hear_predecessor(predecessor: &mut Option<Predecessor>, app: &App) -> bool {
    match predecessor {
        Some(predecessor) => predecessor.hear(app).await,
        None => std::future::pending().await,
    }
}
