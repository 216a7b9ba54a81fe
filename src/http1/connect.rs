//! Opens connections.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

/// Why a connection could not be opened, for all who waited for it.
pub type ConnectError = Arc<dyn std::error::Error + Send + Sync>;

/// How often the kernel asks a silent peer whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Before each further attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

/// Connects, and tries again twice, shortly after, when it could not: nothing has been sent by then.
#[derive(Clone, Debug)]
pub struct Connector {
    http: HttpConnector,
}

impl Connector {
    /// One that gives up an attempt after `timeout`.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.set_connect_timeout(Some(timeout));
        http.set_keepalive(Some(KEEP_ALIVE));
        Self { http }
    }
}

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
