//! The outermost layer: gives each request its id, opens the account of it, answers preflights and for what panicked.
//!
//! Sees every request and every answer, and decides nothing. What it passes on to the observers is a [`Record`]: method,
//! path and identity, never a query, a header or a body. The record goes inwards with its request, so that whoever finds
//! something out notes it at once, and comes back with the answer.

mod body;
mod line;

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use tower::{Layer, Service};

pub use self::body::Observed;
pub use self::line::Line;
use super::cors::Cors;
use super::request_id::{fresh, request_id};
use crate::error::GatewayError;
use crate::error::shape::{Dialect, respond};
use crate::proxy::body::Reply;
use crate::record::{Observers, Pending, Record};
use crate::request::trace::Sampler;
use crate::request::{
    Conn, Origin, Trace, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID,
};

/// A request on its way in.
#[derive(Debug)]
pub struct Arrival<B> {
    /// The request, as it came.
    pub request: Request<B>,
    /// Its connection.
    pub conn: Arc<Conn>,
    /// Where it came from.
    pub origin: Origin,
    /// The account of it, kept by whoever works on it.
    pub pending: Pending,
}

/// An answer on its way out.
#[derive(Debug)]
pub struct Answered {
    /// The answer.
    pub response: Response<Reply>,
    /// The account of its request, which is not over yet.
    pub pending: Pending,
}

/// Puts [`Observe`] in front of a service of arrivals.
#[derive(Clone, Debug)]
pub struct ObserveLayer {
    /// Which browsers' origins may ask.
    pub cors: Arc<Cors>,
    /// Who is told of requests.
    pub observers: Observers,
    /// Which traces are kept; none: none are made.
    pub sampler: Option<Sampler>,
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        let (cors, observers) = (Arc::clone(&self.cors), self.observers.clone());
        Observe { cors, observers, sampler: self.sampler, inner }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Observe<S> {
    cors: Arc<Cors>,
    observers: Observers,
    sampler: Option<Sampler>,
    inner: S,
}

impl<S> Observe<S> {
    /// Answers in place of a request whose head was refused. It has no method and no path that could be told, and no
    /// trace that could be continued: its span is the root of a new one.
    pub fn answer_refused_head(&self, conn: &Conn, error: GatewayError) -> Response<Observed> {
        let id = fresh();
        let method = Method::from_bytes(b"-").unwrap_or_default();
        let uri = Uri::from_static("*");
        let mut record = Record::begin(id.clone(), conn.peer, method, uri).on(conn.listener);
        record.trace = self.sampler.map(|sampler| {
            let nothing = HeaderMap::new();
            Box::new(Trace::begin(&nothing, &id, &sampler))
        });
        record.mark_decided();
        let response = respond(&error, &Dialect::Rest).map(Reply::whole);
        record.error = Some(error);
        let pending = Pending::new(record, self.observers.clone());
        let mut response = watched(Answered { response, pending });
        response.headers_mut().insert(X_REQUEST_ID, id);
        response
    }
}

impl<S, B> Service<(Arc<Conn>, Request<B>)> for Observe<S>
where
    S: Service<Arrival<B>, Response = Answered, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<Observed>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Observed>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (conn, mut request): (Arc<Conn>, Request<B>)) -> Self::Future {
        let Self { cors, observers, sampler, mut inner } = self.clone();
        Box::pin(async move {
            let origin = origin(&conn, &request);
            let id = origin.request_id.clone();
            let allowed_origin = cors.allowed(request.headers());
            let mut response = if let Some(preflight) =
                cors.preflight(&request, allowed_origin.as_ref())
            {
                preflight.map(|body| Observed::new(Reply::whole(body), None))
            } else {
                let (method, uri) = (request.method().clone(), request.uri().clone());
                let client = conn.client(request.headers());
                let mut record = Record::begin(id.clone(), client, method, uri).on(conn.listener);
                record.trace = sampler.map(|sampler| {
                    let trace = Trace::begin(request.headers(), &id, &sampler);
                    trace.put_into(request.headers_mut());
                    Box::new(trace)
                });
                let pending = Pending::new(record, observers);
                let answering = inner.call(Arrival { request, conn, origin, pending });
                match AssertUnwindSafe(answering).catch_unwind().await {
                    Ok(Ok(answered)) => watched(answered),
                    // Its account was closed as the panic went by, with whatever else was its own. What it shares
                    // with others bears that, as it would have to if the connection ended.
                    Err(_) => respond(&GatewayError::Internal, &Dialect::Rest)
                        .map(|body| Observed::new(Reply::whole(body), None)),
                }
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

/// The answer, with the account of its request, which ends with the answer's body or with the tunnel that it opens.
fn watched(answered: Answered) -> Response<Observed> {
    let Answered { response, mut pending } = answered;
    pending.record().mark_answered(response.status());
    response.map(|mut reply| match reply.take_tunnel() {
        Some(tunnel) => {
            tunnel.open(pending);
            Observed::new(reply, None)
        }
        None => Observed::new(reply, Some(pending)),
    })
}

fn origin<B>(conn: &Conn, request: &Request<B>) -> Origin {
    let headers = request.headers();
    let request_id = request_id(headers);
    let host = headers.get(HOST).cloned().or_else(|| authority(request.uri()));
    if !conn.trusted_proxy {
        let (forwarded_for, proto) = (conn.peer_value.clone(), conn.proto());
        return Origin { request_id, forwarded_for, proto, host };
    }
    let only = |name: &HeaderName| {
        let mut lines = headers.get_all(name).iter();
        lines.next().filter(|_| lines.next().is_none()).cloned()
    };
    Origin {
        request_id,
        forwarded_for: chain(headers, &conn.peer_value),
        proto: only(&X_FORWARDED_PROTO).unwrap_or_else(|| conn.proto()),
        host: only(&X_FORWARDED_HOST).or(host),
    }
}

/// `:authority`, which HTTP/2 clients send in place of `Host`.
fn authority(uri: &Uri) -> Option<HeaderValue> {
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
