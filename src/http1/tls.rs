//! TLS towards upstreams: whom they have to be vouched for by, and who the gateway says it is.
//!
//! A server always has to prove its name; there is no way to have that left out. What is in force can be replaced as a whole,
//! which concerns new connections only.

use std::fmt;
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// See the module. Clones share what is in force.
#[derive(Clone)]
pub struct Tls(Arc<ArcSwap<ClientConfig>>);

/// Whose word on a server's name is taken.
#[derive(Debug, Default)]
pub struct Authorities {
    /// That of the authorities which the system trusts (in the files that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, where those are
    /// set).
    pub system: bool,
    /// That of these.
    pub others: Vec<CertificateDer<'static>>,
}

/// Who the gateway says it is, to servers that want to know.
#[derive(Debug)]
pub struct Identity {
    /// Its certificate first, then those in between it and an authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// The certificate's key.
    pub key: PrivateKeyDer<'static>,
}

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    /// There is nobody whose word is taken.
    #[error("the system has no certificate authorities that could be read")]
    NoAuthorities,
    /// A certificate that is to be trusted cannot be understood.
    #[error("holds a certificate that is broken or no X.509")]
    Authority,
    /// The gateway's own certificate cannot be used.
    #[error(
        "the certificate and the key are not of each other, or of a kind that is not supported"
    )]
    Identity,
    /// The cryptography is not what it should be.
    #[error(transparent)]
    Other(rustls::Error),
}

/// What to agree upon besides TLS itself (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2, or HTTP/1.1 where that is unknown.
    Http2,
}

impl Tls {
    /// Trusts `authorities`, and shows `identity` to servers that ask for it.
    ///
    /// # Errors
    /// [`BadTls`].
    pub fn new(authorities: Authorities, identity: Option<Identity>) -> Result<Self, BadTls> {
        let mut roots = RootCertStore::empty();
        if authorities.system {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        for certificate in authorities.others {
            roots.add(certificate).map_err(|_| BadTls::Authority)?;
        }
        if roots.is_empty() {
            return Err(BadTls::NoAuthorities);
        }
        Self::over(roots, identity)
    }

    fn over(roots: RootCertStore, identity: Option<Identity>) -> Result<Self, BadTls> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(BadTls::Other)?
            .with_root_certificates(roots);
        let config = match identity {
            Some(Identity { chain, key }) => {
                builder.with_client_auth_cert(chain, key).map_err(|_| BadTls::Identity)?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Self(Arc::new(ArcSwap::from_pointee(config))))
    }

    /// One that trusts nobody.
    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        Self::over(RootCertStore::empty(), None).unwrap()
    }

    /// Puts what `newer` has in force in place of what was, for all clones and every connection from now on.
    pub fn install(&self, newer: &Self) {
        self.0.store(newer.0.load_full());
    }

    /// Shakes hands with a server, which has to prove that its name is `name`.
    pub(super) async fn greet(
        &self,
        name: ServerName<'static>,
        stream: TcpStream,
        offer: Offer,
    ) -> io::Result<Box<TlsStream<TcpStream>>> {
        let protocols = match offer {
            Offer::Http1 => vec![b"http/1.1".to_vec()],
            Offer::Http2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        let connector = TlsConnector::from(self.0.load_full());
        connector.with_alpn(protocols).connect(name, stream).await.map(Box::new)
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
