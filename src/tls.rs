//! What the gateway shows to clients that speak TLS, and what it asks of them: one [`Offer`], made whole or not at all.
//!
//! Certificates with their keys, which of them goes with which server name, and whose certificates are accepted of
//! clients. Everything is decided here before anybody connects, and nothing of it changes afterwards. No file is read
//! here and no connection seen; no key shows in a `Debug` output.

pub mod certificate;
mod choice;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};

use self::certificate::Certificate;
use self::choice::Choice;
use crate::clock::UnixTime;
use crate::pem::Source;

/// What HTTP may follow the handshake (RFC 7301), the preferred first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate with what leads to its authority, and its key.
#[derive(Clone)]
pub struct Identity {
    file: PathBuf,
    key: Arc<CertifiedKey>,
    /// What the certificate says; its time is that of the whole chain.
    certificate: Certificate,
}

/// Why a certificate and a key are no identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadIdentity {
    /// The chain has something that is no certificate.
    #[error("holds a certificate that cannot be read")]
    Certificate,
    /// The key is broken, or of an algorithm or a size that is not spoken.
    #[error("holds a key that cannot be used")]
    Key,
    /// The key is another one's.
    #[error("holds a key that does not fit the certificate")]
    Mismatch,
}

impl Identity {
    /// Of a chain that begins with the certificate of `key`. `file` is where it came from, which is what it is called.
    ///
    /// # Errors
    /// [`BadIdentity`].
    pub fn new(
        file: &Path,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, BadIdentity> {
        let mut links = chain.iter().map(Certificate::read);
        let mut certificate = links.next().flatten().ok_or(BadIdentity::Certificate)?;
        for link in links {
            let link = link.ok_or(BadIdentity::Certificate)?;
            certificate.begins = certificate.begins.max(link.begins);
            certificate.ends = certificate.ends.min(link.ends);
        }
        let key =
            default_provider().key_provider.load_private_key(key).map_err(|_| BadIdentity::Key)?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            // A key that does not tell its other half is found out by the first client.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(BadIdentity::Mismatch),
            Err(_) => return Err(BadIdentity::Certificate),
        }
        Ok(Self { file: file.to_owned(), key: Arc::new(key), certificate })
    }

    /// The file of its certificate.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What its certificate says.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.file).field(&self.certificate).finish()
    }
}

/// Whose certificates are accepted of clients.
#[derive(Clone, Debug)]
pub struct Clients {
    authorities: Arc<RootCertStore>,
    /// Whether one without a certificate is turned away.
    pub are_required: bool,
    /// Names of those that are proxies, whose forwarded headers count; in lower case.
    pub proxies: Box<[Box<str>]>,
}

impl Clients {
    /// Those for whom one of `authorities` vouches. None where one of these cannot be read, or there is none.
    #[must_use]
    pub fn of(authorities: Vec<CertificateDer<'static>>) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        authorities.into_iter().try_for_each(|authority| roots.add(authority)).ok()?;
        if roots.is_empty() {
            return None;
        }
        Some(Self { authorities: Arc::new(roots), are_required: true, proxies: Box::default() })
    }
}

/// Everything that a TLS connection begins with.
pub struct Offer {
    config: Arc<ServerConfig>,
    identities: Vec<Identity>,
    clients: Option<Clients>,
    sources: Box<[Source]>,
}

impl Offer {
    /// Of certificates, the first of which is shown where no name asks for another, and of what is asked of clients; all of
    /// it came from `sources`.
    ///
    /// Sessions are resumed with tickets under keys of this offer's own. Where clients are asked for certificates they are
    /// not: a resumed one would bring its certificates along, and nobody would look at them again. There is no early data,
    /// which could be replayed.
    ///
    /// # Errors
    /// The system has no randomness, or there is no certificate.
    pub fn new(
        identities: Vec<Identity>,
        clients: Option<Clients>,
        sources: Box<[Source]>,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(default_provider());
        let verifier: Arc<dyn ClientCertVerifier> = match &clients {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(clients) => {
                let roots = Arc::clone(&clients.authorities);
                let builder =
                    WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
                let builder =
                    if clients.are_required { builder } else { builder.allow_unauthenticated() };
                builder.build().map_err(|why| rustls::Error::General(why.to_string()))?
            }
        };
        let choice = Choice::among(&identities).ok_or(rustls::Error::NoCertificatesPresented)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(choice));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        if clients.is_some() {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        } else {
            config.ticketer = Ticketer::new()?;
        }
        Ok(Self { config: Arc::new(config), identities, clients, sources })
    }

    /// What a handshake needs.
    #[must_use]
    pub const fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// What is shown; the first where no name asks for another.
    #[must_use]
    pub fn identities(&self) -> &[Identity] {
        &self.identities
    }

    /// What is asked of clients; none: nothing.
    #[must_use]
    pub const fn clients(&self) -> Option<&Clients> {
        self.clients.as_ref()
    }

    /// The files that have to be read anew when they change.
    #[must_use]
    pub const fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Whether the certificate that a client proved to have, if it has one, is good at this time.
    #[must_use]
    pub fn is_in_time(proved: Option<&[CertificateDer<'_>]>, now: UnixTime) -> bool {
        let own = proved.and_then(<[_]>::first).map(Certificate::read);
        own.is_none_or(|own| own.is_some_and(|own| (own.begins..=own.ends).contains(&now)))
    }

    /// Whether a client that proved to have these certificates, its own first, is a proxy whose forwarded headers count.
    #[must_use]
    pub fn is_proxy(&self, proved: Option<&[CertificateDer<'_>]>) -> bool {
        let own = proved.and_then(<[_]>::first).and_then(Certificate::read);
        let proxies = self.clients.iter().flat_map(|clients| &clients.proxies);
        own.is_some_and(|own| proxies.into_iter().any(|name| own.names.contains(name)))
    }

    /// Until when the certificate of each file is good.
    pub fn ends(&self) -> impl Iterator<Item = (&Path, UnixTime)> {
        self.identities.iter().map(|identity| (identity.file(), identity.certificate.ends))
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("identities", &self.identities)
            .field("clients", &self.clients)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
