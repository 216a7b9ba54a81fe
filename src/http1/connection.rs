//! One connection to an upstream: writes a request, reads the head of its answer.
//!
//! Both at once: an upstream may answer, and even stop reading, before all of a request was sent. Nothing here is a task of its
//! own; whoever waits for the answer moves the bytes.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Method;
use http_body::Body;
use tokio_util::io::poll_read_buf;

use super::Fault;
use super::head::{self, Head};
use super::keep::Keep;
use super::stream::{ReadHalf, Stream};
use super::upload::{Upload, Writer};

/// Room for the first read. A longer answer gets more, up to [`MOST_ROOM`].
const ROOM: usize = 8 * 1024;
/// Most that is read at once.
const MOST_ROOM: usize = 256 * 1024;

/// A connection to an upstream, and what was read ahead on it.
#[derive(Debug)]
pub(super) struct Connection {
    /// `None` once the rest of a request is sent elsewhere.
    writer: Option<Writer>,
    reader: ReadHalf,
    buffer: BytesMut,
    room: usize,
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        let (reader, writer) = stream.into_halves();
        Self { writer: Some(Writer::new(writer)), reader, buffer: BytesMut::new(), room: ROOM }
    }

    /// Whether another request may be sent: not where the upstream has closed the connection, or said what nobody asked for.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.buffer.is_empty() && self.reader.is_quiet()
    }

    /// Gives back what only a large exchange needs.
    pub(super) fn rest(&mut self) {
        if self.room > ROOM {
            self.room = ROOM;
            self.buffer = BytesMut::new();
        }
        if let Some(writer) = &mut self.writer {
            writer.rest();
        }
    }

    /// What is written next: a request of which nothing was sent yet.
    pub(super) const fn writer(&mut self) -> Option<&mut Writer> {
        self.writer.as_mut()
    }

    /// Whether any of the request was written.
    pub(super) fn has_begun(&self) -> bool {
        self.writer.as_ref().is_none_or(Writer::has_begun)
    }

    /// Whether `fault` is the end of the connection, after the request was begun and before its answer was.
    pub(super) fn has_crossed(&self, fault: &Fault) -> bool {
        let has_ended = match fault {
            Fault::Ended => true,
            Fault::Io(cause) => matches!(
                cause.kind(),
                ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::BrokenPipe
                    // In TLS, without a goodbye.
                    | ErrorKind::UnexpectedEof
            ),
            Fault::Malformed(_) | Fault::HeadTooLarge | Fault::Body(_) | Fault::Length => false,
        };
        has_ended && self.has_begun() && self.buffer.is_empty()
    }

    /// Takes the writer away if it has something left to write. The connection can then carry no other request.
    pub(super) fn take_busy_writer<B>(&mut self, upload: &Upload<B>) -> Option<Writer>
    where
        B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
    {
        self.writer.take_if(|writer| !upload.is_done() || !writer.is_empty())
    }

    /// Sends what is left of a request, and reads the head of its answer.
    pub(super) fn poll_answer<B, K>(
        &mut self,
        cx: &mut Context<'_>,
        upload: &mut Upload<B>,
        method: &Method,
    ) -> Poll<Result<Head<K>, Fault>>
    where
        B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
        K: Keep,
    {
        // An upstream that reads no further may have said why.
        let Some(writer) = &mut self.writer else { return Poll::Ready(Err(Fault::Ended)) };
        let failed = match writer.poll_send(cx, upload) {
            Poll::Ready(Err(Fault::Io(cause))) if writer.has_begun() => Some(cause),
            Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
            Poll::Ready(Ok(())) | Poll::Pending => None,
        };
        loop {
            match ready!(self.poll_read(cx)) {
                Ok(0) => return Poll::Ready(Err(failed.map_or(Fault::Ended, Fault::Io))),
                Ok(_) => {}
                Err(cause) => return Poll::Ready(Err(Fault::Io(failed.unwrap_or(cause)))),
            }
            if let Some(head) = head::read(&mut self.buffer, method)? {
                return Poll::Ready(Ok(head));
            }
        }
    }

    /// Reads more into the buffer; how much, 0 at the end of the stream.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.reserve(self.room);
        let room = self.buffer.capacity() - self.buffer.len();
        let read = ready!(poll_read_buf(Pin::new(&mut self.reader), cx, &mut self.buffer))?;
        if read == room {
            self.room = (self.room * 2).min(MOST_ROOM);
        }
        Poll::Ready(Ok(read))
    }

    /// What was read and not used yet.
    pub(super) const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The stream itself, with what was read ahead on it.
    pub(super) fn into_stream(self) -> io::Result<(Stream, Bytes)> {
        let writer = self.writer.ok_or(ErrorKind::BrokenPipe)?;
        let stream = self.reader.reunite(writer.into_half())?;
        Ok((stream, self.buffer.freeze()))
    }
}
