//! What a connection is at the moment: a socket that waits, or a conversation in one version of HTTP.
//!
//! Hyper's state and buffers exist only while somebody talks. A connection begins without them, and one that has been quiet
//! for a while gives them back: the guard lets hyper see the end of the stream, and keeps the socket. While it waits, this
//! future is all there is of a connection, so whatever is large in it is boxed.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::Protocols;
use super::seldom::Seldom;
use crate::lifecycle::Phases;
use crate::listener::head_guard::{Arrival, HeadGuard};
use crate::proxy::exchange::Chain;

/// One connection; ready when it has ended.
#[must_use = "futures do nothing unless polled"]
pub(super) struct Serving<IO, S: HttpService<Incoming>> {
    at: At<IO, S>,
    service: S,
    protocols: Arc<Protocols>,
    /// Ready when the gateway drains, and from then on when it stops.
    signal: Seldom<WaitForCancellationFutureOwned>,
    stop: Option<CancellationToken>,
}

enum At<IO, S: HttpService<Incoming>> {
    /// Nobody talks: the connection is new, or parked.
    Waiting(HeadGuard<IO>),
    Http1(Box<Http1<IO, S>>),
    Http2(Box<http2::Connection<TokioIo<HeadGuard<IO>>, S, TokioExecutor>>),
    /// Nobody will talk any more.
    Closing(HeadGuard<IO>),
    Over,
}

type Http1<IO, S> = http1::UpgradeableConnection<TokioIo<HeadGuard<IO>>, S>;

impl<IO, S> Serving<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Incoming> + Clone + Unpin,
    S::ResBody: Body<Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
    TokioExecutor: Http2ServerConnExec<S::Future, S::ResBody>,
{
    /// A connection that begins, until it ends or the gateway does.
    pub(super) fn new(
        guard: HeadGuard<IO>,
        service: S,
        protocols: Arc<Protocols>,
        phases: &Phases,
    ) -> Self {
        let signal = Seldom::new(phases.drain.clone().cancelled_owned());
        let stop = Some(phases.stop.clone());
        Self { at: At::Waiting(guard), service, protocols, signal, stop }
    }

    fn is_draining(&self) -> bool {
        self.stop.is_none()
    }

    /// Goes on as far as that is possible now.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        loop {
            self.at = match &mut self.at {
                At::Waiting(guard) => {
                    let arrival = match ready!(guard.poll_arrival(cx)) {
                        Ok(arrival) => arrival,
                        Err(cause) => {
                            tracing::debug!(%cause, "a connection broke off");
                            return Poll::Ready(Ok(()));
                        }
                    };
                    let At::Waiting(guard) = std::mem::replace(&mut self.at, At::Over) else {
                        return Poll::Ready(Ok(()));
                    };
                    self.take_in_hand(arrival, guard)
                }
                At::Http1(talk) => {
                    ready!(Pin::new(talk.as_mut()).poll(cx))?;
                    let At::Http1(talk) = std::mem::replace(&mut self.at, At::Over) else {
                        return Poll::Ready(Ok(()));
                    };
                    self.rest_of(*talk)
                }
                At::Http2(talk) => {
                    ready!(Pin::new(talk.as_mut()).poll(cx))?;
                    At::Over
                }
                At::Closing(guard) => {
                    if let Err(cause) = ready!(Pin::new(guard).poll_shutdown(cx)) {
                        tracing::debug!(%cause, "a connection broke off");
                    }
                    At::Over
                }
                At::Over => return Poll::Ready(Ok(())),
            };
        }
    }

    /// Has somebody talk to the client.
    fn take_in_hand(&self, arrival: Arrival, guard: HeadGuard<IO>) -> At<IO, S> {
        let service = self.service.clone();
        match arrival {
            Arrival::Http1 => {
                let talk = self.protocols.http1.serve_connection(TokioIo::new(guard), service);
                At::Http1(Box::new(talk.with_upgrades()))
            }
            Arrival::Http2 => {
                let talk = self.protocols.http2.serve_connection(TokioIo::new(guard), service);
                At::Http2(Box::new(talk))
            }
            Arrival::End => At::Closing(guard),
        }
    }

    /// What is left of a connection when hyper has done its part: all, if it was only to be parked.
    fn rest_of(&self, talk: Http1<IO, S>) -> At<IO, S> {
        // None: it has become a tunnel. What hyper has read and not used there cannot be, as the guard passes whole heads
        // only, and parks behind the last.
        let parts = talk.into_parts().filter(|parts| parts.read_buf.is_empty());
        match parts.map(|parts| parts.io.into_inner()).filter(HeadGuard::is_parked) {
            // Nobody waits any more.
            Some(guard) if self.is_draining() => At::Closing(guard),
            Some(guard) => {
                tracing::trace!("a quiet connection is parked");
                self.protocols.reclaim.parked();
                At::Waiting(guard)
            }
            None => At::Over,
        }
    }

    /// What is running may finish; nothing else begins.
    fn drain(&mut self) {
        self.at = match std::mem::replace(&mut self.at, At::Over) {
            At::Waiting(guard) => At::Closing(guard),
            At::Http1(mut talk) => {
                Pin::new(talk.as_mut()).graceful_shutdown();
                At::Http1(talk)
            }
            At::Http2(mut talk) => {
                Pin::new(talk.as_mut()).graceful_shutdown();
                At::Http2(talk)
            }
            ending @ (At::Closing(_) | At::Over) => ending,
        };
    }
}

impl<IO, S> Future for Serving<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Incoming> + Clone + Unpin,
    S::ResBody: Body<Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
    TokioExecutor: Http2ServerConnExec<S::Future, S::ResBody>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            // First the connection: a request that has come before the signal is taken in hand before that is heard.
            if let Poll::Ready(ended) = this.poll_connection(cx) {
                if let Err(cause) = ended {
                    tracing::debug!(cause = %Chain(&cause), "a connection broke off");
                }
                return Poll::Ready(());
            }
            ready!(this.signal.poll(cx));
            let Some(stop) = this.stop.take() else { return Poll::Ready(()) };
            this.signal = Seldom::new(stop.cancelled_owned());
            this.drain();
        }
    }
}

impl<IO, S: HttpService<Incoming>> fmt::Debug for Serving<IO, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = match &self.at {
            At::Waiting(_) => "waiting",
            At::Http1(_) => "HTTP/1",
            At::Http2(_) => "HTTP/2",
            At::Closing(_) => "closing",
            At::Over => "over",
        };
        f.debug_struct("Serving").field("at", &at).finish_non_exhaustive()
    }
}
