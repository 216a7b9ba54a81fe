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
