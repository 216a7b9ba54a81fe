//! The outermost layer: gives each request its id, follows it to its end, answers preflights.
//!
//! Sees every request and every answer, and decides nothing. What it passes on to the observers is a [`Record`]: method,
//! path and identity, never a query, a header or a body.

mod body;
mod line;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tower::{Layer, Service};

pub use self::body::Observed;
pub use self::line::Line;
use super::auth::Refused;
use super::cors::Cors;
use super::request_id::request_id;
use crate::caller::Caller;
use crate::clock;
use crate::error::GatewayError;
use crate::error::shape::{Dialect, respond};
use crate::permit::Permit;
use crate::proxy::body::Reply;
use crate::record::{About, Observers, Pending, Record};
use crate::request::trace::Sampler;
use crate::request::{
    Conn, Origin, Trace, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID,
};
use crate::route::{Class, Surface};
use crate::target::SandboxId;

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

/// What became of a request, as the layers further in know it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The gateway's own refusal or failure.
    pub error: Option<GatewayError>,
    /// Who called.
    pub caller: Option<Caller>,
    /// The surface, once the request was read.
    pub surface: Option<Surface>,
    /// The class of its route.
    pub class: Option<Class>,
    /// The pattern of its route, where a row lists one.
    pub route: Option<&'static str>,
    /// The sandbox that it was about.
    pub sandbox: Option<SandboxId>,
    /// When it was decided.
    pub decided: Option<Instant>,
}

impl Answered {
    /// The outcome of a request that may go on.
    #[must_use]
    pub fn permitted(permit: &Permit) -> Outcome {
        Outcome {
            error: None,
            caller: Some(permit.caller().clone()),
            surface: Some(permit.surface()),
            class: Some(permit.class()),
            route: permit.route().map(|route| route.pattern),
            sandbox: permit.sandbox().cloned(),
            decided: Some(clock::instant()),
        }
    }

    /// The answer to a request that was refused.
    #[must_use]
    pub fn refused(refused: Refused, dialect: &Dialect) -> Self {
        let Refused { error, caller, surface, class, route, sandbox } = refused;
        let decided = Some(clock::instant());
        let outcome = Outcome { caller, surface, class, route, sandbox, decided, error: None };
        outcome.with(Err(error), dialect)
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

    fn tell(self, record: &mut Record) {
        let Self { error, caller, surface, class, route, sandbox, decided } = self;
        record.error = error;
        if let Some(caller) = caller {
            record.scopes = caller.scopes();
            record.principal = caller.principal().cloned();
        }
        record.surface = surface;
        record.class = class;
        record.route = route;
        record.sandbox = sandbox;
        let since = |at: Instant| at.saturating_duration_since(record.began);
        record.decided = decided.map(since);
        record.answered = Some(since(clock::instant()));
    }
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
    /// Who is told of requests.
    pub const fn observers(&self) -> &Observers {
        &self.observers
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
                let mut pending = Pending::new(record, observers);
                let Ok(answered) = inner.call(Arrival { request, conn, origin }).await;
                let Answered { mut response, outcome } = answered;
                let record = pending.record();
                outcome.tell(record);
                let about = response.extensions_mut().remove::<About>();
                record.sandbox = record.sandbox.take().or(about.map(|About(id)| id));
                record.status = Some(response.status());
                response.map(|reply| Observed::new(reply, Some(pending)))
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
