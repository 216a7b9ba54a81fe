//! The simulator's two listeners: accepts connections, speaks HTTP/1.1 and HTTP/2 with prior knowledge on each, and
//! hands requests to the plane's router.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use super::faults::unless_cut;
use super::record::{Plane, Recorder};

/// More streams than E2B's 100 a connection, so that load tests through one connection measure something else.
const STREAMS_PER_CONNECTION: u32 = 1_000;

/// After a failed accept, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// HTTP/2 flow control windows, as at E2B's proxy.
const WINDOW: u32 = 1024 * 1024;

/// Binds without a runtime, so that errors are known before any task starts.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts until the runtime ends. A connection that cannot be accepted is the client's loss.
pub(super) async fn accept(
    listener: TcpListener,
    plane: Plane,
    router: Router,
    recorder: Arc<Recorder>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, plane, router.clone(), Arc::clone(&recorder)));
            }
            Err(error) => {
                tracing::debug!(%error, "simulator: accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, plane: Plane, router: Router, recorder: Arc<Recorder>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "simulator: no TCP_NODELAY");
    }
    let service = service_fn(move |request: Request<Incoming>| {
        let (flight, request) = recorder.arrived(plane, request);
        let router = router.clone();
        async move {
            let response = match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            unless_cut(flight.answered(response))
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await
    {
        tracing::debug!(error, "simulator: connection ended early");
    }
}
