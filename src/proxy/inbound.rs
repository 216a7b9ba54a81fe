//! A client's request body, which is read to its end even when nobody wants it any more.
//!
//! A request that is refused, or answered before its body was read, must not lose its answer: were the connection
//! closed with bytes of the client unread, the client's system would throw the answer away with them. So what is left
//! is read and forgotten, within bounds, while the answer goes out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::EXPECT;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::principal::Principal;

/// Most bytes read and forgotten.
const MAX_FORGOTTEN: usize = 64 * 1024 * 1024;
/// Longest time spent on it.
const LONGEST: Duration = Duration::from_secs(10);

/// A request body as it comes from the client.
#[derive(Debug)]
pub struct Inbound {
    body: Option<Incoming>,
    /// The client waits for `100 Continue`, which goes out when the body is first read: until then it may never send
    /// one.
    unasked: bool,
    /// Whose key must live for the rest to be read: a revoked one ends its uploads.
    principal: Option<Arc<Principal>>,
}

impl Inbound {
    /// Ties the body to the key of whoever sends it.
    #[must_use]
    pub fn of(self, principal: Option<Arc<Principal>>) -> Self {
        let mut tied = self;
        tied.principal = principal;
        tied
    }

    /// Wraps the body of a request.
    #[must_use]
    pub fn wrap(request: Request<Incoming>) -> Box<Request<Self>> {
        let unasked = !request.body().is_end_stream() && request.headers().contains_key(EXPECT);
        let (head, body) = request.into_parts();
        Box::new(Request::from_parts(head, Self { body: Some(body), unasked, principal: None }))
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        this.unasked = false;
        match &mut this.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !self.unasked && !body.is_end_stream())
        else {
            return;
        };
        // Outside a runtime there is no connection left to keep.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let principal = self.principal.take();
            runtime.spawn(tokio::time::timeout(LONGEST, async move {
                match principal {
                    Some(principal) => tokio::select! {
                        () = principal.revocation.revoked() => {}
                        () = forget(body) => {}
                    },
                    None => forget(body).await,
                }
            }));
        }
    }
}

async fn forget(mut body: Incoming) {
    let mut forgotten = 0;
    while let Some(Ok(frame)) = body.frame().await {
        forgotten += frame.data_ref().map_or(0, Bytes::len);
        if forgotten > MAX_FORGOTTEN {
            return;
        }
    }
}
