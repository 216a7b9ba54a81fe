//! What the service manager is told (sd_notify(3)), where there is one that listens.
//!
//! The watchdog is fed only when every worker has turned since it was fed last, so that a gateway that hangs is restarted
//! however well this thread does.

use std::time::Duration;

use tokio::time::Instant;

use crate::app::{App, Load};
use crate::config::Sources;
use crate::platform::monotonic_micros;
use crate::platform::notify::Notifier;

/// The service manager.
#[derive(Debug, Default)]
pub(super) struct Service {
    notifier: Notifier,
    /// How long it may go without a sign of life.
    watchdog: Option<Duration>,
    /// When the workers are to be looked at again.
    next_look: Option<Instant>,
    /// What is said beside the load.
    remark: String,
    said: String,
    /// Whether it listens to another process as yet, so that what this one says would be lost.
    hears_another: bool,
}

impl Service {
    /// The one that the environment names. A watchdog that is meant for another process counts for this one if that is
    /// its predecessor.
    pub(super) fn of(sources: &Sources, is_successor: bool) -> Self {
        let variable = |name: &str| sources.environment.get(name);
        let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
        let notifier = variable("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        let notifier = notifier.map(|address| Notifier::to(address)).transpose();
        let notifier = notifier.unwrap_or_else(|cause| {
            tracing::warn!(%cause, "the service manager cannot be told anything");
            None
        });
        let is_meant = is_successor
            || number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| is_meant && *micros > 0);
        Self {
            watchdog: watchdog.map(Duration::from_micros),
            notifier: notifier.unwrap_or_default(),
            hears_another: is_successor,
            ..Self::default()
        }
    }

    /// Whether anybody hears it.
    pub(super) const fn is_heard(&self) -> bool {
        self.notifier.is_heard()
    }

    /// How often the workers have to show that they turn.
    pub(super) fn watched(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.is_heard()).map(|time| time / 16)
    }

    /// From now on this process is the service, and serves.
    pub(super) fn take_place(&mut self) {
        self.hears_another = false;
        self.tell(format_args!("READY=1\nSTATUS=serving"));
    }

    fn tell(&self, lines: std::fmt::Arguments<'_>) {
        if !self.hears_another {
            self.notifier.tell(lines);
        }
    }

    /// A reload begins. It ends with [`reloaded`](Self::reloaded).
    pub(super) fn reloading(&self) {
        self.tell(format_args!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_micros()));
    }

    pub(super) fn reloaded(&mut self, remark: String) {
        self.remark = remark;
        self.tell(format_args!("READY=1"));
    }

    /// The end begins.
    pub(super) fn stopping(&mut self) {
        self.tell(format_args!("STOPPING=1"));
        "draining".clone_into(&mut self.remark);
    }

    /// From now on another process is the service.
    pub(super) fn replaced_by(&mut self, process: u32) {
        self.tell(format_args!("MAINPID={process}\nSTATUS=replaced by an upgrade"));
        // Nobody would hear it any more.
        *self = Self::default();
    }

    /// The end is under way, and may take so much longer.
    pub(super) fn extend(&self, time: Duration) {
        self.tell(format_args!("EXTEND_TIMEOUT_USEC={}", time.as_micros()));
    }

    /// Says how things are, where that has changed, and feeds the watchdog when it is time. To be called often.
    pub(super) fn tick(&mut self, app: &App) {
        if !self.is_heard() || self.hears_another {
            return;
        }
        self.feed(app);
        let Load { connections, streams } = app.load();
        let mut status = format!("{connections} connections, {streams} streams");
        if !self.remark.is_empty() {
            status = format!("{status}; {}", self.remark);
        }
        if status != self.said {
            self.tell(format_args!("STATUS={status}"));
            self.said = status;
        }
    }

    fn feed(&mut self, app: &App) {
        let Some(limit) = self.watchdog else { return };
        let now = Instant::now();
        if self.next_look.is_some_and(|at| now < at) {
            return;
        }
        let is_first = self.next_look.replace(now + limit / 4).is_none();
        let answers = app.phases.pulse.ask();
        // Workers that have ended are no longer asked for anything.
        if is_first || answers >= app.running() {
            self.tell(format_args!("WATCHDOG=1"));
        } else {
            let workers = app.running();
            tracing::error!(answers, workers, "not every worker turns; the watchdog is not fed");
        }
    }
}
