//! What operators and their machines ask: `/metrics`, `/healthz`, `/readyz`, on listeners and a thread of their own.
//!
//! Nobody is asked for a credential here, and nothing but these three is answered. A connection carries one request and
//! has to be done soon, so that a slow reader can't keep the others out for long.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::net::Listener;

use crate::lifecycle::Phases;
use crate::listener::bind::Socket;
use crate::metrics::{Format, Registry};

/// Connections open at once; more wait to be accepted.
const CONNECTIONS: usize = 64;
/// From a connection's beginning to its complete head.
const HEAD: Duration = Duration::from_secs(5);
/// From a connection's beginning to its end.
const WHOLE: Duration = Duration::from_secs(20);
/// How long accepting rests after it failed.
const REST: Duration = Duration::from_millis(50);

const JSON: &str = "application/json";

/// Why the gateway should get no requests now, apart from what its phases tell.
pub type Unready = dyn Fn() -> Option<&'static str> + Send + Sync;

/// What there is to be asked.
pub struct Ops {
    /// Everything measured.
    pub registry: Registry,
    /// The steps of stopping.
    pub phases: Phases,
    /// How many workers accept connections when all do.
    pub workers: usize,
    /// Whatever else speaks against it.
    pub unready: Box<Unready>,
}

impl fmt::Debug for Ops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ops").field("workers", &self.workers).finish_non_exhaustive()
    }
}

/// Answers until the gateway stops; while it drains, too, unless another process has taken its place.
///
/// # Errors
/// The runtime or a socket could not be set up.
pub fn run(ops: Ops, sockets: Vec<Socket>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = ops.phases.stop.clone();
        let (ops, places) = (Arc::new(ops), Arc::new(Semaphore::new(CONNECTIONS)));
        for socket in sockets {
            let (ops, places) = (Arc::clone(&ops), Arc::clone(&places));
            match socket {
                Socket::Tcp(socket) => {
                    tokio::spawn(accept(TcpListener::from_std(socket)?, ops, places))
                }
                Socket::Unix(socket) => {
                    tokio::spawn(accept(UnixListener::from_std(socket)?, ops, places))
                }
            };
        }
        stop.cancelled().await;
        Ok(())
    })
}

async fn accept<L>(mut socket: L, ops: Arc<Ops>, places: Arc<Semaphore>)
where
    L: Listener<Io: Unpin + Send + 'static>,
{
    tokio::select! {
        () = ops.phases.open.cancelled() => {}
        () = ops.phases.replaced() => return,
    }
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = ops.phases.replaced() => return,
        };
        match accepted {
            Ok((stream, _)) => serve(&ops, stream, place),
            Err(cause) => {
                tracing::warn!(%cause, "could not accept a connection for metrics and health");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

fn serve<IO>(ops: &Arc<Ops>, stream: IO, place: OwnedSemaphorePermit)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ops = Arc::clone(ops);
    tokio::spawn(async move {
        let service = service_fn(|request| {
            let ops = Arc::clone(&ops);
            async move { Ok::<_, Infallible>(ops.answer(&request).await) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD).keep_alive(false);
        http.max_buf_size(16 * 1024).max_headers(64);
        let connection = http.serve_connection(TokioIo::new(stream), service);
        // Whichever way it ends, there is nobody to tell.
        let _ = tokio::time::timeout(WHOLE, connection).await;
        drop(place);
    });
}

impl Ops {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
            let body = r#"{"message":"There is /metrics, /healthz and /readyz"}"#;
            return answer(StatusCode::NOT_FOUND, JSON, body.to_owned());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let body = r#"{"message":"Only GET and HEAD are allowed"}"#;
            let mut refused = answer(StatusCode::METHOD_NOT_ALLOWED, JSON, body.to_owned());
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/metrics" => {
                let accept = request.headers().get_all(ACCEPT).iter();
                let accept: Vec<_> = accept.filter_map(|line| line.to_str().ok()).collect();
                let format = Format::accepted(&accept.join(","));
                let text = self.registry.write(format).await;
                answer(StatusCode::OK, format.content_type(), text)
            }
            "/readyz" => match self.unready() {
                None => answer(StatusCode::OK, JSON, r#"{"status":"ready"}"#.to_owned()),
                Some(reason) => {
                    let body = format!(r#"{{"status":"not ready","reason":"{reason}"}}"#);
                    answer(StatusCode::SERVICE_UNAVAILABLE, JSON, body)
                }
            },
            _ => answer(StatusCode::OK, JSON, r#"{"status":"alive"}"#.to_owned()),
        }
    }

    /// Why the gateway should get no requests now.
    fn unready(&self) -> Option<&'static str> {
        if self.phases.leaving.is_cancelled() || self.phases.drain.is_cancelled() {
            return Some("draining");
        }
        if self.phases.accepting.count() < self.workers {
            return Some("not every worker accepts connections");
        }
        (self.unready)()
    }
}

fn answer(status: StatusCode, kind: &'static str, mut body: String) -> Response<Full<Bytes>> {
    if kind == JSON {
        body.push('\n');
    }
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
