//! Leaves a service alone that failed several times in a row, then sends one call ahead.

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Counts failures. Only what says something of the service counts: neither refusals nor calls that were called off.
#[derive(Debug)]
pub(super) struct Breaker {
    limit: u32,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing,
}

impl Breaker {
    pub(super) fn new(limit: NonZeroU32, pause: Duration) -> Self {
        Self { limit: limit.get(), pause, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Whether a call would be turned away now.
    pub(super) fn is_open(&self) -> bool {
        match *self.lock() {
            State::Closed { .. } => false,
            State::Open { until } => Instant::now() < until,
            State::Probing => true,
        }
    }

    /// Lets a call pass, or none while the service is left alone.
    pub(super) fn enter(&self) -> Option<Pass<'_>> {
        let mut state = self.lock();
        let probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if Instant::now() >= until => {
                *state = State::Probing;
                true
            }
            State::Open { .. } | State::Probing => return None,
        };
        Some(Pass { breaker: self, probe })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call's leave to be made. Dropped without a word, it says nothing of the service.
pub(super) struct Pass<'b> {
    breaker: &'b Breaker,
    probe: bool,
}

impl Pass<'_> {
    /// The service answered, whatever it said.
    pub(super) fn answered(mut self) {
        let mut state = self.breaker.lock();
        match *state {
            State::Closed { .. } => *state = State::Closed { failures: 0 },
            State::Probing if self.probe => {
                self.probe = false;
                *state = State::Closed { failures: 0 };
                drop(state);
                tracing::info!("the auth callback answers again");
            }
            // A straggler from before.
            State::Open { .. } | State::Probing => {}
        }
    }

    /// The service could not be reached or did not answer.
    pub(super) fn failed(mut self) {
        let until = Instant::now() + self.breaker.pause;
        let mut state = self.breaker.lock();
        match *state {
            State::Closed { failures } if failures + 1 < self.breaker.limit => {
                *state = State::Closed { failures: failures + 1 };
            }
            State::Closed { .. } => {
                *state = State::Open { until };
                drop(state);
                tracing::warn!(
                    failures = self.breaker.limit,
                    pause = ?self.breaker.pause,
                    "the auth callback failed too often and is left alone"
                );
            }
            State::Probing if self.probe => {
                self.probe = false;
                *state = State::Open { until };
            }
            State::Open { .. } | State::Probing => {}
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe {
            // Called off: the next one goes ahead in its place.
            *self.breaker.lock() = State::Open { until: Instant::now() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    fn breaker() -> Breaker {
        Breaker::new(NonZeroU32::new(2).unwrap(), PAUSE)
    }

    fn open() -> Breaker {
        let breaker = breaker();
        breaker.enter().unwrap().failed();
        breaker.enter().unwrap().failed();
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn only_failures_in_a_row_open_it() {
        let breaker = breaker();
        for _ in 0..5 {
            breaker.enter().unwrap().failed();
            breaker.enter().unwrap().answered();
            drop(breaker.enter().unwrap());
        }
        assert!(!breaker.is_open());
        breaker.enter().unwrap().failed();
        drop(breaker.enter().unwrap());
        breaker.enter().unwrap().failed();
        assert!(breaker.is_open() && breaker.enter().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_goes_ahead_after_the_pause() {
        let breaker = open();
        tokio::time::advance(PAUSE - Duration::from_millis(1)).await;
        assert!(breaker.enter().is_none());
        tokio::time::advance(Duration::from_millis(1)).await;
        let probe = breaker.enter().unwrap();
        assert!(breaker.is_open() && breaker.enter().is_none());
        probe.failed();
        assert!(breaker.enter().is_none());
        tokio::time::advance(PAUSE).await;
        breaker.enter().unwrap().answered();
        assert!(!breaker.is_open() && breaker.enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_called_off_leaves_its_place_to_the_next() {
        let breaker = open();
        tokio::time::advance(PAUSE).await;
        drop(breaker.enter().unwrap());
        breaker.enter().unwrap().answered();
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn stragglers_decide_nothing() {
        let breaker = breaker();
        let (late, later) = (breaker.enter().unwrap(), breaker.enter().unwrap());
        breaker.enter().unwrap().failed();
        breaker.enter().unwrap().failed();
        late.answered();
        assert!(breaker.is_open());
        tokio::time::advance(PAUSE).await;
        let probe = breaker.enter().unwrap();
        later.failed();
        probe.answered();
        assert!(!breaker.is_open());
    }
}
