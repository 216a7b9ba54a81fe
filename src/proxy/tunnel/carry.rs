//! The bytes of one tunnel, both ways, until it ends, and which side it was that broke off.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf,
    copy_bidirectional_with_sizes,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::exchange::Chain;
use super::Client;
use super::websocket::{Frames, close_from_client, close_from_server};
use crate::http1::Switched;
use crate::record::End;
use crate::request::upgrade::BreakOff;

/// Copied at a time, each way.
const BUFFER: usize = 16 * 1024;

/// How long a WebSocket may take to end a frame that has begun, and then to take note of the end.
const GOODBYE: Duration = Duration::from_millis(400);

/// Waits for the client's side, then copies until both have closed, or one has broken off. With `close` it is a WebSocket,
/// both sides of which are told when that is cancelled, and whose frames tell that there is more to come. What has no frames
/// is broken off where the upstream broke off.
pub(super) async fn carry(
    Client { upgrade, break_off }: Client,
    upstream: Option<Switched>,
    close: Option<CancellationToken>,
    request_id: &str,
) -> End {
    let upstream = upstream.ok_or_else(|| ErrorKind::NotConnected.into());
    let (upstream, said) = match upstream.and_then(Switched::into_stream) {
        Ok(upstream) => upstream,
        Err(cause) => {
            tracing::debug!(request_id, %cause, "a tunnel was not opened");
            return End::Broken;
        }
    };
    let client = match upgrade.await {
        Ok(client) => TokioIo::new(client),
        Err(cause) => {
            tracing::debug!(request_id, cause = %Chain(&cause), "a tunnel was not opened");
            return End::ClientGone;
        }
    };
    let is_framed = close.is_some();
    let (mut client, mut upstream) = (Side::new(client, is_framed), Side::new(upstream, is_framed));
    let between = [client.between_frames.clone(), upstream.between_frames.clone()];
    let mut copied = Box::pin(async {
        client.write_all(&said).await?;
        drop(said);
        copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await
    });
    let ended = tokio::select! {
        ended = &mut copied => Some(ended),
        () = told_to_close(close) => {
            // What has begun has to end before anything else can be said.
            let frames = poll_fn(|cx| match copied.as_mut().poll(cx) {
                Poll::Ready(ended) => Poll::Ready(Some(ended)),
                Poll::Pending if between.iter().all(is_between) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            timeout(GOODBYE, frames).await.unwrap_or_default()
        }
    };
    drop(copied);
    match ended {
        Some(Ok(_)) => End::Complete,
        Some(Err(cause)) => {
            tracing::debug!(request_id, %cause, "a tunnel broke off");
            if client.is_broken {
                return End::ClientGone;
            }
            if let (false, Some(BreakOff(break_off))) = (is_framed, break_off) {
                break_off(client.io.into_inner());
            }
            End::Broken
        }
        None => {
            let mut mask = [0; 4];
            // Without randomness the frame is as valid.
            let _ = getrandom::fill(&mut mask);
            let (to_client, to_upstream) = (close_from_server(), close_from_client(mask));
            let said = async {
                tokio::join!(client.say_goodbye(&to_client), upstream.say_goodbye(&to_upstream))
            };
            let _ = timeout(GOODBYE, said).await;
            End::Broken
        }
    }
}

/// Ready when it is told; never, where nobody tells.
async fn told_to_close(close: Option<CancellationToken>) {
    match close {
        Some(close) => close.cancelled().await,
        None => std::future::pending().await,
    }
}

fn is_between(flag: &Arc<AtomicBool>) -> bool {
    flag.load(Ordering::Relaxed)
}

/// One side of a tunnel, which remembers whether it broke off.
struct Side<IO> {
    io: IO,
    is_broken: bool,
    /// Of a WebSocket: what was written so far.
    frames: Option<Frames>,
    /// Whether what was written ends where a frame of one's own may follow.
    between_frames: Arc<AtomicBool>,
}

impl<IO> Side<IO> {
    fn new(io: IO, is_framed: bool) -> Self {
        let frames = is_framed.then(Frames::default);
        Self { io, is_broken: false, frames, between_frames: Arc::new(AtomicBool::new(true)) }
    }

    fn note<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.is_broken |= matches!(polled, Poll::Ready(Err(_)));
        polled
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Side<IO> {
    /// Sends a close frame, if there may be one, and waits for the other end to hang up: to close first could take the frame
    /// away from it again.
    async fn say_goodbye(&mut self, frame: &[u8]) -> io::Result<()> {
        if is_between(&self.between_frames) {
            self.write_all(frame).await?;
        }
        self.shutdown().await?;
        let mut ignored = [0; 1024];
        while self.read(&mut ignored).await? > 0 {}
        Ok(())
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
        if let (Some(frames), Poll::Ready(Ok(count))) = (&mut self.frames, &polled) {
            frames.advance(buf.get(..*count).unwrap_or_default());
            let may_close = frames.may_close();
            self.between_frames.store(may_close, Ordering::Relaxed);
        }
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
