//! The steps of stopping, as everything that runs sees them; who has begun to serve, and whether they still turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

/// Opening, and the steps of stopping in their order, shared by everything that runs.
#[derive(Clone, Debug)]
pub struct Phases {
    /// Connections are taken from now on.
    pub open: CancellationToken,
    /// New connections and requests are taken still, but whoever asks is told to send them elsewhere. The end of all is told
    /// here too.
    pub leaving: CancellationToken,
    /// No new connections and requests; what runs may finish.
    pub drain: CancellationToken,
    /// Whoever can say goodbye does so now, and ends.
    pub close: CancellationToken,
    /// Everything ends now.
    pub stop: CancellationToken,
    /// The workers that accept connections.
    pub accepting: Accepting,
    /// Whether the workers turn.
    pub pulse: Pulse,
    /// Whether draining connections go to a successor.
    pub succession: Succession,
}

impl Default for Phases {
    fn default() -> Self {
        let stop = CancellationToken::new();
        Self {
            open: CancellationToken::default(),
            leaving: stop.child_token(),
            drain: CancellationToken::default(),
            close: CancellationToken::default(),
            stop,
            accepting: Accepting::default(),
            pulse: Pulse::default(),
            succession: Succession::default(),
        }
    }
}

impl Phases {
    /// Ready when another process has taken this one's place.
    pub async fn replaced(&self) {
        self.drain.cancelled().await;
        if !self.succession.has_begun() {
            std::future::pending().await
        }
    }
}

/// Whether another process takes over the connections on which nobody talks while this one drains.
#[derive(Clone, Debug, Default)]
pub struct Succession(Arc<AtomicBool>);

impl Succession {
    /// From now on one does. To be said before draining begins.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether one does.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Counts turns of the workers' loops, so that somebody outside can see that none of them is stuck.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Beats>);

#[derive(Debug, Default)]
struct Beats {
    asked: AtomicU64,
    answers: AtomicUsize,
}

impl Pulse {
    /// Asks for a sign of life: every worker owes one [`answer`](Self::answer) from now on. Returns the number of those
    /// that came since this was last called.
    #[must_use]
    pub fn ask(&self) -> usize {
        let answers = self.0.answers.swap(0, Ordering::AcqRel);
        self.0.asked.fetch_add(1, Ordering::Release);
        answers
    }

    /// Answers for one worker, if it was asked since `seen`, which is then up to date.
    pub fn answer(&self, seen: &mut u64) {
        let asked = self.0.asked.load(Ordering::Acquire);
        if asked != *seen {
            *seen = asked;
            self.0.answers.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// How many workers accept connections.
#[derive(Clone, Debug, Default)]
pub struct Accepting(Arc<AtomicUsize>);

impl Accepting {
    /// One more does, until what this returns is dropped.
    #[must_use]
    pub fn begin(&self) -> impl Drop + use<> {
        self.0.fetch_add(1, Ordering::Release);
        Begun(Arc::clone(&self.0))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

struct Begun(Arc<AtomicUsize>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_stuck_owes_its_answer() {
        let pulse = Pulse::default();
        let (mut quick, mut stuck) = (0, 0);
        assert_eq!(pulse.ask(), 0);
        for _ in 0..3 {
            pulse.answer(&mut quick);
        }
        assert_eq!(pulse.ask(), 1);
        pulse.answer(&mut quick);
        pulse.answer(&mut stuck);
        assert_eq!(pulse.ask(), 2);
    }
}
