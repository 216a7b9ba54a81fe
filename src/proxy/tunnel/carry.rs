//! The bytes of one tunnel, both ways, until it ends, and which side it was that broke off.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{
    AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, copy_bidirectional_with_sizes,
};

use super::super::exchange::Chain;
use crate::http1::Switched;
use crate::record::End;

/// Copied at a time, each way.
const BUFFER: usize = 16 * 1024;

/// Waits for the client's side, then copies until both have closed, or one has broken off.
pub(super) async fn carry(client: OnUpgrade, upstream: Option<Switched>, request_id: &str) -> End {
    let upstream = upstream.ok_or_else(|| ErrorKind::NotConnected.into());
    let (upstream, said) = match upstream.and_then(Switched::into_stream) {
        Ok(upstream) => upstream,
        Err(cause) => {
            tracing::debug!(request_id, %cause, "a tunnel was not opened");
            return End::Broken;
        }
    };
    let client = match client.await {
        Ok(client) => TokioIo::new(client),
        Err(cause) => {
            tracing::debug!(request_id, cause = %Chain(&cause), "a tunnel was not opened");
            return End::ClientGone;
        }
    };
    let (mut client, mut upstream) = (Side::new(client), Side::new(upstream));
    let copied = async {
        client.write_all(&said).await?;
        drop(said);
        copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await
    };
    match copied.await {
        Ok(_) => End::Complete,
        Err(cause) => {
            tracing::debug!(request_id, %cause, "a tunnel broke off");
            if client.is_broken { End::ClientGone } else { End::Broken }
        }
    }
}

/// One side of a tunnel, which remembers whether it broke off.
struct Side<IO> {
    io: IO,
    is_broken: bool,
}

impl<IO> Side<IO> {
    const fn new(io: IO) -> Self {
        Self { io, is_broken: false }
    }

    fn note<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.is_broken |= matches!(polled, Poll::Ready(Err(_)));
        polled
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Side<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        self.note(polled)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Side<IO> {
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
