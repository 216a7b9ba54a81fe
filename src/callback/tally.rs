//! What is counted of the service and of what is remembered of it.

use std::time::Duration;

use super::answer::Answer;
use crate::tally::{Counters, Distribution, Histograms};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Up to the longest timeout that anybody would set.
const TOOK: &[Duration] = &[
    millis(1),
    millis(2),
    millis(5),
    millis(10),
    millis(25),
    millis(50),
    millis(100),
    millis(250),
    millis(500),
    millis(1_000),
    millis(2_500),
    millis(5_000),
    millis(10_000),
];

/// What came of a question that memory could not settle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Called {
    /// The service knows whose the credential is.
    Allowed,
    /// It knows that it is nobody's: 401 and 403.
    Denied,
    /// It refused otherwise.
    Refused,
    /// It did not answer in time, or not soundly.
    Failed,
    /// It was not asked: it is left alone for a while, or no place came free.
    Unasked,
}

impl Called {
    const NAMES: [&str; 5] = ["allowed", "denied", "refused", "failed", "unasked"];

    /// What an answer means.
    pub(super) const fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Allowed(..) => Self::Allowed,
            Answer::Denied(..) => Self::Denied,
            Answer::Refused(_) => Self::Refused,
            Answer::Ailing(_) | Answer::Nonsense(_) => Self::Failed,
        }
    }
}

/// What came of looking for an answer in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LookedUp {
    /// There was one.
    Hit,
    /// There was none.
    Miss,
    /// There was an old one, and the service could not be asked.
    Stale,
}

impl LookedUp {
    const NAMES: [&str; 3] = ["hit", "miss", "stale"];
}

/// Everything counted.
#[derive(Debug)]
pub struct Tally {
    calls: Counters,
    look_ups: Counters,
    took: Histograms,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            calls: Counters::new(Called::NAMES.len()),
            look_ups: Counters::new(LookedUp::NAMES.len()),
            took: Histograms::new(TOOK, 1),
        }
    }
}

impl Tally {
    pub(super) fn called(&self, called: Called) {
        self.calls.add(called as usize, 1);
    }

    pub(super) fn looked_up(&self, looked_up: LookedUp) {
        self.look_ups.add(looked_up as usize, 1);
    }

    pub(super) fn call_took(&self, took: Duration) {
        self.took.add(0, took);
    }

    /// Questions that memory could not settle, by what came of them.
    pub fn calls(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Called::NAMES.into_iter().zip(self.calls.read())
    }

    /// Look-ups in memory, by what came of them. An old answer that was used was a miss before.
    pub fn look_ups(&self) -> impl Iterator<Item = (&'static str, u64)> {
        LookedUp::NAMES.into_iter().zip(self.look_ups.read())
    }

    /// How long calls took, to the head of the answer or to their failure.
    #[must_use]
    pub fn took(&self) -> Option<Distribution> {
        self.took.read().pop()
    }
}
