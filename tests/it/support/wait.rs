//! Waiting for what other processes and threads bring about: looks again and again, and never longer than said.
//!
//! Nothing here pauses for a fixed time in the hope that something has happened by then.

use std::time::{Duration, Instant};

/// Longest wait for anything that should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `done`; panics when that has not come to pass within `limit`.
pub(crate) fn eventually(what: &str, limit: Duration, done: impl FnMut() -> bool) {
    assert!(within(limit, done), "still not after {limit:?}: {what}");
}

/// Whether `done` comes to pass within `limit`.
pub(crate) fn within(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !done() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
    true
}

/// Runs an asynchronous test on this thread; panics when it takes longer than anything should.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.unwrap() })
}
