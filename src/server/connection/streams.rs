//! A conversation in HTTP/2, and for how long a client may ask for nothing in it.
//!
//! Whoever asks for nothing hears GOAWAY, after which a request that is on its way is still answered, and is not waited for
//! for long. Pings keep nobody: they are answered below, and count for nothing here.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::server::conn::http2::{Builder, Connection};
use hyper::service::HttpService;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::listener::head_guard::{GuardHandle, HeadGuard, Limits, Overdue, Patience};

/// How long a client may take to hear that the conversation is over.
const GOODBYE: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Streams<IO, S: HttpService<Incoming>> {
    talk: Connection<TokioIo<HeadGuard<IO>>, S, TokioExecutor>,
    handle: GuardHandle,
    patience: Patience,
    /// Whether the client has been told to ask elsewhere because it asked for nothing.
    is_told: bool,
}

impl<IO, S> Streams<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Incoming> + Unpin,
    S::ResBody: Body<Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
    TokioExecutor: Http2ServerConnExec<S::Future, S::ResBody>,
{
    /// One that begins with what the guard holds.
    pub(super) fn new(
        builder: &Builder<TokioExecutor>,
        guard: HeadGuard<IO>,
        handle: GuardHandle,
        service: S,
    ) -> Self {
        let patience = guard.patience_with_streams();
        let talk = builder.serve_connection(TokioIo::new(guard), service);
        Self { talk, handle, patience, is_told: false }
    }

    /// What is running may finish; nothing else begins.
    pub(super) fn graceful_shutdown(&mut self) {
        Pin::new(&mut self.talk).graceful_shutdown();
    }

    /// Ready at the end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut self.talk).poll(cx) {
                return Poll::Ready(ended);
            }
            std::task::ready!(self.poll_overdue(cx));
            if std::mem::replace(&mut self.is_told, true) {
                return Poll::Ready(Ok(()));
            }
            tracing::debug!("a connection in HTTP/2 is given up: nobody asks for anything");
            self.graceful_shutdown();
            let limits =
                Limits { head_timeout: GOODBYE, idle_timeout: GOODBYE, ..Limits::default() };
            self.patience = Patience::new(&limits);
        }
    }

    /// Ready when nothing has been asked for too long.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<Overdue> {
        let Self { patience, handle, .. } = self;
        match handle.requests() {
            0 => patience.poll_head(cx, false, 0),
            requests => patience.poll_quiet(cx, requests, || handle.is_quiet()),
        }
    }
}
