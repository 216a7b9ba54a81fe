//! Opens connections.

use std::error::Error;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::CertificateError as Fault;
use tokio::net::{TcpStream, UnixStream};
use tower::{Service as _, ServiceExt as _};

use super::address::{Address, Way};
use super::stream::Stream;
use super::tls::Offer;

/// Why there is no connection for a request, for all who waited for one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The request's `Host` is no name that can be sent.
    #[error("the request is for a name that cannot be sent")]
    Unaddressed,
    /// It took too long.
    #[error("there was no connection in time")]
    Late,
    /// Nobody is there, or there is no such place.
    #[error("it cannot be reached")]
    Unreachable(#[source] Arc<dyn Error + Send + Sync>),
    /// Nobody whose word is taken vouches for it.
    #[error("its certificate is not from an authority that is trusted")]
    Untrusted(#[source] Arc<rustls::Error>),
    /// It is somebody else.
    #[error("its certificate is for another name")]
    Misnamed(#[source] Arc<rustls::Error>),
    /// Its certificate has run out, or its time has not come.
    #[error("its certificate has expired or is not valid yet")]
    OutOfDate(#[source] Arc<rustls::Error>),
    /// There is something else about its certificate.
    #[error("its certificate cannot be accepted")]
    BadCertificate(#[source] Arc<rustls::Error>),
    /// There was no agreement on TLS.
    #[error("it did not agree upon TLS")]
    Handshake(#[source] Arc<io::Error>),
    /// It has just agreed to HTTP/2, and then to HTTP/1.1 alone.
    #[error("it speaks HTTP/2 no more")]
    Changed,
}

impl ConnectError {
    fn unreachable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unreachable(Arc::from(cause.into()))
    }

    /// What went wrong with TLS.
    fn told(cause: io::Error) -> Self {
        let error = cause.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        let Some(rustls::Error::InvalidCertificate(fault)) = error else {
            return Self::Handshake(Arc::new(cause));
        };
        let error = Arc::new(rustls::Error::InvalidCertificate(fault.clone()));
        // Another authority may bear the name of a trusted one, and then it is its signature that does not fit.
        if let Fault::UnknownIssuer | Fault::BadSignature = fault {
            Self::Untrusted(error)
        } else if let Fault::NotValidForName | Fault::NotValidForNameContext { .. } = fault {
            Self::Misnamed(error)
        } else if let Fault::Expired
        | Fault::ExpiredContext { .. }
        | Fault::NotValidYet
        | Fault::NotValidYetContext { .. } = fault
        {
            Self::OutOfDate(error)
        } else {
            Self::BadCertificate(error)
        }
    }
}

/// How often the kernel asks a silent peer whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Before each further attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

/// Connects, as often and for as long as it was made to.
#[derive(Clone, Debug)]
pub struct Connector {
    tcp: HttpConnector,
    /// For an attempt: finding the address of a name and shaking hands are included.
    limit: Duration,
    pauses: &'static [Duration],
}

impl Connector {
    /// One that gives up an attempt after `limit`, and tries again twice, shortly after, where nobody was reached.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limit));
        tcp.set_keepalive(Some(KEEP_ALIVE));
        Self { tcp, limit, pauses: &PAUSES }
    }

    /// One that tries once, and takes no longer than `limit`.
    #[must_use]
    pub fn once(limit: Duration) -> Self {
        Self { pauses: &[], ..Self::new(limit) }
    }

    /// Opens a connection; `offer` is of interest in TLS.
    ///
    /// # Errors
    /// [`ConnectError`]. Nothing of a request has been sent by then.
    pub async fn connect(&self, to: &Address, offer: Offer) -> Result<Stream, ConnectError> {
        for pause in self.pauses {
            match self.attempt(to, offer).await {
                // Who was reached and cannot be trusted will not be in a moment.
                Err(ConnectError::Late | ConnectError::Unreachable(_)) => {}
                ended => return ended,
            }
            tokio::time::sleep(*pause).await;
        }
        self.attempt(to, offer).await
    }

    async fn attempt(&self, to: &Address, offer: Offer) -> Result<Stream, ConnectError> {
        let attempt = async {
            match to.way() {
                Way::Tcp => self.dial(to).await.map(Stream::Tcp),
                Way::Tls(name, tls) => {
                    let stream = self.dial(to).await?;
                    let proof = tls.proof();
                    let greeted = tls.greet(name.clone(), stream, offer).await;
                    let stream = greeted.map_err(ConnectError::told)?;
                    Ok(Stream::Tls(stream, proof))
                }
                Way::Unix(path) => {
                    let connected = UnixStream::connect(path).await;
                    connected.map(Stream::Unix).map_err(ConnectError::unreachable)
                }
            }
        };
        tokio::time::timeout(self.limit, attempt).await.map_err(|_| ConnectError::Late)?
    }

    fn dial(&self, to: &Address) -> impl Future<Output = Result<TcpStream, ConnectError>> + Send {
        let to = Uri::builder().scheme(to.scheme()).authority(to.authority().clone());
        let (to, mut tcp) = (to.path_and_query("/").build(), self.tcp.clone());
        async move {
            let tcp = tcp.ready().await.map_err(ConnectError::unreachable)?;
            let dialled = tcp.call(to.map_err(ConnectError::unreachable)?).await;
            dialled.map(|stream| stream.into_inner()).map_err(ConnectError::unreachable)
        }
    }
}
