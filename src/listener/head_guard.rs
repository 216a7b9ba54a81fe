//! Looks at every HTTP/1 request head before the HTTP server does.
//!
//! The server forgives what a gateway must refuse (bare LF, both kinds of length, repeated lengths, fragments), and a handler
//! cannot see it any more. [`HeadGuard`] therefore sits between the socket and the server: a head passes only when it is
//! complete and above doubt, its body passes as framed, and nothing is ever rewritten. A refused head is replaced by a made-up
//! request whose method names the reason ([`Refusal::from_method`]), so that the service answers it in the ordinary way.
//! HTTP/2 passes unseen: its framing has none of these ambiguities. No request is interpreted or authorised here.
//!
//! Between requests the guard can do without a server above it: [`HeadGuard::poll_arrival`].

mod framer;
mod handle;
mod head;
mod limits;
mod patience;
mod pieces;
mod plain;
mod refusal;
#[cfg(test)]
mod tests;
mod timer;

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Duration, Instant};

pub use self::framer::Agreed;
use self::framer::{Framer, Stop};
pub use self::handle::{GuardHandle, InFlight};
pub use self::limits::Limits;
pub use self::patience::{Overdue, Patience};
pub use self::refusal::Refusal;
use self::timer::Timer;

/// Most bytes held back behind an undecided upgrade; one read may exceed it once.
const MAX_HELD: usize = 16 * 1024;
/// Most bytes read and thrown away behind a refused head.
const MAX_DRAINED: usize = 256 * 1024;
/// How long a refused client may keep sending after the answer. Closing earlier could make its system drop the answer.
const LINGER: Duration = Duration::from_secs(1);
/// Below this much room a head is read into the guard's own buffer: one read instead of several.
const MIN_ROOM: usize = 1024;
/// Size of one read into the guard's own buffer.
const READ: usize = 4096;

/// A stream of which only well-formed HTTP/1 requests, HTTP/2 and decided tunnels can be read. Writes pass unchanged.
pub struct HeadGuard<IO> {
    io: IO,
    framer: Framer,
    handle: GuardHandle,
    /// Bytes that could not be passed at once: `passed` ones that now may, then ones that may not yet.
    held: BytesMut,
    passed: usize,
    /// Whether the handle has been told of the upgrade request that passed last.
    asked: bool,
    ending: Option<Ending>,
    drained: usize,
    shut: Option<Instant>,
    /// Whether the last write is still to be done.
    stuffed: bool,
    /// Whether something that was written is still on its way through TLS.
    unflushed: bool,
    patience: Patience,
    linger: Timer,
}

/// What follows the bytes that passed, if no others can.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    Eof,
    Broken,
    Refused,
    /// For the reader only: the connection goes on without it.
    Parked,
}

/// What has come on a connection that nobody reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// At least one HTTP/1 request; perhaps a made-up one.
    Http1,
    /// The preface of HTTP/2.
    Http2,
    /// The end: the client's, or that of the time it had.
    End,
    /// Nothing, and the connection may leave: see [`GuardHandle::leave`].
    Nothing,
}

impl<IO> HeadGuard<IO> {
    /// Guards a connection that has just been accepted. The handle goes to its requests.
    ///
    /// Must be called within a tokio runtime that has timers.
    pub fn new(io: IO, limits: Limits) -> (Self, GuardHandle) {
        let handle = GuardHandle::new();
        let guard = Self {
            io,
            framer: Framer::new(limits.max_head, limits.max_headers),
            handle: handle.clone(),
            held: BytesMut::new(),
            passed: 0,
            asked: false,
            ending: None,
            drained: 0,
            shut: None,
            stuffed: false,
            unflushed: false,
            patience: Patience::new(&limits),
            linger: Timer::default(),
        };
        (guard, handle)
    }

    /// The same where it has been agreed upon which HTTP is spoken. Whoever then speaks another is not heard.
    #[must_use]
    pub fn where_agreed(mut self, agreed: Agreed) -> Self {
        self.framer.agree(agreed);
        self
    }

    /// Guards a connection that another guard gave up between two requests, and on which nobody reads yet.
    ///
    /// Must be called as [`new`](Self::new).
    pub fn after_another(io: IO, limits: Limits) -> (Self, GuardHandle) {
        let (mut guard, handle) = Self::new(io, limits);
        guard.framer = Framer::after_some(limits.max_head, limits.max_headers);
        guard.patience = Patience::parked(&limits);
        (guard, handle)
    }

    /// The connection itself, and whether a request ever came on it. Of a guard that [`Arrival::Nothing`] was told of, or
    /// whose connection is to end.
    pub fn into_inner(self) -> (IO, bool) {
        let is_used = self.is_used();
        (self.io, is_used)
    }

