//! Gives back to the system what parked connections have freed.
//!
//! The allocator keeps freed pages for a second, in case they are needed again, and looks for those whose time has passed
//! only when it is given back a page. Where nothing happens any more, nothing is freed, and the memory of a busy hour
//! would stay. So somebody frees something, a while after connections were parked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

/// Longer than the allocator keeps what is free.
const PAUSE: Duration = Duration::from_secs(2);

/// So large that the allocator makes a page of its own for it, and takes that back at once.
const LARGE: usize = 4 * 1024 * 1024;

/// Hears of parked connections.
#[derive(Clone, Debug)]
pub(super) struct Reclaim(Arc<Notify>);

impl Reclaim {
    /// Must be called within a tokio runtime, for the rest of which it works.
    pub(super) fn new() -> Self {
        let parked = Arc::new(Notify::new());
        let heard = Arc::clone(&parked);
        tokio::spawn(async move {
            loop {
                heard.notified().await;
                tokio::time::sleep(PAUSE).await;
                // Never written to, so that it costs no memory.
                drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
            }
        });
        Self(parked)
    }

    /// A connection was parked.
    pub(super) fn parked(&self) {
        self.0.notify_one();
    }
}
