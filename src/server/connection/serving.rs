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
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Duration, Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::Protocols;
use super::seldom::Seldom;
use super::streams::Streams;
use crate::lifecycle::{Phases, Succession};
use crate::listener::head_guard::{Arrival, GuardHandle, HeadGuard};
use crate::proxy::exchange::Chain;

/// Whoever came so shortly before the gateway drains, or later, has a request on the way, which is answered. Sockets that
/// a service manager keeps let in clients up to the last moment.
const FRESH: Duration = Duration::from_millis(500);
/// How long such a request is waited for.
const LAST_HEAD: Duration = Duration::from_secs(2);

/// A connection on which nobody talks, for somebody else to go on with.
#[derive(Debug)]
pub struct Left<IO> {
    /// The connection.
    pub io: IO,
    /// Whether a request ever came on it.
    pub is_used: bool,
}

/// One connection; ready when it has ended, or with what is left of it when somebody else is to go on with it.
#[must_use = "futures do nothing unless polled"]
pub(super) struct Serving<IO, S: HttpService<Incoming>> {
    at: At<IO, S>,
    service: S,
    protocols: Arc<Protocols>,
    /// Ready when the gateway drains, and from then on when it stops.
    signal: Seldom<WaitForCancellationFutureOwned>,
    stop: Option<CancellationToken>,
    handle: GuardHandle,
    /// Whether there is a successor, and whether the connection can go there between two requests.
    succession: Succession,
    can_leave: bool,
    /// When it began.
    began: Instant,
    /// How long its first request is waited for, once the gateway drains.
    last_head: Option<Pin<Box<Sleep>>>,
    /// Ready when a process that was replaced is asked to end.
    leaving: CancellationToken,
    /// What becomes of it; none before the gateway drains.
    fate: Option<Fate>,
}

/// What becomes of a connection between two requests once the gateway drains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It ends.
    Closes,
    /// A successor goes on with it.
    Leaves,
    /// One more request is answered, as its successor has nothing to go on with. Its client does not come to a closed
    /// door, and learns that it has to come again.
    AnswersOnce,
}

