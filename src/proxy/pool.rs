//! The pool of upstream connections: one per worker, so that no lock is shared between cores.
//!
//! The only place that imports HTTP clients. It repeats nothing that may have been sent: a refused connect is tried again,
//! and a request is sent on another connection only when its kept one died before a byte of it was written.
//!
//! A request's URI says where to dial, and its `Host` under which name, whichever HTTP it is sent in.

mod http1;
mod http2;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryFutureExt;
use futures_util::future::Either;
use http::header::UPGRADE;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use self::http1::Http1;
pub use self::http1::{Fault, Switched};
use self::http2::Http2;
use super::body::Outgoing;
use super::exchange::Alarms;

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
    #[error("could not be sent, or was not answered")]
    Http1 {
        /// What went wrong.
        #[source]
        cause: Fault,
        /// Whether it did before anything was sent.
        is_unsent: bool,
    },
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
            Self::Http1 { is_unsent, .. } => *is_unsent,
            Self::Http2(_) => false,
        }
    }

    /// Whether the request's own body is to blame, and not the upstream.
    #[must_use]
    pub fn is_of_the_body(&self) -> bool {
        match self {
            Self::Http1 { cause, .. } => matches!(cause, Fault::Body(_) | Fault::Length),
            Self::Http2(cause) => cause.is_user(),
            Self::Unaddressed | Self::Connect(_) => false,
        }
    }
}

/// The body of an upstream's answer.
#[derive(Debug)]
pub enum Answer {
    /// In HTTP/1.1.
    Http1(http1::Answer),
    /// In HTTP/2.
    Http2(Incoming),
}

/// Why the body of an answer ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// In HTTP/1.1.
    #[error(transparent)]
    Http1(Fault),
    /// In HTTP/2.
    #[error(transparent)]
    Http2(hyper::Error),
}

impl Answer {
    /// What the connection has become, if the upstream has switched protocols.
    #[must_use]
    pub fn into_switched(self) -> Option<Switched> {
        match self {
            Self::Http1(answer) => answer.into_switched(),
            Self::Http2(_) => None,
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = ReadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(ReadError::Http1),
            Self::Http2(body) => Pin::new(body).poll_frame(cx).map_err(ReadError::Http2),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

/// A worker's clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    http1: Http1,
    http2: Option<Http2>,
    alarms: Alarms,
}

impl Pool {
    /// The timers of those who wait for answers.
    #[must_use]
    pub const fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Sends a request: one that asks for an upgrade in HTTP/1.1, because no other connection can become a tunnel; any
    /// other as the upstream is spoken to.
    pub fn request(
        &self,
        request: Request<Outgoing>,
    ) -> impl Future<Output = Result<Response<Answer>, SendError>> {
        match &self.http2 {
            Some(http2) if !request.headers().contains_key(UPGRADE) => {
                let answer = Box::pin(http2.clone().request(request));
                Either::Right(answer.map_ok(|answer| answer.map(Answer::Http2)))
            }
            Some(_) | None => {
                let answer = self.http1.request(request);
                Either::Left(answer.map_ok(|answer| answer.map(Answer::Http1)))
            }
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
    Pool { http1: Http1::new(connector, settings), http2, alarms: Alarms::default() }
}

fn shared(cause: impl std::error::Error + Send + Sync + 'static) -> ConnectError {
    Arc::new(cause)
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
