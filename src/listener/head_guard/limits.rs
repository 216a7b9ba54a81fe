//! How much a client may take, in time and in bytes, until a request is there.

use std::time::Duration;

/// What a client may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// From a head's first byte to its last; also from the start of a connection to its first byte.
    pub head_timeout: Duration,
    /// How long a connection may be quiet between requests; up to a second or a quarter of it longer.
    pub idle_timeout: Duration,
    /// For how long a connection must have been quiet to be parked: its reader then sees the end of the stream, gives the
    /// guard back, and [`HeadGuard::poll_arrival`](super::HeadGuard::poll_arrival) is asked for what comes next. None: never, the reader keeps it.
    pub park_after: Option<Duration>,
    /// Most bytes of a head, its empty line included.
    pub max_head: usize,
    /// Most header lines of a head. The HTTP server's own limit must not be lower.
    pub max_headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(650),
            park_after: None,
            max_head: 32 * 1024,
            max_headers: 100,
        }
    }
}
