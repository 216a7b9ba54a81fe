//! The byte stream of a connection, whichever way it was opened, and its two halves.
//!
//! Which kind it is costs one branch a call; only TLS has anything on the heap, or under a lock, that is not the socket itself.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, split};
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio::task::coop::unconstrained;
use tokio_rustls::client::TlsStream;

use super::tls::Proof;

/// A connection to an upstream. Its end is the end of the upstream's side; in TLS only if the upstream says so, else it is an
/// error of the kind `UnexpectedEof`.
#[derive(Debug)]
pub enum Stream {
    /// In clear.
    Tcp(TcpStream),
    /// In clear on the same machine.
    Unix(UnixStream),
    /// Through TLS.
    Tls(Box<TlsStream<TcpStream>>, Proof),
}

type Tls = Box<TlsStream<TcpStream>>;

#[derive(Debug)]
pub(super) enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
    Tls(tokio::io::ReadHalf<Tls>, Proof),
}

#[derive(Debug)]
pub(super) enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
    Tls(tokio::io::WriteHalf<Tls>),
}

impl Stream {
    /// Whether HTTP/2 is understood there: through TLS that was agreed upon, in clear whoever asks has to know.
    #[must_use]
    pub fn takes_http2(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => true,
            Self::Tls(stream, _) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    pub(super) fn into_halves(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Tcp(stream) => {
                let (reader, writer) = stream.into_split();
                (ReadHalf::Tcp(reader), WriteHalf::Tcp(writer))
            }
            Self::Unix(stream) => {
                let (reader, writer) = stream.into_split();
                (ReadHalf::Unix(reader), WriteHalf::Unix(writer))
            }
            Self::Tls(stream, proof) => {
                let (reader, writer) = split(stream);
                (ReadHalf::Tls(reader, proof), WriteHalf::Tls(writer))
            }
        }
    }
}

impl ReadHalf {
    /// The whole stream again; an error if the other half is of another one.
    pub(super) fn reunite(self, writer: WriteHalf) -> io::Result<Stream> {
        match (self, writer) {
            (Self::Tcp(reader), WriteHalf::Tcp(writer)) => {
                reader.reunite(writer).map(Stream::Tcp).map_err(io::Error::other)
            }
            (Self::Unix(reader), WriteHalf::Unix(writer)) => {
                reader.reunite(writer).map(Stream::Unix).map_err(io::Error::other)
            }
            (Self::Tls(reader, proof), WriteHalf::Tls(writer)) if reader.is_pair_of(&writer) => {
                Ok(Stream::Tls(reader.unsplit(writer), proof))
            }
            _ => Err(io::Error::other("halves of two connections")),
        }
    }

    /// Whether the upstream has neither said anything nor ended the connection, and what it proved counts. In clear this costs no system call unless something has
    /// happened. What TLS says for itself, such as tickets for the next connection, is read away.
    pub(super) fn is_quiet(&mut self) -> bool {
        let waits = |read: io::Result<usize>| {
            read.is_err_and(|cause| cause.kind() == ErrorKind::WouldBlock)
        };
        match self {
            Self::Tcp(reader) => waits(reader.try_read(&mut [0])),
            Self::Unix(reader) => waits(reader.try_read(&mut [0])),
            // A task that has used up its turn would be told to wait, whatever there is to be read.
            Self::Tls(reader, proof) => {
                proof.counts() && unconstrained(reader.read(&mut [0])).now_or_never().is_none()
            }
        }
    }
}

impl WriteHalf {
    /// Lets go of it without telling the upstream that nothing more will come.
    pub(super) fn forget(self) {
        match self {
            Self::Tcp(writer) => writer.forget(),
            Self::Unix(writer) => writer.forget(),
            // It says so only when it is told to.
            Self::Tls(_) => {}
        }
    }
}

macro_rules! on_each {
    ($stream:expr, $io:ident => $call:expr) => {
        match $stream.get_mut() {
            Self::Tcp($io) => $call,
            Self::Unix($io) => $call,
            Self::Tls($io, ..) => $call,
        }
    };
}

macro_rules! reads {
    ($kind:ty) => {
        impl AsyncRead for $kind {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                on_each!(self, io => Pin::new(io).poll_read(cx, buf))
            }
        }
    };
}

macro_rules! writes {
    ($kind:ty) => {
        impl AsyncWrite for $kind {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                on_each!(self, io => Pin::new(io).poll_write(cx, buf))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                on_each!(self, io => Pin::new(io).poll_write_vectored(cx, bufs))
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                on_each!(self, io => Pin::new(io).poll_flush(cx))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                on_each!(self, io => Pin::new(io).poll_shutdown(cx))
            }
        }
    };
}

reads!(Stream);
reads!(ReadHalf);
writes!(Stream);
writes!(WriteHalf);
