//! The present by both clocks, read once for all that is decided at it.

use tokio::time::Instant;

use crate::clock::UnixTime;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// By the clock that only goes forward.
    pub(super) instant: Instant,
    /// By the one that others have too.
    pub(super) time: UnixTime,
}

impl Now {
    /// Reads both.
    pub(super) fn read() -> Self {
        Self { instant: Instant::now(), time: UnixTime::now() }
    }
}
