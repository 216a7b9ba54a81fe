//! How long upstreams may take, as it is set at the moment: a reload changes it while requests look.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The time limits. A request meets those that are in force when it begins to wait.
#[derive(Debug, Default)]
pub struct Timeouts {
    response: AtomicU64,
    create: AtomicU64,
    lookup: AtomicU64,
}

impl Timeouts {
    /// These ones, to the millisecond.
    #[must_use]
    pub fn new(response: Duration, create: Duration, lookup: Duration) -> Self {
        let timeouts = Self::default();
        timeouts.set(response, create, lookup);
        timeouts
    }

    /// Puts others in force.
    pub fn set(&self, response: Duration, create: Duration, lookup: Duration) {
        for (limit, time) in
            [(&self.response, response), (&self.create, create), (&self.lookup, lookup)]
        {
            limit.store(time.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// To the head of an answer, on requests that only read.
    #[must_use]
    pub fn response(&self) -> Duration {
        Duration::from_millis(self.response.load(Ordering::Relaxed))
    }

    /// The same, on requests that may start something.
    #[must_use]
    pub fn create(&self) -> Duration {
        Duration::from_millis(self.create.load(Ordering::Relaxed))
    }

    /// For the gateway's own questions about a sandbox.
    #[must_use]
    pub fn lookup(&self) -> Duration {
        Duration::from_millis(self.lookup.load(Ordering::Relaxed))
    }
}
