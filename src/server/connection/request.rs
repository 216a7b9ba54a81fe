//! One request of a connection on its way into the stack, and its answer on the way out.
//!
//! The guard below the connection hears of both: it must know whether a connection is idle, and what it becomes.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::error::GatewayError;
use crate::layer::observe::Observed;
use crate::listener::head_guard::{GuardHandle, InFlight, Refusal};
use crate::proxy::body::BodyError;
use crate::proxy::inbound::Inbound;
use crate::request::Conn;
use crate::request::upgrade::{self, BreakOff};
use crate::route::Methods;
use crate::server::Stack;

/// The stack, for one connection.
#[derive(Clone)]
pub(super) struct PerConnection {
    stack: Arc<Stack>,
    conn: Arc<Conn>,
    guard: GuardHandle,
    break_off: BreakOff,
}

impl PerConnection {
    pub(super) fn new(
        stack: Arc<Stack>,
        conn: Arc<Conn>,
        guard: GuardHandle,
        break_off: BreakOff,
    ) -> Self {
        Self { stack, conn, guard, break_off }
    }
}

impl hyper::service::Service<Request<Incoming>> for PerConnection {
    type Response = Response<Held>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        let held = Some(self.guard.request_started());
        if let Some(refusal) = Refusal::from_method(request.method()) {
            let response = self.stack.answer_refused_head(&self.conn, refused(refusal));
            let answer = Box::pin(std::future::ready(response));
            return Answering { answer, verdict: None, held };
        }
        let verdict = upgrade::asks(&request).then(|| {
            request.extensions_mut().insert(self.break_off);
            self.guard.clone()
        });
        let (stack, conn) = (Arc::clone(&self.stack), Arc::clone(&self.conn));
        let request = Inbound::wrap(request);
        let answer = Box::pin(async move { stack.answer(conn, request).await });
        Answering { answer, verdict, held }
    }
}

/// A request on its way through the stack. When it is answered, the guard below hears whether the connection became a
/// tunnel.
pub(super) struct Answering {
    answer: Pin<Box<dyn Future<Output = Response<Observed>> + Send>>,
    verdict: Option<GuardHandle>,
    held: Option<InFlight>,
}

impl Future for Answering {
    type Output = Result<Response<Held>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = std::task::ready!(self.answer.as_mut().poll(cx));
        match self.verdict.take() {
            Some(guard) if response.status() == StatusCode::SWITCHING_PROTOCOLS => guard.switched(),
            Some(guard) => guard.not_switched(),
            None => {}
        }
        let held = self.held.take();
        Poll::Ready(Ok(response.map(|body| Held { body, _held: held })))
    }
}

/// What a refused head means to its client.
fn refused(refusal: Refusal) -> GatewayError {
    match refusal.status() {
        StatusCode::REQUEST_TIMEOUT => GatewayError::HeadTimeout,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => GatewayError::HeadTooLarge,
        StatusCode::METHOD_NOT_ALLOWED => GatewayError::MethodNotAllowed(Methods::ANY),
        _ => GatewayError::BadRequest(refusal.code(), refusal.message()),
    }
}

/// A body during which its connection does not count as idle.
pub(super) struct Held {
    body: Observed,
    _held: Option<InFlight>,
}

impl Body for Held {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
