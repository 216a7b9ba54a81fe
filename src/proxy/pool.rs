//! The pool of upstream connections: one per worker, so that no lock is shared between cores.
//!
//! The only importer of hyper-util's client. It repeats nothing that may have been sent: a refused connect is tried again,
//! and a request is handed back only when its pooled connection died before a byte of it was written.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::UPGRADE;
use http::{Request, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::Service;

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

/// A worker's clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    requests: Client<Connector, Outgoing>,
    /// Only HTTP/1.1 connections can become WebSockets.
    upgrades: Client<Connector, Outgoing>,
}

impl Pool {
    /// Sends a request: one that asks for an upgrade in HTTP/1.1, any other as the upstream is spoken to.
    pub fn request(&self, request: Request<Outgoing>) -> ResponseFuture {
        if request.headers().contains_key(UPGRADE) {
            self.upgrades.request(request)
        } else {
            self.requests.request(request)
        }
    }
}

/// Makes a worker's clients. Call it inside the worker's runtime.
#[must_use]
pub fn build(settings: &Settings) -> Pool {
    let requests = client(settings);
    let upgrades = if settings.http2 {
        client(&Settings { http2: false, ..*settings })
    } else {
        requests.clone()
    };
    Pool { requests, upgrades }
}

fn client(settings: &Settings) -> Client<Connector, Outgoing> {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.set_connect_timeout(Some(settings.connect_timeout));
    http.set_keepalive(Some(Duration::from_secs(60)));
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(settings.idle_timeout)
        .pool_max_idle_per_host(1024)
        .http1_max_headers(256)
        .http2_only(settings.http2);
    if settings.http2 {
        builder
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .http2_keep_alive_timeout(Duration::from_secs(20));
    }
    builder.build(Connector { http })
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
