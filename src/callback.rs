//! The operator's own auth service, asked about credentials that no key knows.
//!
//! What is remembered of its answers is who a credential belongs to, never what that one may do: scopes, ownership and
//! quotas are judged anew at every request. Nothing here keeps a credential; whatever goes wrong is a refusal.

mod question;
mod settings;
mod url;

use std::sync::Arc;

use http::HeaderValue;

pub use question::Question;
pub use settings::{BadPem, CacheBy, DefaultIdentity, Passed, Settings, Tls, WhenUnavailable};
pub use url::{BadUrl, CallbackUrl};

use crate::principal::Principal;

/// What the service says of a credential, or what its silence means.
#[derive(Clone, Debug)]
#[must_use]
pub enum Verdict {
    /// It is this principal's.
    Known(Arc<Principal>),
    /// The request goes no further.
    Refused(Refusal),
}

/// Why a request goes no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The service said no.
    Rejected,
    /// It said 403, and the settings let that through.
    Forbidden,
    /// It said 429, and the settings let that through, with its `Retry-After`.
    RateLimited(Option<HeaderValue>),
    /// It was not asked: too much of what the client's address sent was refused before.
    TooManyAttempts,
    /// It did not answer in time or not soundly. The cause is in the log.
    Unavailable(WhenUnavailable),
}

// STUB
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Callback;
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Line;
#[allow(missing_docs, unused_variables, clippy::todo, clippy::unused_async)]
impl Callback {
    pub fn new(settings: Settings) -> std::io::Result<Self> {
        todo!()
    }
    pub fn line(&self) -> std::io::Result<Line> {
        todo!()
    }
    pub fn remembered(
        &self,
        question: &Question<'_>,
        now: crate::clock::UnixTime,
    ) -> Option<Verdict> {
        todo!()
    }
    pub async fn ask(&self, line: &Line, question: &Question<'_>) -> Verdict {
        todo!()
    }
    pub fn has_admitted(&self, credential: &crate::credential::Credential<'_>) -> bool {
        todo!()
    }
    pub fn holder(
        &self,
        tenant: &crate::principal::TenantId,
        name: &Arc<str>,
        key: &crate::principal::KeyId,
        scopes: crate::principal::Scopes,
    ) -> Option<Arc<Principal>> {
        todo!()
    }
    pub fn flush(&self) {
        todo!()
    }
    pub fn purge(&self, key: &crate::principal::KeyId) -> std::io::Result<bool> {
        todo!()
    }
}
