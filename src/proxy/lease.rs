//! An upstream's body that is taken back when its caller's key is revoked, even from a client that has stopped reading.
//!
//! The HTTP server does not ask for more of a body while its client takes nothing, so a body that only looked when it
//! is asked would hold its upstream for as long as such a client likes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;

use super::pool::{Answer, ReadError};
use crate::principal::Principal;

/// The body, until it is taken back.
#[derive(Debug)]
pub(super) struct Lease {
    body: Arc<Mutex<Option<Answer>>>,
    ender: AbortHandle,
}

impl Lease {
    /// Leases `body` for as long as `principal`'s key lives. Costs a task, so it is for bodies that are long enough to
    /// get stuck.
    pub(super) fn new(body: Answer, principal: Arc<Principal>) -> Self {
        let body = Arc::new(Mutex::new(Some(body)));
        let leased = Arc::clone(&body);
        let ender = tokio::spawn(async move {
            principal.revocation.revoked().await;
            drop(locked(&leased).take());
        });
        Self { body, ender: ender.abort_handle() }
    }

    /// The next frame; nothing more once it was taken back, which the reader has to tell from an end by the key.
    pub(super) fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        match locked(&self.body).as_mut() {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        locked(&self.body).as_ref().is_some_and(Body::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        locked(&self.body).as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ender.abort();
    }
}

/// The body is whole between polls, so a poisoned lock is as good as any.
fn locked(body: &Mutex<Option<Answer>>) -> MutexGuard<'_, Option<Answer>> {
    body.lock().unwrap_or_else(PoisonError::into_inner)
}
