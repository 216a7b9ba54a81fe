//! The outermost layer: gives each request its id, opens the account of it, answers preflights and for what panicked.
//!
//! Sees every request and every answer, and decides nothing. What it passes on to the observers is a [`Record`]: method,
//! path and identity, never a query, a header or a body. The record goes inwards with its request, so that whoever finds
//! something out notes it at once, and comes back with the answer.

mod body;
mod line;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};

pub use self::body::Observed;
pub use self::line::Line;
use super::Behind;
use super::cors::Cors;
use super::request_id::{fresh, request_id};
use crate::error::GatewayError;
use crate::error::shape::{Dialect, respond};
use crate::proxy::body::Reply;
use crate::record::{Observers, Pending, Record};
use crate::request::trace::Sampler;
use crate::request::{Conn, Trace, X_REQUEST_ID};

/// A request on its way in.
#[derive(Debug)]
pub struct Arrival<B> {
    /// The request, as it came. In a box, because it changes hands often.
    pub request: Box<Request<B>>,
    /// Its connection.
    pub conn: Arc<Conn>,
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

/// What observing takes.
#[derive(Debug)]
pub struct Watch {
    /// Which browsers' origins may ask.
    pub cors: Arc<Cors>,
    /// Who is told of requests.
    pub observers: Observers,
    /// Which traces are kept; none: none are made.
    pub sampler: Option<Sampler>,
}

/// See the module.
#[derive(Debug)]
pub struct Observe<S> {
    watch: Watch,
    behind: S,
}

impl<S> Observe<S> {
    /// The layer in front of `behind`.
    #[must_use]
    pub const fn new(watch: Watch, behind: S) -> Self {
        Self { watch, behind }
    }

    /// Answers in place of a request whose head was refused. It has no method and no path that could be told, and no
    /// trace that could be continued: its span is the root of a new one.
    pub fn answer_refused_head(&self, conn: &Conn, error: GatewayError) -> Response<Observed> {
        let id = fresh();
        let method = Method::from_bytes(b"-").unwrap_or_default();
        let uri = Uri::from_static("*");
        let mut record = Record::begin(id.clone(), conn.peer, method, uri).on(conn.listener);
        record.trace = self.watch.sampler.map(|sampler| {
            let nothing = HeaderMap::new();
            Box::new(Trace::begin(&nothing, &id, &sampler))
        });
        record.mark_decided();
        let response = respond(&error, &Dialect::Rest).map(Reply::whole);
        record.error = Some(error);
        let pending = Pending::new(record, self.watch.observers.clone());
        let mut response = watched(Answered { response, pending });
        response.headers_mut().insert(X_REQUEST_ID, id);
        response
    }

    /// Opens the account of a request. Where traces are made, its head tells of this one from here on.
    fn open<B>(&self, id: HeaderValue, conn: &Conn, request: &mut Request<B>) -> Pending {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let client = conn.client(request.headers());
        let mut record = Record::begin(id, client, method, uri).on(conn.listener);
        record.trace = self.watch.sampler.map(|sampler| {
            let trace = Trace::begin(request.headers(), &record.request_id, &sampler);
            trace.put_into(request.headers_mut());
            Box::new(trace)
        });
        Pending::new(record, self.watch.observers.clone())
    }

    /// Answers a request that came on `conn`.
    pub async fn answer<B>(
        &self,
        conn: Arc<Conn>,
        mut request: Box<Request<B>>,
    ) -> Response<Observed>
    where
        S: Behind<Arrival<B>, Answer = Answered>,
    {
        let Self { watch: Watch { cors, .. }, behind } = self;
        let id = request_id(request.headers());
        let allowed_origin = cors.allowed(request.headers());
        let mut response =
            if let Some(preflight) = cors.preflight(&request, allowed_origin.as_ref()) {
                preflight.map(|body| Observed::new(Reply::whole(body), None))
            } else {
                let pending = self.open(id.clone(), &conn, &mut request);
                let answering = behind.call(Arrival { request, conn, pending });
                match AssertUnwindSafe(answering).catch_unwind().await {
                    Ok(answered) => watched(answered),
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
        response
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
