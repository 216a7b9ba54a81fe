//! Connections to HTTP/2 upstreams: one for each address, whatever the names in the requests on it.
//!
//! hyper-util's client keeps connections by the authority in the URI and sends the same as `:authority`, so that either every sandbox would
//! need a connection of its own, or none had its name. Here the URI says where to dial, as in HTTP/1.1, and `Host` becomes
//! `:authority` (RFC 9113 8.3.1).

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;
use tower::ServiceExt;

use super::super::body::Outgoing;
use super::super::exchange::Chain;
use super::{SendError, Settings};
use crate::http1::{ConnectError, Connector};

/// A worker's HTTP/2 connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Http2 {
    connector: Connector,
    builder: Builder<TokioExecutor>,
    idle_timeout: Duration,
    /// As many as there are configured addresses, at most.
    connections: Arc<Mutex<HashMap<Authority, Connection>>>,
}

struct Connection {
    opening: Opening,
    used: Instant,
}

/// One attempt, shared by all who wait for it.
type Opening = Shared<BoxFuture<'static, Result<SendRequest<Outgoing>, ConnectError>>>;

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

    /// Sends a request to the address in its URI, under the name in its `Host`.
    pub(super) async fn request(
        self,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, SendError> {
        let address = request.uri().authority().cloned().ok_or(ConnectError::Unaddressed)?;
        name_authority(&mut request).map_err(|_| ConnectError::Unaddressed)?;
        loop {
            let opening = self.connection(&address);
            let reused = opening.peek().is_some();
            let mut connection = opening.await?;
            match connection.try_send_request(request).await {
                Ok(answer) => return Ok(answer),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if reused => request = unsent,
                    Some(_) | None => return Err(SendError::Http2(failed.into_error())),
                },
            }
        }
    }

    /// The connection to an address, or a new one where that has ended, could not be opened, or has been idle for so long that the upstream
    /// may be about to end it. Streams on one that is given up go on.
    fn connection(&self, address: &Authority) -> Opening {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(connection) = connections.get_mut(address) {
            let usable = match connection.opening.peek() {
                None => true,
                Some(Ok(sender)) => {
                    !sender.is_closed() && now - connection.used < self.idle_timeout
                }
                Some(Err(_)) => false,
            };
            if usable {
                connection.used = now;
                return connection.opening.clone();
            }
        }
        let opening =
            open(self.connector.clone(), self.builder.clone(), address.clone()).boxed().shared();
        connections.insert(address.clone(), Connection { opening: opening.clone(), used: now });
        opening
    }
}

async fn open(
    connector: Connector,
    builder: Builder<TokioExecutor>,
    address: Authority,
) -> Result<SendRequest<Outgoing>, ConnectError> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(address);
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    let to = Uri::from_parts(parts).map_err(ConnectError::failed)?;
    let stream = connector.oneshot(to).await.map_err(ConnectError::failed)?;
    let (sender, connection) = builder.handshake(stream).await.map_err(ConnectError::failed)?;
    tokio::spawn(async move {
        if let Err(cause) = connection.await {
            tracing::debug!(cause = %Chain(&cause), "a connection to an upstream broke off");
        }
    });
    Ok(sender)
}

/// `Host` becomes `:authority`.
fn name_authority(request: &mut Request<Outgoing>) -> Result<(), http::Error> {
    let Some(host) = request.headers_mut().remove(HOST) else { return Ok(()) };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.authority = Some(Authority::from_maybe_shared(Bytes::copy_from_slice(host.as_bytes()))?);
    *request.uri_mut() = Uri::from_parts(parts)?;
    Ok(())
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2").field("connector", &self.connector).finish_non_exhaustive()
    }
}
