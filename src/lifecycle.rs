//! The two steps of stopping, as everything that runs sees them, and who has begun to serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

/// The two steps of stopping, shared by everything that runs.
#[derive(Clone, Debug, Default)]
pub struct Phases {
    /// No new connections and requests; what runs may finish.
    pub drain: CancellationToken,
    /// Everything ends now.
    pub stop: CancellationToken,
    /// The workers that accept connections.
    pub accepting: Accepting,
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
