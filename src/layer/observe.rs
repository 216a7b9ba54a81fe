//! The outermost layer: gives each request its id, logs how it ended, answers preflights.
//!
//! Sees every request and every answer, and decides nothing. What it writes down is method, path and identity: never a
//! query, a header or a body.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use tokio::time::Instant;
use tower::{Layer, Service};

use super::auth::Refused;
use super::cors::Cors;
use super::request_id::request_id;
use crate::error::GatewayError;
use crate::error::shape::{Dialect, respond};
use crate::permit::Permit;
use crate::principal::Principal;
use crate::proxy::body::Reply;
use crate::request::{
    Conn, Origin, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID,
};
use crate::route::{Class, Surface};

/// A request on its way in.
#[derive(Debug)]
pub struct Arrival<B> {
    /// The request, as it came.
    pub request: Request<B>,
    /// Its connection.
    pub conn: Arc<Conn>,
    /// Where it came from.
    pub origin: Origin,
}

/// An answer on its way out, and what became of its request.
#[derive(Debug)]
pub struct Answered {
    /// The answer.
    pub response: Response<Reply>,
    /// What became of the request.
    pub outcome: Outcome,
}

/// What became of a request, for the log.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The gateway's own refusal or failure.
    pub error: Option<GatewayError>,
    /// Who called.
    pub principal: Option<Arc<Principal>>,
    /// The surface, once the request was read.
    pub surface: Option<Surface>,
    /// The class that was met.
    pub class: Option<Class>,
}

impl Answered {
    /// The outcome of a request that may go on.
    #[must_use]
    pub fn permitted(permit: &Permit) -> Outcome {
        Outcome {
            error: None,
            principal: permit.caller().principal().cloned(),
            surface: Some(permit.surface()),
            class: Some(permit.class()),
        }
    }

    /// The answer to a request that was refused.
    #[must_use]
    pub fn refused(refused: Refused, dialect: &Dialect) -> Self {
        let principal = refused.caller.as_ref().and_then(|caller| caller.principal().cloned());
        Outcome { principal, ..Outcome::default() }.with(Err(refused.error), dialect)
    }
}

impl Outcome {
    /// Joins the outcome with the answer.
    #[must_use]
    pub fn with(
        self,
        result: Result<Response<Reply>, GatewayError>,
        dialect: &Dialect,
    ) -> Answered {
        match result {
            Ok(response) => Answered { response, outcome: self },
            Err(error) => {
                let response = respond(&error, dialect).map(Reply::whole);
                Answered { response, outcome: Self { error: Some(error), ..self } }
            }
        }
    }
}

/// Puts [`Observe`] in front of a service of arrivals.
#[derive(Clone, Debug)]
pub struct ObserveLayer {
    /// Which browsers' origins may ask.
    pub cors: Arc<Cors>,
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { cors: Arc::clone(&self.cors), inner }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Observe<S> {
    cors: Arc<Cors>,
    inner: S,
}

impl<S, B> Service<(Arc<Conn>, Request<B>)> for Observe<S>
where
    S: Service<Arrival<B>, Response = Answered, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Reply>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (conn, request): (Arc<Conn>, Request<B>)) -> Self::Future {
        let Self { cors, mut inner } = self.clone();
        Box::pin(async move {
            let began = Instant::now();
            let origin = origin(&conn, &request);
            let id = origin.request_id.clone();
            let allowed_origin = cors.allowed(request.headers());
            let line = Line { method: request.method().clone(), uri: request.uri().clone() };
            let mut response =
                if let Some(preflight) = cors.preflight(&request, allowed_origin.as_ref()) {
                    preflight.map(Reply::whole)
                } else {
                    let Ok(answered) = inner.call(Arrival { request, conn, origin }).await;
                    line.write(&answered, &id, began.elapsed());
                    answered.response
                };
            let headers = response.headers_mut();
            if let Some(allowed) = allowed_origin {
                cors.mark(headers, allowed);
            }
            headers.insert(X_REQUEST_ID, id);
            Ok(response)
        })
    }
}

fn origin<B>(conn: &Conn, request: &Request<B>) -> Origin {
    let headers = request.headers();
    let request_id = request_id(headers);
    let host = headers.get(HOST).cloned().or_else(|| authority(request.uri()));
    if !conn.trusted_proxy {
        let proto = HeaderValue::from_static("http");
        return Origin { request_id, forwarded_for: conn.peer_value.clone(), proto, host };
    }
    let only = |name: &HeaderName| {
        let mut lines = headers.get_all(name).iter();
        lines.next().filter(|_| lines.next().is_none()).cloned()
    };
    Origin {
        request_id,
        forwarded_for: chain(headers, &conn.peer_value),
        proto: only(&X_FORWARDED_PROTO).unwrap_or_else(|| HeaderValue::from_static("http")),
        host: only(&X_FORWARDED_HOST).or(host),
    }
}

/// `:authority`, which HTTP/2 clients send in place of `Host`.
fn authority(uri: &http::Uri) -> Option<HeaderValue> {
    HeaderValue::from_str(uri.authority()?.as_str()).ok()
}

/// What a trusted proxy reported, with the proxy's own address behind it.
fn chain(headers: &HeaderMap, peer: &HeaderValue) -> HeaderValue {
    let mut joined = Vec::new();
    for line in headers.get_all(X_FORWARDED_FOR) {
        joined.extend_from_slice(line.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(peer.as_bytes());
    HeaderValue::from_bytes(&joined).unwrap_or_else(|_| peer.clone())
}

/// The path without the token that a download path ends in, wherever a client put it.
fn loggable(path: &str) -> std::borrow::Cow<'_, str> {
    const BEFORE_TOKEN: &str = "download-token";
    match path.to_ascii_lowercase().find(BEFORE_TOKEN) {
        Some(at) => {
            let kept = path.get(..at + BEFORE_TOKEN.len()).unwrap_or_default();
            format!("{kept}/[redacted]").into()
        }
        None => path.into(),
    }
}

/// The same for a path that was refused: an escape in it may hide the word, so what follows one is not shown.
fn loggable_refused(path: &str) -> std::borrow::Cow<'_, str> {
    match path.split_once('%') {
        Some((plain, _)) => format!("{}%[redacted]", loggable(plain)).into(),
        None => loggable(path),
    }
}

/// What is logged of a request.
struct Line {
    method: Method,
    uri: http::Uri,
}

impl Line {
    fn write(&self, answered: &Answered, id: &HeaderValue, took: Duration) {
        let Answered { response, outcome } = answered;
        let status = response.status();
        let failed =
            outcome.error.is_some() || status.is_client_error() || status.is_server_error();
        if !failed && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let refused = outcome.surface.is_none();
        let path = if refused { loggable_refused } else { loggable }(self.uri.path());
        let principal = outcome.principal.as_deref();
        let request_id = id.to_str().unwrap_or_default();
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    request_id,
                    method = %self.method,
                    path = &*path,
                    status = status.as_u16(),
                    tenant = principal.map(|principal| principal.tenant.as_str()),
                    key = principal.map(|principal| principal.key.as_str()),
                    surface = outcome.surface.map(Surface::name),
                    class = outcome.class.map(Class::name),
                    error = outcome.error.as_ref().map(|error| error.answer().code),
                    duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                    $message
                )
            };
        }
        match &outcome.error {
            Some(_) => line!(info, "request refused or failed"),
            None if failed => line!(info, "request failed upstream"),
            None => line!(debug, "request answered"),
        }
    }
}