    /// Whether a request ever came on it.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.framer.heads() > 0
    }

    /// For how long its client may ask for nothing in HTTP/2, where the guard sees no requests.
    #[must_use]
    pub fn patience_with_streams(&self) -> Patience {
        self.patience.with_streams()
    }

    /// Whether the end that its reader has seen is only the reader's.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.ending == Some(Ending::Parked)
    }

    /// Hands out held bytes that may pass.
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.passed.min(buf.remaining());
        buf.put_slice(self.held.get(..count).unwrap_or_default());
        self.held.advance(count);
        self.passed -= count;
        if self.held.is_empty() {
            // A connection between requests should not keep the memory of its largest head.
            self.held = BytesMut::new();
        }
    }

    /// Asks the framer about the held bytes that may not pass yet.
    fn check_held(&mut self) {
        let (count, stop) = self.framer.advance(self.held.get(self.passed..).unwrap_or_default());
        self.passed += count;
        self.stop_at(stop);
    }

    fn stop_at(&mut self, stop: Stop) {
        match stop {
            Stop::Incomplete | Stop::AwaitingVerdict => {}
            Stop::Refused(refusal) => self.refuse(refusal),
            Stop::Broken => {
                self.held.truncate(self.passed);
                self.ending = Some(Ending::Broken);
            }
        }
        // Before the request is delivered, so that its verdict cannot come too early.
        if self.framer.asks() && !self.asked {
            self.asked = true;
            self.handle.ask();
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        tracing::debug!(reason = refusal.code(), "request head refused");
        self.held.truncate(self.passed);
        self.held.extend_from_slice(refusal.request().as_bytes());
        self.passed = self.held.len();
        self.ending = Some(Ending::Refused);
    }

    /// Ends, or parks, a connection that has been waiting for its client for too long.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.framer.at_head() {
            return Poll::Pending;
        }
        let part_of_head = !self.held.is_empty();
        let heads = self.framer.heads();
        if !part_of_head && self.handle.is_leaving() && self.handle.is_quiet() && !self.stuffed {
            self.ending = Some(Ending::Parked);
            return Poll::Ready(());
        }
        let overdue = if part_of_head || heads == 0 {
            self.patience.poll_head(cx, part_of_head, heads)
        } else {
            let Self { handle, stuffed, unflushed, .. } = self;
            let has_written = !*stuffed && !*unflushed;
            self.patience.poll_quiet(cx, heads, || handle.is_quiet() && has_written)
        };
        match ready!(overdue) {
            Overdue::Head => self.refuse(Refusal::HeadTimeout),
            Overdue::Start | Overdue::Request => self.ending = Some(Ending::Eof),
            Overdue::Parking => self.ending = Some(Ending::Parked),
        }
        Poll::Ready(())
    }
}

impl<IO: AsyncRead + Unpin> HeadGuard<IO> {
    /// Waits for something that a reader is needed for. Nothing that has come is lost: the reader finds it here.
    ///
    /// Only for a guard that has no reader, because it is new or [parked](Self::is_parked).
    pub fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Arrival>> {
        loop {
            if self.is_parked() {
                self.ending = None;
            }
            if self.passed > 0 {
                self.patience.unpark();
                let http2 = self.framer.is_http2();
                return Poll::Ready(Ok(if http2 { Arrival::Http2 } else { Arrival::Http1 }));
            }
            if self.ending.is_some() {
                return Poll::Ready(Ok(Arrival::End));
            }
            match self.poll_fill(cx, &mut ReadBuf::new(&mut [])) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(Arrival::End)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if self.handle.is_leaving() && self.held.is_empty() => {
                    return Poll::Ready(Ok(Arrival::Nothing));
                }
                Poll::Pending => ready!(self.poll_overdue(cx)),
            }
        }
    }

    /// Reads once. Ready with `false` at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        if !self.held.is_empty() || (self.framer.at_head() && buf.remaining() < MIN_ROOM) {
            let mut space = [MaybeUninit::<u8>::uninit(); READ];
            let mut space = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut space))?;
            if space.filled().is_empty() {
                return Poll::Ready(Ok(false));
            }
            self.held.extend_from_slice(space.filled());
            self.check_held();
            return Poll::Ready(Ok(true));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        if read.is_empty() {
            return Poll::Ready(Ok(false));
        }
        let (count, stop) = self.framer.advance(read);
        self.held.extend_from_slice(read.get(count..).unwrap_or_default());
        buf.set_filled(before + count);
        self.stop_at(stop);
        Poll::Ready(Ok(true))
    }

    /// Reads and throws away; ready when nothing more will be read.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.drained < MAX_DRAINED {
            let mut space = [MaybeUninit::<u8>::uninit(); READ];
            let mut space = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut space))?;
            match space.filled().len() {
                0 => self.drained = MAX_DRAINED,
                count => self.drained += count,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for HeadGuard<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        loop {
            if this.passed > 0 {
                this.deliver(buf);
            }
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            match this.ending {
                Some(Ending::Eof | Ending::Parked) => return Poll::Ready(Ok(())),
                Some(Ending::Broken) => {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "malformed chunked request body",
                    )));
                }
                Some(Ending::Refused) => {
                    // The end of the stream is kept back: it would make the server drop the answer.
                    ready!(this.poll_drain(cx))?;
                    return Poll::Pending;
                }
                None => {}
            }
            if this.asked {
                if let Some(verdict) = this.handle.take_verdict(cx.waker()) {
                    this.asked = false;
                    this.framer.resolve(verdict);
                    this.check_held();
                    continue;
                }
                if this.framer.awaits_verdict() && this.held.len() >= MAX_HELD {
                    return Poll::Pending;
                }
            }
            match this.poll_fill(cx, buf) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => ready!(this.poll_overdue(cx)),
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for HeadGuard<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.stuffed = written.is_pending();
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = pieces::poll_write(&mut this.io, cx, bufs);
        this.stuffed = written.is_pending();
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        this.unflushed = flushed.is_pending();
        flushed
    }

    /// Shuts down; after a refusal, also waits a little for the client to stop sending. A parked connection stays open.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_parked() {
            return Poll::Ready(Ok(()));
        }
        let shut = match this.shut {
            Some(shut) => shut,
            None => {
                ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
                *this.shut.insert(Instant::now())
            }
        };
        if this.ending == Some(Ending::Refused) && this.poll_drain(cx).is_pending() {
            ready!(this.linger.poll(cx, shut + LINGER));
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO> fmt::Debug for HeadGuard<IO> {
    /// Without the bytes held: they may be credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadGuard")
            .field("framer", &self.framer)
            .field("held", &self.held.len())
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}
