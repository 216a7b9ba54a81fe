//! One connection from accept to close: the head guard, hyper, and the stack above it.
//!
//! Every limit and timer of the HTTP server is set here; there is no whole-request timeout, because streams may last.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::Service;

use super::Stack;
use crate::error::GatewayError;
use crate::layer::observe::Observed;
use crate::lifecycle::Phases;
use crate::listener::head_guard::{GuardHandle, HeadGuard, InFlight, Limits, Refusal};
use crate::proxy::body::BodyError;
use crate::proxy::exchange::Chain;
use crate::proxy::inbound::Inbound;
use crate::request::{Conn, upgrade};
use crate::route::Methods;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What the head guard allows.
    pub limits: Limits,
    /// HTTP/2 streams at once.
    pub max_streams: u32,
}

/// Serves connections the same way, all with one worker's stack.
#[derive(Clone, Debug)]
pub struct Connections {
    http: auto::Builder<TokioExecutor>,
    limits: Limits,
    stack: Stack,
}

impl Connections {
    /// A server of `stack`.
    #[must_use]
    pub fn new(settings: &Settings, stack: Stack) -> Self {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            // The head guard has its own timers, which know an idle connection from a slow head.
            .header_read_timeout(None)
            .max_buf_size(64 * 1024);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.max_streams)
            .max_header_list_size(32 * 1024)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(100)
            .max_send_buf_size(128 * 1024)
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(4 * 1024 * 1024)
            .keep_alive_interval(Duration::from_secs(60))
            .keep_alive_timeout(Duration::from_secs(20));
        Self { http, limits: settings.limits, stack }
    }

    /// Serves one connection until it ends, or until the gateway does.
    pub async fn serve<IO>(&self, io: IO, conn: Arc<Conn>, phases: &Phases)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (guarded, guard) = HeadGuard::new(io, self.limits);
        let service = PerConnection { stack: self.stack.clone(), conn, guard };
        let connection = self.http.serve_connection_with_upgrades(TokioIo::new(guarded), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = phases.drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = phases.stop.cancelled() => Ok(()),
                }
            }
        };
        if let Err(cause) = ended {
            tracing::debug!(cause = %Chain(cause.as_ref()), "a connection broke off");
        }
    }
}

/// The stack, for one connection.
struct PerConnection {
    stack: Stack,
    conn: Arc<Conn>,
    guard: GuardHandle,
}

impl hyper::service::Service<Request<Incoming>> for PerConnection {
    type Response = Response<Held>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let held = Some(self.guard.request_started());
        if let Some(refusal) = Refusal::from_method(request.method()) {
            let response = self.stack.answer_refused_head(&self.conn, refused(refusal));
            let answer = Box::pin(std::future::ready(Ok(response)));
            return Answering { answer, verdict: None, held };
        }
        let verdict = upgrade::asks(&request).then(|| self.guard.clone());
        let answer = self.stack.clone().call((Arc::clone(&self.conn), Inbound::wrap(request)));
        Answering { answer, verdict, held }
    }
}

/// A request on its way through the stack. When it is answered, the guard below hears whether the connection became a
/// tunnel.
struct Answering {
    answer: <Stack as Service<(Arc<Conn>, Request<Inbound>)>>::Future,
    verdict: Option<GuardHandle>,
    held: Option<InFlight>,
}

impl Future for Answering {
    type Output = Result<Response<Held>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(response) = std::task::ready!(self.answer.as_mut().poll(cx));
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
struct Held {
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
