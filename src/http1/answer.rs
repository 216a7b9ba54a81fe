//! The body of an answer, which reads itself from its connection and gives that back when it has ended.
//!
//! There is no task behind it: whoever reads the body moves the bytes, and who drops it early closes the connection, which tells the
//! upstream that nobody listens any more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;

use super::connection::Connection;
use super::head::{self, Framing};
use super::idle::{Idle, Place};
use super::{Fault, Switched};
use crate::chunked::{Chunked, Kind};

/// See the module.
#[derive(Debug)]
pub struct Answer {
    source: Option<Source>,
    framing: Framing,
}

/// Where the rest comes from.
#[derive(Debug)]
struct Source {
    connection: Box<Connection>,
    /// Where the connection goes when the body has ended; `None` where it can't be used again.
    home: Option<(Arc<Idle>, Place)>,
    _upload: Option<Sending>,
    trailers: Vec<u8>,
}

/// The rest of a request that is still being sent. Nobody wants it once the answer has ended.
#[derive(Debug)]
pub(super) struct Sending(pub(super) AbortHandle);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Answer {
    pub(super) fn new(
        connection: Box<Connection>,
        framing: Framing,
        home: Option<(Arc<Idle>, Place)>,
        upload: Option<Sending>,
    ) -> Self {
        let source = Source { connection, home, _upload: upload, trailers: Vec::new() };
        let mut answer = Self { source: Some(source), framing };
        if framing == Framing::Empty {
            answer.release();
        }
        answer
    }

    /// What the connection has become, if the upstream has switched protocols.
    #[must_use]
    pub fn into_switched(mut self) -> Option<Switched> {
        let source = self.source.take().filter(|_| self.framing == Framing::Switched)?;
        Some(Switched(source.connection))
    }

    /// The body has ended: its connection can be used again, or closes.
    fn release(&mut self) {
        if let Some(Source { connection, home: Some((home, place)), .. }) = self.source.take() {
            home.put(place, connection);
        }
    }

    fn poll_length(
        &mut self,
        cx: &mut Context<'_>,
        left: u64,
    ) -> Poll<Option<Result<Bytes, Fault>>> {
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        if ready!(source.poll_some(cx))? == 0 {
            return Poll::Ready(Some(Err(Fault::Ended)));
        }
        let buffer = source.connection.buffer();
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let data = buffer.split_to(count).freeze();
        let left = left - count as u64;
        self.framing = Framing::Length(left);
        if left == 0 {
            self.release();
        }
        Poll::Ready(Some(Ok(data)))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        if ready!(source.poll_some(cx))? == 0 {
            self.source = None;
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(source.connection.buffer().split().freeze())))
    }

    fn poll_chunked(
        &mut self,
        cx: &mut Context<'_>,
        mut place: Chunked,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        const BROKEN: Fault = Fault::Malformed("its chunks cannot be read");
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        while !place.is_end() {
            if ready!(source.poll_some(cx))? == 0 {
                return Poll::Ready(Some(Err(Fault::Ended)));
            }
            let buffer = source.connection.buffer();
            let (count, kind) = place.run(buffer);
            if count == 0 {
                return Poll::Ready(Some(Err(BROKEN)));
            }
            self.framing = Framing::Chunked(place);
            let run = buffer.split_to(count);
            match kind {
                Kind::Data => return Poll::Ready(Some(Ok(Frame::data(run.freeze())))),
                Kind::Framing => {}
                Kind::Trailers => source.trailers.extend_from_slice(&run),
            }
        }
        let trailers = match source.trailers.as_slice() {
            b"\r\n" => None,
            fields => Some(head::trailers(fields).ok_or(BROKEN)?),
        };
        self.release();
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

impl Source {
    /// How much there is to be used, at least one byte but at the end of the stream.
    fn poll_some(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        if self.connection.buffer().is_empty() {
            ready!(self.connection.poll_read(cx)).map_err(Fault::Io)?;
        }
        Poll::Ready(Ok(self.connection.buffer().len()))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self.get_mut();
        let polled = match this.framing {
            Framing::Empty | Framing::Switched => Poll::Ready(None),
            Framing::Length(left) => this.poll_length(cx, left).map_ok(Frame::data),
            Framing::Close => this.poll_close(cx).map_ok(Frame::data),
            Framing::Chunked(place) => this.poll_chunked(cx, place),
        };
        if matches!(polled, Poll::Ready(Some(Err(_)))) {
            this.source = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none() || self.framing == Framing::Switched
    }

    fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Empty | Framing::Switched => SizeHint::with_exact(0),
            Framing::Length(left) => SizeHint::with_exact(left),
            Framing::Chunked(_) | Framing::Close => SizeHint::default(),
        }
    }
}
