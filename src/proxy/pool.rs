//! The pool of upstream connections: one per worker, so that no lock is shared between cores.
//!
//! The only place that imports HTTP clients. It repeats nothing that may have been sent: a refused connect is tried again,
//! and a request is handed back only when its pooled connection died before a byte of it was written.
//!
//! A request's URI says where to dial, and its `Host` under which name, whichever HTTP it is sent in.

mod http2;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::TryFutureExt;
use futures_util::future::Either;
use http::header::UPGRADE;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::Service;

use self::http2::Http2;
use super::body::Outgoing;

/// How to reach upstreams.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept; below the upstream's own limit.
    pub idle_timeout: Duration,
    /// HTTP/2 with prior knowledge instead of HTTP/1.1.
    pub http2: bool,
}

/// Why a connection could not be opened, for all who waited for it.
type ConnectError = Arc<dyn std::error::Error + Send + Sync>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The request names no address, or not in a way that can be sent.
    #[error("the request names no address")]
    Unaddressed,
    /// There is no connection.
    #[error("could not connect")]
    Connect(#[source] ConnectError),
    /// In HTTP/1.1.
    #[error(transparent)]
    Http1(legacy::Error),
    /// In HTTP/2.
    #[error("could not be sent, or was not answered")]
    Http2(#[source] hyper::Error),
}

impl SendError {
    /// Whether nothing of the request was sent.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::Unaddressed | Self::Connect(_) => true,
            Self::Http1(cause) => cause.is_connect(),
            Self::Http2(_) => false,
        }
    }
}

/// A worker's clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    http1: Client<Connector, Outgoing>,
    http2: Option<Http2>,
}

impl Pool {
    /// Sends a request: one that asks for an upgrade in HTTP/1.1, because no other connection can become a tunnel; any other as the
    /// upstream is spoken to.
    pub fn request(
        &self,
        request: Request<Outgoing>,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> + use<> {
        match &self.http2 {
            Some(http2) if !request.headers().contains_key(UPGRADE) => {
                Either::Right(Box::pin(http2.clone().request(request)))
            }
            Some(_) | None => Either::Left(self.http1.request(request).map_err(SendError::Http1)),
        }
    }
}

/// Makes a worker's clients. Call it inside the worker's runtime.
#[must_use]
pub fn build(settings: &Settings) -> Pool {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.set_connect_timeout(Some(settings.connect_timeout));
    http.set_keepalive(Some(Duration::from_secs(60)));
    let connector = Connector { http };
    let http2 = settings.http2.then(|| Http2::new(connector.clone(), settings));
    let http1 = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(settings.idle_timeout)
        .pool_max_idle_per_host(1024)
        .http1_max_headers(256)
        .build(connector);
    Pool { http1, http2 }
}

/// Connects, and tries again twice, shortly after, when it could not: nothing has been sent by then.
#[derive(Clone, Debug)]
pub struct Connector {
    http: HttpConnector,
}

const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.http.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let mut http = self.http.clone();
        Box::pin(async move {
            for pause in PAUSES {
                if let Ok(connection) = http.call(uri.clone()).await {
                    return Ok(connection);
                }
                tokio::time::sleep(pause).await;
            }
            http.call(uri).await
        })
    }
}
