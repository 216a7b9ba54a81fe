//! TLS towards servers: whom they have to be vouched for by, and who the gateway says it is.
//!
//! A server always has to prove its name; there is no way to have that left out. What is in force can be replaced as a whole:
//! what is under way goes on, and nothing else begins on a connection that was opened before.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use http::uri::Authority;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The name that a server has to prove: of a host, or an IP address.
pub type ServerName = rustls::pki_types::ServerName<'static>;

/// The name of the host in an authority, if it can be in a certificate.
#[must_use]
pub fn server_name(authority: &Authority) -> Option<ServerName> {
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    ServerName::try_from(address.unwrap_or(host).to_owned()).ok()
}

/// Whose word on a server's name is taken.
#[derive(Debug)]
pub struct Authorities(RootCertStore);

impl Authorities {
    /// Nobody's.
    #[must_use]
    pub fn none() -> Self {
        Self(RootCertStore::empty())
    }

    /// That of the authorities which the system trusts: in the files that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, where those are
    /// set.
    #[must_use]
    pub fn of_system() -> Self {
        let mut roots = RootCertStore::empty();
        // Some in every system's store are of no use, and are left out.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self(roots)
    }

    /// That of these too.
    ///
    /// # Errors
    /// One of them is no X.509 certificate.
    pub fn and(mut self, others: Vec<CertificateDer<'static>>) -> Result<Self, BadCertificate> {
        for certificate in others {
            self.0.add(certificate).map_err(|_| BadCertificate)?;
        }
        Ok(self)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Who the gateway says it is, to servers that want to know.
#[derive(Debug)]
pub struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// The gateway's certificate first, then those in between it and an authority; and the certificate's key.
    ///
    /// # Errors
    /// They are not of each other, or cannot be understood.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, BadIdentity> {
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider());
        certified.map(|certified| Self(Arc::new(certified))).map_err(|_| BadIdentity)
    }
}

/// A certificate cannot be understood.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("holds a certificate that is broken")]
pub struct BadCertificate;

/// Certificate and key cannot be used.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("does not fit the key, or is broken")]
pub struct BadIdentity;

/// What to agree upon besides TLS itself (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2, or HTTP/1.1 where that is unknown.
    Http2,
}

/// See the module. Clones share what is in force; by default that is nothing, and no server is spoken to.
#[derive(Clone, Default)]
pub struct Tls(Arc<InForce>);

#[derive(Default)]
struct InForce {
    config: ArcSwapOption<ClientConfig>,
    /// How often it was replaced.
    replaced: AtomicU64,
}

/// Under what a server has proved who it is, to notice when that is no longer in force.
#[derive(Clone)]
pub struct Proof {
    tls: Tls,
    replaced: u64,
}

impl Proof {
    /// Whether that is in force still. A connection under what was before is for what is under way on it.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.tls.0.replaced.load(Ordering::Acquire) == self.replaced
    }
}

impl Tls {
    /// Takes the word of `authorities`, and shows `identity` to servers that ask for it.
    #[must_use]
    pub fn new(Authorities(roots): Authorities, identity: Option<Identity>) -> Self {
        #[expect(clippy::expect_used, reason = "ring has cipher suites for both versions")]
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_root_certificates(roots);
        let config = match identity {
            Some(Identity(certified)) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
            None => builder.with_no_client_auth(),
        };
        let config = ArcSwapOption::from_pointee(config);
        Self(Arc::new(InForce { config, replaced: AtomicU64::new(0) }))
    }

    /// Puts what `newer` has in force, if anything, in place of what was, for all clones and every connection from now on.
    /// No [`Proof`] that was had before counts any more.
    pub fn install(&self, newer: &Self) {
        if let Some(config) = newer.0.config.load_full() {
            self.0.config.store(Some(config));
            self.0.replaced.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// What a server proves from now on. To be had before it is greeted.
    #[must_use]
    pub fn proof(&self) -> Proof {
        Proof { tls: self.clone(), replaced: self.0.replaced.load(Ordering::Acquire) }
    }

    /// Shakes hands with a server, which has to prove that its name is `name`.
    pub(super) async fn greet(
        &self,
        name: ServerName,
        stream: TcpStream,
        offer: Offer,
    ) -> io::Result<Box<TlsStream<TcpStream>>> {
        let Some(config) = self.0.config.load_full() else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let protocols = match offer {
            Offer::Http1 => vec![b"http/1.1".to_vec()],
            Offer::Http2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        let connector = TlsConnector::from(config);
        connector.with_alpn(protocols).connect(name, stream).await.map(Box::new)
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tls {}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
