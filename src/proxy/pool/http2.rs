//! Connections to HTTP/2 upstreams: one for each address, whatever the names in the requests on it.
//!
//! hyper-util's client keeps connections by the authority in the URI and sends the same as `:authority`, so that either every sandbox would
//! need a connection of its own, or none had its name. Here `Host` becomes `:authority` (RFC 9113 8.3.1), and where to dial is
//! told apart from that, as in HTTP/1.1.
//!
//! Through TLS an upstream may agree to HTTP/1.1 alone. That is remembered for as long as an idle connection would be kept.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;

use super::super::body::Outgoing;
use super::super::exchange::Chain;
use super::{SendError, Settings};
use crate::http1::{Address, ConnectError, Connector, Offer, Proof};

/// A worker's HTTP/2 connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Http2 {
    connector: Connector,
    builder: Builder<TokioExecutor>,
    idle_timeout: Duration,
    /// As many as there are configured addresses, at most.
    connections: Arc<Mutex<Vec<(Address, Connection)>>>,
}

struct Connection {
    opening: Opening,
    used: Instant,
    /// In TLS, what the upstream proved.
    proof: Option<Proof>,
}

impl Connection {
    /// Whether another request may be sent on it, as far as trust goes.
    fn is_trusted(&self) -> bool {
        self.proof.as_ref().is_none_or(Proof::counts)
    }
}

/// One attempt, shared by all who wait for it.
type Opening = Shared<BoxFuture<'static, Result<Spoken, ConnectError>>>;

/// What came of an attempt.
#[derive(Clone)]
enum Spoken {
    Http2(SendRequest<Outgoing>),
    /// Nothing else than HTTP/1.1.
    Http1,
}

impl Http2 {
    pub(super) fn new(connector: Connector, settings: &Settings) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .adaptive_window(true)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        let idle_timeout = settings.idle_timeout;
        Self { connector, builder, idle_timeout, connections: Arc::default() }
    }

    /// Whether HTTP/2 is spoken at an address. In clear that has been promised; else there is a connection to it afterwards.
    pub(super) async fn is_spoken(&self, to: &Address) -> Result<bool, SendError> {
        if to.scheme() == Scheme::HTTP {
            return Ok(true);
        }
        let spoken = self.connection(to).0.await?;
        Ok(matches!(spoken, Spoken::Http2(_)))
    }

    /// Sends a request to where HTTP/2 is spoken, under the name in its `Host`.
    pub(super) async fn request(
        self,
        to: Address,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, SendError> {
        name_authority(&to, &mut request).map_err(|_| ConnectError::Unaddressed)?;
        loop {
            let (opening, reused) = self.connection(&to);
            let Spoken::Http2(mut sender) = opening.await? else {
                return Err(ConnectError::Changed.into());
            };
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok(answer),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if reused => request = unsent,
                    Some(_) | None => return Err(SendError::Http2(failed.into_error())),
                },
            }
        }
    }

    /// The connection to an address, or a new one where that has ended, could not be opened, is not trusted any more, or has been
    /// idle for so long that the upstream may be about to end it; and whether it was there before. Streams on one that is given up
    /// go on.
    fn connection(&self, to: &Address) -> (Opening, bool) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let mut known = connections.iter_mut().find(|(known, _)| known == to);
        if let Some((_, connection)) = known.as_deref_mut()
            && connection.is_trusted()
        {
            let is_young = now - connection.used < self.idle_timeout;
            match connection.opening.peek() {
                Some(Ok(Spoken::Http2(sender))) if is_young && !sender.is_closed() => {
                    connection.used = now;
                    return (connection.opening.clone(), true);
                }
                // It is asked again from time to time, however often it is used.
                None | Some(Ok(Spoken::Http1)) if is_young => {
                    return (connection.opening.clone(), true);
                }
                None | Some(_) => {}
            }
        }
        let proof = to.proof();
        // A task, so that it is not left half done, and ended by the upstream, where nobody waits any more.
        let opening = open(self.connector.clone(), self.builder.clone(), to.clone());
        let opened = tokio::spawn(opening).map(|opened| {
            opened.unwrap_or_else(|cause| Err(ConnectError::Unreachable(Arc::new(cause))))
        });
        let opening = opened.boxed().shared();
        let connection = Connection { opening: opening.clone(), used: now, proof };
        match known {
            Some((_, given_up)) => *given_up = connection,
            None => connections.push((to.clone(), connection)),
        }
        (opening, false)
    }
}

async fn open(
    connector: Connector,
    builder: Builder<TokioExecutor>,
    to: Address,
) -> Result<Spoken, ConnectError> {
    let stream = connector.connect(&to, Offer::Http2).await?;
    if !stream.takes_http2() {
        return Ok(Spoken::Http1);
    }
    let shaken = builder.handshake(TokioIo::new(stream)).await;
    let (sender, connection) =
        shaken.map_err(|cause| ConnectError::Unreachable(Arc::new(cause)))?;
    tokio::spawn(async move {
        if let Err(cause) = connection.await {
            tracing::debug!(cause = %Chain(&cause), "a connection to an upstream broke off");
        }
    });
    Ok(Spoken::Http2(sender))
}

/// `Host`, or what stands for it at this address, becomes `:authority`.
fn name_authority(to: &Address, request: &mut Request<Outgoing>) -> Result<(), http::Error> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(to.scheme());
    parts.authority = Some(match request.headers_mut().remove(HOST) {
        Some(host) => Authority::from_maybe_shared(Bytes::copy_from_slice(host.as_bytes()))?,
        None => to.authority().clone(),
    });
    *request.uri_mut() = Uri::from_parts(parts)?;
    Ok(())
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2").field("connector", &self.connector).finish_non_exhaustive()
    }
}
