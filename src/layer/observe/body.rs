//! The body of an answer, watched to its end: the request is over when it is.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::{Body, Frame, SizeHint};

use crate::proxy::body::{BodyError, Reply};
use crate::record::{End, Pending};

/// A reply, and the request that ends with it.
#[derive(Debug)]
pub struct Observed {
    reply: Reply,
    pending: Option<Pending>,
    /// Bytes yet to come, where that was known: the server does not ask for more after the last one.
    left: Option<u64>,
}

impl Observed {
    /// The reply to `pending`; none to a request that nobody wants to hear of.
    #[must_use]
    pub fn new(reply: Reply, mut pending: Option<Pending>) -> Self {
        let mut left = reply.size_hint().exact();
        if let Some(record) = pending.as_mut().map(Pending::record) {
            let is_headless = matches!(
                record.status,
                Some(
                    StatusCode::NO_CONTENT
                        | StatusCode::NOT_MODIFIED
                        | StatusCode::SWITCHING_PROTOCOLS
                )
            );
            if record.method == Method::HEAD || is_headless {
                left = Some(0);
            }
        }
        Self { reply, pending, left }
    }

    fn end(&mut self, end: End) {
        if let Some(pending) = self.pending.take() {
            pending.end(end);
        }
    }
}

impl Body for Observed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.reply).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(left), Some(data)) = (&mut this.left, frame.data_ref()) {
                    *left = left.saturating_sub(data.len() as u64);
                }
            }
            Poll::Ready(Some(Err(_))) => this.end(End::Broken),
            Poll::Ready(None) => this.end(End::Complete),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.reply.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.reply.size_hint()
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        let is_over = self.left == Some(0) || self.reply.is_end_stream();
        self.end(if is_over { End::Complete } else { End::ClientGone });
    }
}
