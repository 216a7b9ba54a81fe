//! What an operator can set of the callback, in the form that the rest of the module works with.

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Client, Identity};

use super::url::CallbackUrl;
use crate::principal::{Scopes, TenantId};

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the service is.
    pub url: CallbackUrl,
    /// Whom it is believed to be, and who the gateway says it is.
    pub tls: Tls,
    /// To connect.
    pub connect_timeout: Duration,
    /// From the question to the head of the answer, waiting for a place and connecting included.
    pub timeout: Duration,
    /// Which of its refusals a client sees as they are.
    pub pass: Passed,
    /// What its silence means to a client.
    pub when_unavailable: WhenUnavailable,
    /// How long an identity is remembered where the answer does not say; zero: not at all.
    pub cache_ttl: Duration,
    /// Which requests share a remembered identity.
    pub cache_by: CacheBy,
    /// How long after that an identity is still used while the service cannot be asked; zero: not at all.
    pub stale_if_error: Duration,
    /// Calls under way at once.
    pub max_calls: NonZeroUsize,
    /// Refused or abandoned calls that one client address may cause at once; they come back over ten seconds.
    pub client_budget: NonZeroU32,
    /// Failures in a row after which the service is left alone for a while.
    pub breaker_failures: NonZeroU32,
    /// For how long.
    pub breaker_pause: Duration,
    /// Who a credential belongs to where the answer does not say.
    pub default: DefaultIdentity,
    /// A directory for what must outlive a restart: the principals that were purged.
    pub state_dir: Option<PathBuf>,
}

/// Refusals that pass as they are; all others are 401.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Passed {
    /// 403.
    pub forbidden: bool,
    /// 429, with `Retry-After`.
    pub rate_limited: bool,
}

/// What a client gets when the service cannot be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WhenUnavailable {
    /// 500, as Cube answers.
    #[default]
    InternalError,
    /// 503 with `Retry-After`.
    ServiceUnavailable,
}

/// Which requests share a remembered identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CacheBy {
    /// Those that are alike in everything that the service is told, but for the request's id.
    #[default]
    Request,
    /// Those with the same credential: the service looks at nothing else.
    Credential,
}

/// Who a credential belongs to where the answer does not say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DefaultIdentity {
    /// The tenant.
    pub tenant: TenantId,
    /// The name.
    pub name: Arc<str>,
    /// The scopes.
    pub scopes: Scopes,
}

/// How the two ends of `https://` prove who they are.
#[derive(Clone, Default)]
pub struct Tls {
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
}

/// Why a PEM text is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPem {
    /// The extra authorities.
    #[error("holds no certificate in PEM form, or a broken one")]
    Authorities,
    /// The client's certificate and key.
    #[error("certificate and key are not in PEM form, or not of each other")]
    Identity,
}

impl Tls {
    /// Reads the PEM texts of authorities to trust besides the system's, and of the gateway's certificate with its key,
    /// and sees whether TLS takes them: a worker that finds out has nobody to tell.
    ///
    /// # Errors
    /// [`BadPem`].
    pub fn parse(
        authorities: Option<&str>,
        certificate_and_key: Option<(&str, &str)>,
    ) -> Result<Self, BadPem> {
        let authorities = match authorities {
            Some(pem) => Certificate::from_pem_bundle(pem.as_bytes())
                .ok()
                .filter(|found| !found.is_empty() && is_taken(found, None))
                .ok_or(BadPem::Authorities)?,
            None => Vec::new(),
        };
        let identity = certificate_and_key
            .map(|(certificate, key)| {
                let joined = zeroize::Zeroizing::new(format!("{certificate}\n{key}"));
                Identity::from_pem(joined.as_bytes())
                    .ok()
                    .filter(|identity| is_taken(&[], Some(identity)))
                    .ok_or(BadPem::Identity)
            })
            .transpose()?;
        Ok(Self { authorities, identity })
    }

    /// Authorities to trust besides the system's.
    #[must_use]
    pub fn authorities(&self) -> &[Certificate] {
        &self.authorities
    }

    /// Who the gateway says it is.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }
}

fn is_taken(authorities: &[Certificate], identity: Option<&Identity>) -> bool {
    provide_cryptography();
    let builder = Client::builder().tls_certs_only(authorities.iter().cloned());
    let builder = match identity {
        Some(identity) => builder.identity(identity.clone()),
        None => builder,
    };
    builder.build().is_ok()
}

/// Tells rustls whose cryptography to use, which has to come before any TLS.
pub(super) fn provide_cryptography() {
    // Fails when a provider is in place already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, own) = (self.authorities.len(), self.identity.is_some());
        write!(f, "Tls({count} authorities, client certificate: {own})")
    }
}
