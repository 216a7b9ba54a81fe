//! A request on its way out: its head, then its body as it comes.
//!
//! Nothing of a body is kept beyond the piece that is being written, and no piece is asked for before the last one is gone.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::TRAILER;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};
use http_body_util::combinators::MapErr;
use http_body_util::{BodyExt as _, Empty};
use tokio::io::AsyncWrite;

use super::Fault;
use super::request::{self, Fields, Length};
use super::stream::WriteHalf;

/// Memory for heads and sizes that is kept from one request to the next.
const KEPT: usize = 16 * 1024;

/// What is left to be sent of a request.
#[derive(Debug)]
pub(super) struct Upload<B> {
    body: B,
    left: Length,
    /// What the head announced for behind the body.
    trailers: Vec<HeaderValue>,
    is_done: bool,
}

/// The body of a request that has none.
pub(super) type Nothing = MapErr<Empty<Bytes>, fn(Infallible) -> hyper::Error>;

impl Upload<Nothing> {
    pub(super) fn nothing() -> Self {
        let body = Empty::new().map_err((|never| match never {}) as fn(Infallible) -> hyper::Error);
        Self { body, left: Length::None, trailers: Vec::new(), is_done: true }
    }
}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Upload<B> {
    /// The body behind `head`.
    pub(super) fn new(head: &Parts, body: B) -> Self {
        let left = match (body.is_end_stream(), body.size_hint().exact()) {
            (true, _) => Length::None,
            (false, Some(length)) => Length::Known(length),
            (false, None) => Length::Unknown,
        };
        let trailers = match left {
            Length::Unknown => head.headers.get_all(TRAILER).iter().cloned().collect(),
            Length::None | Length::Known(_) => Vec::new(),
        };
        Self { body, left, trailers, is_done: left == Length::None }
    }

    /// As long as it is, before any of it was sent.
    pub(super) const fn length(&self) -> Length {
        self.left
    }

    /// Whether all of it was handed on.
    pub(super) const fn is_done(&self) -> bool {
        self.is_done
    }

    fn announces(&self, name: &HeaderName) -> bool {
        let mut names = self.trailers.iter().flat_map(|line| line.as_bytes().split(|&b| b == b','));
        names.any(|said| said.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
    }
}

/// The writing half of a connection.
#[derive(Debug)]
pub(super) struct Writer {
    stream: WriteHalf,
    /// Heads and sizes, written up to `written`.
    text: Vec<u8>,
    written: usize,
    /// Then a piece of a body, and what ends it.
    data: Bytes,
    end: &'static [u8],
    has_begun: bool,
    /// Whether some of what was written may still be on this side: TLS writes whole records.
    is_unflushed: bool,
}

impl Writer {
    pub(super) const fn new(stream: WriteHalf) -> Self {
        Self {
            stream,
            text: Vec::new(),
            written: 0,
            data: Bytes::new(),
            end: b"",
            has_begun: false,
            is_unflushed: false,
        }
    }

    /// Puts a head first, of which nothing has been sent yet.
    pub(super) fn begin(&mut self, head: &Parts, fields: &Fields<'_>, length: Length) {
        self.has_begun = false;
        self.clear();
        request::write(&mut self.text, head, fields, length);
    }

    /// The same with a head that was written elsewhere, in pieces.
    pub(super) fn begin_as(&mut self, head: &[&[u8]]) {
        self.has_begun = false;
        self.clear();
        head.iter().for_each(|piece| self.text.extend_from_slice(piece));
    }

    /// Whether any of the request was written.
    pub(super) const fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Takes over what `other` was about to write and has not begun to.
    pub(super) fn take_over(&mut self, other: &mut Self) {
        self.has_begun = false;
        self.written = 0;
        std::mem::swap(&mut self.text, &mut other.text);
        self.data = std::mem::take(&mut other.data);
        self.end = std::mem::take(&mut other.end);
    }

    /// Whether nothing waits to be written.
    pub(super) const fn is_empty(&self) -> bool {
        self.text.is_empty() && self.data.is_empty() && self.end.is_empty() && !self.is_unflushed
    }

    pub(super) fn rest(&mut self) {
        self.clear();
        if self.text.capacity() > KEPT {
            self.text = Vec::new();
        }
    }

    pub(super) fn into_half(self) -> WriteHalf {
        self.stream
    }

    fn clear(&mut self) {
        self.text.clear();
        self.written = 0;
    }

    /// Writes the head and then the body; ready when all is written.
    pub(super) fn poll_send<B>(
        &mut self,
        cx: &mut Context<'_>,
        upload: &mut Upload<B>,
    ) -> Poll<Result<(), Fault>>
    where
        B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
    {
        loop {
            let waits = !upload.is_done
                && self.data.is_empty()
                && self.end.is_empty()
                && self.poll_piece(cx, upload)?.is_pending();
            ready!(self.poll_flush(cx)).map_err(Fault::Io)?;
            match (waits, upload.is_done) {
                (true, _) => return Poll::Pending,
                (false, true) => return Poll::Ready(Ok(())),
                (false, false) => {}
            }
        }
    }

    /// Takes the next piece of the body.
    fn poll_piece<B>(
        &mut self,
        cx: &mut Context<'_>,
        upload: &mut Upload<B>,
    ) -> Poll<Result<(), Fault>>
    where
        B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
    {
        let frame = ready!(Pin::new(&mut upload.body).poll_frame(cx));
        match frame.transpose().map_err(Fault::Body)?.map(Frame::into_data) {
            Some(Ok(data)) => self.take(data, upload)?,
            Some(Err(frame)) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                self.finish(upload, &trailers)?;
            }
            None => self.finish(upload, &HeaderMap::new())?,
        }
        Poll::Ready(Ok(()))
    }

    fn take<B>(&mut self, data: Bytes, upload: &mut Upload<B>) -> Result<(), Fault> {
        match &mut upload.left {
            // A chunk of no length would be the last.
            _ if data.is_empty() => return Ok(()),
            Length::None => return Err(Fault::Length),
            Length::Known(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Fault::Length)?;
                upload.is_done = *left == 0;
            }
            Length::Unknown => {
                self.text.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                self.end = b"\r\n";
            }
        }
        self.data = data;
        Ok(())
    }

    fn finish<B>(&mut self, upload: &mut Upload<B>, trailers: &HeaderMap) -> Result<(), Fault>
    where
        B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
    {
        upload.is_done = true;
        match upload.left {
            Length::None | Length::Known(0) => Ok(()),
            Length::Known(_) => Err(Fault::Length),
            Length::Unknown => {
                self.text.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.iter().filter(|(name, _)| upload.announces(name)) {
                    request::line(&mut self.text, name, value.as_bytes());
                }
                self.text.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let text = self.text.get(self.written..).unwrap_or_default();
            if text.is_empty() && self.data.is_empty() && self.end.is_empty() {
                if self.is_unflushed {
                    ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                    self.is_unflushed = false;
                }
                self.clear();
                return Poll::Ready(Ok(()));
            }
            let stream = Pin::new(&mut self.stream);
            let count = ready!(if self.data.is_empty() && self.end.is_empty() {
                stream.poll_write(cx, text)
            } else {
                let pieces = [text, &self.data, self.end].map(IoSlice::new);
                stream.poll_write_vectored(cx, &pieces)
            })?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            (self.has_begun, self.is_unflushed) = (true, true);
            let of_text = count.min(text.len());
            let of_data = (count - of_text).min(self.data.len());
            self.written += of_text;
            self.data.advance(of_data);
            self.end = self.end.get(count - of_text - of_data..).unwrap_or_default();
        }
    }
}
