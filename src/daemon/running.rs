//! A gateway that runs, as a machine with a few stages: it serves, is on its way out, drains, says goodbye.
//!
//! What moves it are signals, time, the process that is to take its place and the one whose place it has taken.

mod ending;

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use self::ending::MORE_TIME;
use super::service::Service;
use super::succession::{Heard, News, Predecessor, Program, Upgrade};
use super::watch::{Files, Watch};
use super::{Asked, Ended, Signals, reload};
use crate::app::{App, Patience};
use crate::config::Sources;
use crate::telemetry;

/// How often the files of keys and of TLS are looked at: a change takes effect within two seconds.
const LOOK: Duration = Duration::from_secs(1);
/// How often is looked whether something that is waited for has come about.
const SOON: Duration = Duration::from_millis(20);
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
    begun: Begun,
    stage: Stage,
    /// Whether somebody asked for an upgrade before it was in place.
    wants_upgrade: bool,
    /// Whether somebody asked it to end: a signal, or the process that took its place.
    is_ending: bool,
    /// Whether a signal did.
    was_signalled: bool,
    /// Whether the process that took its place is gone, so that nobody serves any more.
    is_abandoned: bool,
}

/// How far it has come with beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Begun {
    Not,
    /// It could accept connections, and waits for the process before it to leave.
    Ready,
    /// It accepts them.
    InPlace,
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
            begun: Begun::Not,
            stage: Stage::Serving,
            wants_upgrade: false,
            is_ending: false,
            was_signalled: false,
            is_abandoned: false,
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
                news = hear_predecessor(&mut self.predecessor, app) => {
                    self.heard_before(news);
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
            Asked::End => return self.signalled(),
            Asked::Reload => self.reload(),
            Asked::Upgrade => self.begin_upgrade(),
        }
        None
    }

    /// Reloads, and so do all processes of this gateway.
    fn reload(&mut self) {
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.reload();
        }
        self.reload_here();
    }

    /// Reloads, and so do the processes before this one.
    fn reload_here(&mut self) {
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
        if self.begun != Begun::InPlace {
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
            upgrade.call_off(self.app);
            // Not before it is true: the other process has ended, and what it had been given is back.
            tracing::error!("not upgraded: {why}; this process goes on");
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
                self.is_abandoned = !self.is_ending;
                if let Some(upgrade) = self.upgrade.take() {
                    upgrade.give_up();
                }
            }
            Heard::Reload => self.reload_here(),
            Heard::Drain => self.ask_to_end(),
            Heard::End => return Some(self.cut_off()),
        }
        None
    }

    /// Does what follows from what the process before this one says.
    fn heard_before(&mut self, news: News) {
        match news {
            News::Nothing => {}
            News::Reload => self.reload(),
            News::Go => self.take_place(),
            News::Gone => {
                tracing::info!("the process before this one has ended");
                self.predecessor = None;
                if self.begun == Begun::Ready {
                    self.take_place();
                }
            }
        }
    }

    /// Accepts connections from now on.
    fn take_place(&mut self) {
        self.begun = Begun::InPlace;
        self.app.open();
        self.service.take_place();
        if std::mem::take(&mut self.wants_upgrade) {
            self.begin_upgrade();
        }
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
        self.begun == Begun::Not || self.stage != Stage::Serving
    }

    fn look_soon(&mut self) -> Option<Ended> {
        if self.begun == Begun::Not && self.app.has_begun() && !self.is_ending {
            self.begun = Begun::Ready;
            match &mut self.predecessor {
                Some(predecessor) => predecessor.ready(),
                None => self.take_place(),
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

async fn hear_predecessor(predecessor: &mut Option<Predecessor>, app: &App) -> News {
    match predecessor {
        Some(predecessor) => predecessor.hear(app).await,
        None => std::future::pending().await,
    }
}
