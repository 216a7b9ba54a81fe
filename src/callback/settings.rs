//! What an operator can set of the callback, in the form that the rest of the module works with.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use smol_str::SmolStr;

use super::url::CallbackUrl;
use crate::http1::Tls;
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
    pub name: SmolStr,
    /// The scopes.
    pub scopes: Scopes,
}
