//! The pool of upstream connections: one per worker, so that no lock is shared between cores.
//!
//! It repeats nothing that may have been sent: a refused connect is tried again, and a request is sent on another connection
//! only when its kept one died before a byte of it was written.
//!
//! An address says where to dial, and a request's `Host` under which name, whichever HTTP it is sent in.

mod http2;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::UPGRADE;
use http::request::Parts;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use self::http2::Http2;
use super::body::Outgoing;
use crate::http1::{self, Address, ConnectError, Connector, Fault, Fields, Http1, Switched};
use crate::lookout::Alarms;

/// How to reach upstreams.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept; below the upstream's own limit.
    pub idle_timeout: Duration,
    /// HTTP/2 in place of HTTP/1.1: in clear with prior knowledge, through TLS where the upstream agrees to it.
    pub http2: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// In HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] http1::SendError),
    /// There is no connection for HTTP/2.
    #[error("could not connect")]
    Connect(#[from] ConnectError),
    /// In HTTP/2.
    #[error("could not be sent, or was not answered")]
    Http2(#[source] hyper::Error),
}

impl SendError {
    /// Whether nothing of the request was sent.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::Http1(cause) => cause.is_unsent(),
            Self::Connect(_) => true,
            Self::Http2(_) => false,
        }
    }

    /// Whether the request's own body is to blame, and not the upstream.
    #[must_use]
    pub fn is_of_the_body(&self) -> bool {
        match self {
            Self::Http1(cause) => cause.is_of_the_body(),
            Self::Http2(cause) => cause.is_user(),
            Self::Connect(_) => false,
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

    /// Opens a connection, to see whether that can be done, and closes it again.
    ///
    /// # Errors
    /// It cannot.
    pub async fn reach(&self, to: &Address) -> Result<(), ConnectError> {
        self.http1.reach(to).await
    }

    /// Sends a request: one that asks for an upgrade in HTTP/1.1, because no other connection can become a tunnel; any
    /// other as the upstream is spoken to. Of its URI, path and query count. `head` is left in an unknown state.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn request(
        &self,
        to: &Address,
        head: &mut Parts,
        fields: &Fields<'_>,
        body: Outgoing,
    ) -> Result<Response<Answer>, SendError> {
        match &self.http2 {
            Some(http2) if !head.headers.contains_key(UPGRADE) && http2.is_spoken(to).await? => {
                let mut request = Request::new(body);
                *request.method_mut() = head.method.clone();
                *request.uri_mut() = std::mem::take(&mut head.uri);
                let headers = request.headers_mut();
                *headers = std::mem::take(&mut head.headers);
                for (name, value) in fields.iter() {
                    headers.insert(name, value.to_header());
                }
                let answer = Box::pin(http2.clone().request(to.clone(), request)).await?;
                Ok(answer.map(Answer::Http2))
            }
            Some(_) | None => {
                Ok(self.http1.request(to, head, fields, body).await?.map(Answer::Http1))
            }
        }
    }
}

/// Makes a worker's clients. Call it inside the worker's runtime.
#[must_use]
pub fn build(settings: &Settings) -> Pool {
    let connector = Connector::new(settings.connect_timeout);
    let http2 = settings.http2.then(|| Http2::new(connector.clone(), settings));
    let http1 = Http1::new(connector, settings.idle_timeout);
    Pool { http1, http2, alarms: Alarms::default() }
}
