//! What is behind the head of an answer: read away within bounds, so that its connection can be used again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use futures_util::FutureExt as _;
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;

/// Most of a body that is read, in bytes.
const MAX_DRAIN: usize = 64 << 10;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// Bodies that are drained at once. Of any more the connection is closed.
pub(in crate::callback) const DRAINS: usize = 64;

/// Reads a body to its end, or drops it, without anybody waiting for that.
pub(super) fn drain<B>(body: B, drains: &Arc<Semaphore>)
where
    B: Body + Send + Unpin + 'static,
{
    // Nothing to read, or nothing that is worth it.
    if body.is_end_stream() || body.size_hint().lower() > MAX_DRAIN as u64 {
        return;
    }
    let mut rest = Rest { body, left: MAX_DRAIN };
    // What is short came with its head.
    if rest.read_away().now_or_never().is_some() {
        return;
    }
    let Ok(place) = Arc::clone(drains).try_acquire_owned() else { return };
    tokio::spawn(async move {
        // Whichever way it ends, dropping the rest is all there is to do.
        let _ = tokio::time::timeout(DRAIN_TIME, rest.read_away()).await;
        drop(place);
    });
}

struct Rest<B> {
    body: B,
    left: usize,
}

impl<B: Body + Unpin> Rest<B> {
    async fn read_away(&mut self) {
        while let Some(Ok(frame)) = self.body.frame().await {
            let read = frame.data_ref().map_or(0, Buf::remaining);
            let Some(left) = self.left.checked_sub(read) else { return };
            self.left = left;
        }
    }
}
