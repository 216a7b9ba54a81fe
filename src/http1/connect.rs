//! Opens connections.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

/// Why there is no connection, for all who waited for one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The request names no address, or not in a way that can be sent.
    #[error("the request names no address")]
    Unaddressed,
    /// None could be opened.
    #[error("could not connect")]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl ConnectError {
    /// None could be opened, for this reason.
    pub fn failed(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed(Arc::new(cause))
    }
}

/// How often the kernel asks a silent peer whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Before each further attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

/// Connects, as often and for as long as it was made to.
#[derive(Clone, Debug)]
pub struct Connector {
    http: HttpConnector,
    pauses: &'static [Duration],
    /// For everything, names included.
    limit: Option<Duration>,
}

impl Connector {
    /// One that gives up an attempt after `timeout`, and tries again twice, shortly after: nothing has been sent by then.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.set_connect_timeout(Some(timeout));
        http.set_keepalive(Some(KEEP_ALIVE));
        Self { http, pauses: &PAUSES, limit: None }
    }

    /// One that tries once, and takes no longer than `limit`, finding the address of a name included.
    #[must_use]
    pub fn once(limit: Duration) -> Self {
        Self { pauses: &[], limit: Some(limit), ..Self::new(limit) }
    }

    async fn connect(mut self, uri: Uri) -> io::Result<TokioIo<TcpStream>> {
        for pause in self.pauses {
            if let Ok(connection) = self.http.call(uri.clone()).await {
                return Ok(connection);
            }
            tokio::time::sleep(*pause).await;
        }
        self.http.call(uri).await.map_err(io::Error::other)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.http.poll_ready(cx).map_err(io::Error::other)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (limit, connecting) = (self.limit, self.clone().connect(uri));
        Box::pin(async move {
            match limit {
                Some(limit) => tokio::time::timeout(limit, connecting).await?,
                None => connecting.await,
            }
        })
    }
}
