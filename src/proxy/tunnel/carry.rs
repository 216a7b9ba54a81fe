//! The bytes of one tunnel, both ways, until it ends, and which side it was that broke off.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::TryFutureExt as _;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::exchange::Chain;
use crate::record::End;

/// Copied at a time, each way.
const BUFFER: usize = 16 * 1024;

/// Waits for both sides, then copies until both have closed, or one has broken off.
pub(super) async fn carry(client: OnUpgrade, upstream: OnUpgrade, request_id: &str) -> End {
    let client = client.map_err(|cause| (End::ClientGone, cause));
    let upstream = upstream.map_err(|cause| (End::Broken, cause));
    let (client, upstream) = match tokio::try_join!(client, upstream) {
        Ok(both) => both,
        Err((end, cause)) => {
            tracing::debug!(request_id, cause = %Chain(&cause), "a tunnel was not opened");
            return end;
        }
    };
    let (mut client, mut upstream) = (Side::new(client), Side::new(upstream));
    match tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await
    {
        Ok(_) => End::Complete,
        Err(cause) => {
            tracing::debug!(request_id, %cause, "a tunnel broke off");
            if client.is_broken { End::ClientGone } else { End::Broken }
        }
    }
}

/// One side of a tunnel, which remembers whether it broke off.
struct Side {
    io: TokioIo<Upgraded>,
    is_broken: bool,
}

impl Side {
    fn new(io: Upgraded) -> Self {
        Self { io: TokioIo::new(io), is_broken: false }
    }

    fn note<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.is_broken |= matches!(polled, Poll::Ready(Err(_)));
        polled
    }
}

impl AsyncRead for Side {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        self.note(polled)
    }
}

impl AsyncWrite for Side {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.note(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        self.note(polled)
    }
}
