//! One request to the upstream and the head of its answer, under a limit.
//!
//! The limit runs from the moment the request body has been passed on, so that a slow upload is not a slow upstream. While it waits, a
//! revoked key ends the exchange. Dropping the future cancels the upstream's work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::body::Outgoing;
use super::pool::Pool;
use crate::error::GatewayError;
use crate::principal::Principal;

/// How often a waiting exchange looks whether its key still lives.
const LOOK: Duration = Duration::from_millis(500);

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
}

/// Sends `request` and waits for the head of the answer.
///
/// # Errors
/// The upstream cannot be reached, breaks off, or takes too long; or the key was revoked meanwhile.
pub async fn exchange(
    pool: &Pool,
    request: Request<Outgoing>,
    bounds: &Bounds,
) -> Result<Response<Incoming>, GatewayError> {
    let answer = pool.request(request);
    tokio::pin!(answer);
    let mut since = Instant::now();
    loop {
        let next = bounds.head.map_or(LOOK, |limit| limit.min(LOOK));
        if let Ok(answered) = tokio::time::timeout(next, answer.as_mut()).await {
            return answered.map_err(|cause| {
                if is_of_the_body(&cause) {
                    tracing::debug!(cause = %Chain(&cause), "a request body broke off");
                    return BROKEN_BODY;
                }
                let unknown_outcome = bounds.creates && !cause.is_unsent();
                tracing::warn!(cause = %Chain(&cause), "the upstream could not be asked");
                GatewayError::UpstreamUnreachable { unknown_outcome }
            });
        }
        if bounds.principal.as_ref().is_some_and(|principal| principal.revocation.is_revoked()) {
            return Err(GatewayError::BadCredential);
        }
        if bounds.sent.as_ref().is_some_and(|sent| !sent.load(Ordering::Relaxed)) {
            since = Instant::now();
        }
        if bounds.head.is_some_and(|limit| since.elapsed() >= limit) {
            tracing::warn!("the head of the upstream's answer took too long");
            return Err(GatewayError::UpstreamTimeout { unknown_outcome: bounds.creates });
        }
    }
}

/// The client's body ended before its end, or was no body.
pub const BROKEN_BODY: GatewayError =
    GatewayError::BadRequest("broken_body", "The request body broke off or is malformed");

/// Whether the request failed because its own body did, through no fault of the upstream.
fn is_of_the_body(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_user)
}

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
