//! One request to the upstream and the head of its answer, under a limit.
//!
//! The limit runs from the moment the request body has been passed on, so that a slow upload is not a slow upstream. While it waits, a
//! revoked key ends the exchange; nothing is sent for one. Dropping the future cancels the upstream's work. Bodies that have to be read as a
//! whole are bounded in the same way.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Response};
use tokio::time::Instant;

use super::body::Outgoing;
use super::pool::{Answer, Pool, SendError};
use crate::error::GatewayError;
use crate::http1::{Address, Fields};
use crate::lookout::Lookout;
use crate::principal::Principal;

/// What bounds an exchange.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// Longest wait for the head of the answer; `None` on the data plane.
    pub head: Option<Duration>,
    /// Set when the request body has been passed on; `None` when there is none.
    pub sent: Option<Arc<AtomicBool>>,
    /// Whose key must live.
    pub principal: Option<Arc<Principal>>,
    /// Whether a failure after sending leaves it open if something was created.
    pub creates: bool,
    /// The id of the request that this is for, so that the cause of a failure can be found.
    pub request_id: Option<HeaderValue>,
}

impl Bounds {
    /// The id of the request that this is for.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_ref().and_then(|id| id.to_str().ok())
    }

    fn is_revoked(&self) -> bool {
        self.principal.as_ref().is_some_and(|principal| principal.revocation.is_revoked())
    }

    async fn revoked(&self) {
        match &self.principal {
            Some(principal) => principal.revocation.revoked().await,
            None => std::future::pending().await,
        }
    }

    /// Lets a body be read as a whole: for no longer than `limit`, if there is one, and than the key lives.
    ///
    /// # Errors
    /// `late` when it took too long; [`GatewayError::BadCredential`] when the key was revoked.
    pub async fn let_read<T>(
        &self,
        limit: Option<Duration>,
        late: GatewayError,
        read: impl Future<Output = T>,
    ) -> Result<T, GatewayError> {
        let read = async {
            match limit {
                Some(limit) => tokio::time::timeout(limit, read).await.map_err(|_| late),
                None => Ok(read.await),
            }
        };
        tokio::select! {
            biased;
            () = self.revoked() => Err(GatewayError::BadCredential),
            read = read => read,
        }
    }
}

/// Sends a request `to` where its upstream is, and waits for the head of the answer. `head` is left in an unknown state.
///
/// # Errors
/// The upstream cannot be reached, breaks off, or takes too long; or the key was revoked meanwhile.
pub async fn exchange(
    pool: &Pool,
    to: &Address,
    head: &mut Parts,
    fields: &Fields<'_>,
    body: Outgoing,
    bounds: &Bounds,
) -> Result<Response<Answer>, GatewayError> {
    if bounds.is_revoked() {
        return Err(GatewayError::BadCredential);
    }
    let mut lookout = Lookout::new(pool.alarms());
    let mut deadline = bounds.head.map(|limit| Instant::now() + limit);
    let answer = pool.request(to, head, fields, body);
    tokio::pin!(answer);
    loop {
        // The answer first: most come before anybody has to look out for anything.
        let answered = poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answered) => Poll::Ready(Some(answered)),
            Poll::Pending => lookout.poll(cx, deadline).map(|()| None),
        });
        if let Some(answered) = answered.await {
            return answered.map_err(|cause| failed(&cause, to, bounds));
        }
        if bounds.is_revoked() {
            return Err(GatewayError::BadCredential);
        }
        let (Some(limit), Some(due)) = (bounds.head, deadline) else { continue };
        let now = Instant::now();
        if bounds.sent.as_ref().is_some_and(|sent| !sent.load(Ordering::Relaxed)) {
            deadline = Some(now + limit);
        } else if now >= due {
            let request_id = bounds.request_id();
            tracing::warn!(request_id, "the head of the upstream's answer took too long");
            return Err(GatewayError::UpstreamTimeout { unknown_outcome: bounds.creates });
        }
    }
}

fn failed(cause: &SendError, to: &Address, bounds: &Bounds) -> GatewayError {
    let request_id = bounds.request_id();
    if cause.is_of_the_body() {
        tracing::debug!(request_id, cause = %Chain(cause), "a request body broke off");
        return BROKEN_BODY;
    }
    let unknown_outcome = bounds.creates && !cause.is_unsent();
    tracing::warn!(request_id, upstream = %to, cause = %Chain(cause), "the upstream could not be asked");
    GatewayError::UpstreamUnreachable { unknown_outcome }
}

/// The client's body ended before its end, or was no body.
pub const BROKEN_BODY: GatewayError =
    GatewayError::BadRequest("broken_body", "The request body broke off or is malformed");

/// An error with its causes, for the log.
pub struct Chain<'e>(pub &'e dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl std::fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_read_as_a_whole_must_come_in_time() {
        let (bounds, limit) = (Bounds::default(), Some(Duration::from_secs(60)));
        let after = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        let in_time = bounds.let_read(limit, GatewayError::BodyTimeout, after(59)).await;
        assert_eq!(in_time, Ok(()));
        let late = bounds.let_read(limit, GatewayError::BodyTimeout, after(61)).await;
        assert_eq!(late, Err(GatewayError::BodyTimeout));
        let unlimited = bounds.let_read(None, GatewayError::BodyTimeout, after(600)).await;
        assert_eq!(unlimited, Ok(()));
    }
}