enum At<IO, S: HttpService<Incoming>> {
    /// Nobody talks: the connection is new, or parked.
    Waiting(HeadGuard<IO>),
    Http1(Box<Http1<IO, S>>),
    Http2(Box<Streams<IO, S>>),
    /// Nobody will talk any more.
    Closing(HeadGuard<IO>),
    /// Somebody else will talk.
    Leaving(HeadGuard<IO>),
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
        (guard, handle): (HeadGuard<IO>, GuardHandle),
        service: S,
        protocols: Arc<Protocols>,
        phases: &Phases,
        can_leave: bool,
    ) -> Self {
        Self {
            began: Instant::now(),
            last_head: None,
            at: At::Waiting(guard),
            service,
            protocols,
            signal: Seldom::new(phases.drain.clone().cancelled_owned()),
            stop: Some(phases.stop.clone()),
            handle,
            succession: phases.succession.clone(),
            can_leave,
            leaving: phases.leaving.clone(),
            fate: None,
        }
    }

    /// Goes on as far as that is possible now.
    fn poll_connection(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Left<IO>>, hyper::Error>> {
        loop {
            self.at = match &mut self.at {
                At::Waiting(guard) => {
                    let arrival = match guard.poll_arrival(cx) {
                        Poll::Ready(Ok(arrival)) => arrival,
                        Poll::Pending => {
                            let Some(last_head) = &mut self.last_head else { return Poll::Pending };
                            ready!(last_head.as_mut().poll(cx));
                            Arrival::End
                        }
                        Poll::Ready(Err(cause)) => {
                            tracing::debug!(%cause, "a connection broke off");
                            return Poll::Ready(Ok(None));
                        }
                    };
                    let At::Waiting(guard) = std::mem::replace(&mut self.at, At::Over) else {
                        return Poll::Ready(Ok(None));
                    };
                    self.take_in_hand(arrival, guard)
                }
                At::Http1(talk) => {
                    ready!(Pin::new(talk.as_mut()).poll(cx))?;
                    let At::Http1(talk) = std::mem::replace(&mut self.at, At::Over) else {
                        return Poll::Ready(Ok(None));
                    };
                    self.rest_of(*talk)
                }
                At::Http2(talk) => {
                    ready!(talk.poll(cx))?;
                    At::Over
                }
                At::Closing(guard) => {
                    if let Err(cause) = ready!(Pin::new(guard).poll_shutdown(cx)) {
                        tracing::debug!(%cause, "a connection broke off");
                    }
                    At::Over
                }
                At::Leaving(_) => {
                    let At::Leaving(guard) = std::mem::replace(&mut self.at, At::Over) else {
                        return Poll::Ready(Ok(None));
                    };
                    let (io, is_used) = guard.into_inner();
                    return Poll::Ready(Ok(Some(Left { io, is_used })));
                }
                At::Over => return Poll::Ready(Ok(None)),
            };
        }
    }

    /// Has somebody talk to the client.
    fn take_in_hand(&self, arrival: Arrival, guard: HeadGuard<IO>) -> At<IO, S> {
        let service = self.service.clone();
        match arrival {
            Arrival::Http1 => {
                let Protocols { http1, last_http1, .. } = &*self.protocols;
                let is_last = matches!(self.fate, Some(Fate::Closes | Fate::AnswersOnce));
                let builder = if is_last { last_http1 } else { http1 };
                let talk = builder.serve_connection(TokioIo::new(guard), service);
                At::Http1(Box::new(talk.with_upgrades()))
            }
            Arrival::Http2 => {
                let (builder, handle) = (&self.protocols.http2, self.handle.clone());
                let mut talk = Box::new(Streams::new(builder, guard, handle, service));
                if self.fate.is_some() {
                    // Its first bytes came before that, and only now are they known for what they are.
                    talk.graceful_shutdown();
                }
                At::Http2(talk)
            }
            Arrival::End => At::Closing(guard),
            Arrival::Nothing => At::Leaving(guard),
        }
    }

    /// What is left of a connection when hyper has done its part: all, if it was only to be parked.
    fn rest_of(&self, talk: Http1<IO, S>) -> At<IO, S> {
        // None: it has become a tunnel. What hyper has read and not used there cannot be, as the guard passes whole heads
        // only, and parks behind the last.
        let parts = talk.into_parts().filter(|parts| parts.read_buf.is_empty());
        match parts.map(|parts| parts.io.into_inner()).filter(HeadGuard::is_parked) {
            // Nobody waits any more.
            Some(guard) if self.fate == Some(Fate::Closes) => At::Closing(guard),
            Some(guard) => {
                if self.fate == Some(Fate::AnswersOnce) {
                    self.handle.stay();
                }
                tracing::trace!("a quiet connection is parked");
                self.protocols.reclaim.parked();
                At::Waiting(guard)
            }
            None => At::Over,
        }
    }

    /// Whether a request of HTTP/1 is in hand.
    fn is_answering(&self) -> bool {
        matches!(self.at, At::Http1(_)) && !self.handle.is_quiet()
    }

    /// Goes by the next signal, and tells which one is to be heard after it; none: that was the last.
    fn obey(&mut self) -> Option<CancellationToken> {
        let fate = match (self.fate, self.succession.has_begun(), self.can_leave) {
            (None, true, true) => Fate::Leaves,
            (None, true, false) => Fate::AnswersOnce,
            (None, false, _) | (Some(Fate::AnswersOnce), ..) => Fate::Closes,
            (Some(Fate::Closes | Fate::Leaves), ..) => return None,
        };
        let is_first = self.fate.replace(fate).is_none();
        self.drain(fate, is_first && self.began.elapsed() < FRESH);
        if fate == Fate::AnswersOnce { Some(self.leaving.clone()) } else { self.stop.take() }
    }

    /// What is running may finish; nothing else begins, unless a successor goes on with it, or it `is_fresh` and has not
    /// asked for anything yet.
    fn drain(&mut self, fate: Fate, is_fresh: bool) {
        self.at = match std::mem::replace(&mut self.at, At::Over) {
            At::Waiting(guard) if fate == Fate::Leaves => {
                self.handle.leave();
                At::Waiting(guard)
            }
            At::Waiting(guard) if fate == Fate::AnswersOnce => At::Waiting(guard),
            At::Waiting(guard) if is_fresh && !guard.is_used() => {
                self.last_head = Some(Box::pin(sleep(LAST_HEAD)));
                At::Waiting(guard)
            }
            At::Waiting(guard) => At::Closing(guard),
            At::Http1(talk) if fate != Fate::Closes => {
                self.handle.leave();
                At::Http1(talk)
            }
            At::Http1(mut talk) => {
                Pin::new(talk.as_mut()).graceful_shutdown();
                At::Http1(talk)
            }
            At::Http2(mut talk) => {
                talk.graceful_shutdown();
                At::Http2(talk)
            }
            ending @ (At::Closing(_) | At::Leaving(_) | At::Over) => ending,
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
    type Output = Option<Left<IO>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            // Whoever is being answered hears of the signal in the answer's head. Else the connection comes first: a request
            // that was sent before the signal is taken in hand before that is heard.
            let is_answering = this.is_answering();
            if !is_answering || this.signal.poll(cx).is_pending() {
                let mut polled = this.poll_connection(cx);
                if this.fate.is_some_and(|fate| fate != Fate::Closes) && polled.is_pending() {
                    // What ended with this turn is noticed only by whoever reads again.
                    polled = this.poll_connection(cx);
                }
                if let Poll::Ready(ended) = polled {
                    return Poll::Ready(ended.unwrap_or_else(|cause| {
                        tracing::debug!(cause = %Chain(&cause), "a connection broke off");
                        None
                    }));
                }
                // Asked before, it calls by itself.
                if is_answering || this.signal.poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            let Some(next) = this.obey() else { return Poll::Ready(None) };
            this.signal = Seldom::new(next.cancelled_owned());
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
            At::Leaving(_) => "leaving",
            At::Over => "over",
        };
        f.debug_struct("Serving").field("at", &at).finish_non_exhaustive()
    }
}
