//! When requests are due at a fixed rate, and the timer that wakes for them: the poll's own time-out is too coarse.

use std::fs::File;
use std::io::Read as _;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::Failure;

/// Requests at even distances from the beginning of a run.
#[derive(Debug)]
pub struct Schedule {
    timer: File,
    apart: Duration,
    next: Option<Instant>,
    waits: Vec<Duration>,
}

impl Schedule {
    /// So many a second.
    ///
    /// # Errors
    /// The system has no timer left.
    pub fn new(rate: f64) -> Result<Self, Failure> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        Ok(Self {
            timer: timer.into(),
            apart: Duration::from_secs_f64(1.0 / rate),
            next: None,
            waits: Vec::new(),
        })
    }

    /// To be polled.
    #[must_use]
    pub const fn timer(&self) -> &File {
        &self.timer
    }

    /// To be called when it woke; it goes on only then.
    ///
    /// # Errors
    /// It can't be read.
    pub fn woke(&mut self) -> Result<(), Failure> {
        self.timer.read_exact(&mut [0; 8])?;
        Ok(())
    }

    /// The first request is due now.
    ///
    /// # Errors
    /// The system does not set the timer.
    pub fn begin(&mut self, now: Instant) -> Result<(), Failure> {
        self.next = Some(now);
        let apart = Timespec {
            tv_sec: self.apart.as_secs() as i64,
            tv_nsec: i64::from(self.apart.subsec_nanos()),
        };
        let periodic = Itimerspec { it_interval: apart, it_value: apart };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &periodic)?;
        Ok(())
    }

    /// When the next request was due, if it is. It counts as sent then.
    pub fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next.filter(|due| *due <= now)?;
        self.next = Some(due + self.apart);
        self.waits.push(now - due);
        Some(due)
    }

    /// How long each request waited from when it was due until it was sent, which is no fault of the proxy's if it had
    /// connections free.
    #[must_use]
    pub fn waits(&self) -> &[Duration] {
        &self.waits
    }
}
