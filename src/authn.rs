//! Authentication: from what a client presented to who it is.
//!
//! An ordered list of schemes; the first that knows a credential decides, and none is tried after one that refused.
//! Sandbox tokens and signed URLs stand for a key and are looked up where it is known, so they can never outlive it.
//! Nothing here knows routes or scopes.

mod ring;

use std::sync::Arc;

pub use ring::KeyRing;

use crate::callback::{Callback, Line, Question, Refusal, Unknown, Verdict};
use crate::clock::UnixTime;
use crate::credential::{Credential, Precedence};
use crate::principal::{Principal, Scope};
use crate::sandbox::Sandbox;
use crate::target::SandboxId;
use crate::token::signature::{Operation, SignedQuery};
use crate::token::{Claims, Sealer};

/// What the schemes say of a credential.
#[derive(Debug)]
#[must_use]
pub enum Authentication {
    /// It is this principal's.
    Known(Arc<Principal>),
    /// It is nobody's, or may not be used now. The client is not told which; the log is.
    Refused(Reason),
    /// The auth callback was asked, and the request goes no further.
    Declined(Refusal),
    /// Only the auth callback can tell, and it has to be asked: [`Authenticator::ask`].
    Unsettled(Unknown),
}

/// Why a credential was refused, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No scheme knows it.
    Unknown,
    /// Its key is expired, not valid yet, or revoked.
    NotValidNow,
    /// A sandbox token that was not sealed here, or whose key is gone.
    BadToken,
}

/// One way to recognise a credential.
#[derive(Debug)]
pub enum Scheme {
    /// The static keys of settings and keys file.
    StaticKeys(Arc<KeyRing>),
    /// The operator's own service. It knows every credential, if only to refuse it: the last of a list.
    Callback(Arc<Callback>),
}

impl Scheme {
    /// What this scheme says without asking anybody; `None` when it does not know the credential.
    fn judge(&self, question: &Question<'_>, now: UnixTime) -> Option<Authentication> {
        match self {
            Self::StaticKeys(ring) => ring.find(&question.credential).map(|principal| {
                if principal.is_valid_at(now) {
                    Authentication::Known(principal)
                } else {
                    Authentication::Refused(Reason::NotValidNow)
                }
            }),
            Self::Callback(callback) => Some(
                callback.remembered(question, now).map_or_else(Authentication::Unsettled, settled),
            ),
        }
    }

    fn knows(&self, credential: &Credential<'_>) -> bool {
        match self {
            Self::StaticKeys(ring) => ring.knows(credential),
            Self::Callback(callback) => callback.has_admitted(credential),
        }
    }
}

fn settled(verdict: Verdict) -> Authentication {
    match verdict {
        Verdict::Known(principal) => Authentication::Known(principal),
        Verdict::Refused(refusal) => Authentication::Declined(refusal),
    }
}

/// The authenticator of a gateway, shared by its workers.
#[derive(Debug)]
pub struct Authenticator {
    schemes: Vec<Scheme>,
    keys: Arc<KeyRing>,
    callback: Option<Arc<Callback>>,
    sealer: Sealer,
    precedence: Precedence,
}

impl Authenticator {
    /// An authenticator that looks at `keys`, unless there are none to look at, and then asks the callback. With
    /// neither the gateway is open.
    #[must_use]
    pub fn new(
        keys: Option<Arc<KeyRing>>,
        callback: Option<Arc<Callback>>,
        sealer: Sealer,
        precedence: Precedence,
    ) -> Self {
        let schemes = keys.clone().map(Scheme::StaticKeys).into_iter();
        let schemes = schemes.chain(callback.clone().map(Scheme::Callback)).collect();
        Self { schemes, keys: keys.unwrap_or_default(), callback, sealer, precedence }
    }

    /// Whether nobody is asked for anything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.schemes.is_empty()
    }

    /// Which of two credentials is judged.
    #[must_use]
    pub const fn precedence(&self) -> Precedence {
        self.precedence
    }

    /// The auth callback, where there is one.
    #[must_use]
    pub const fn callback(&self) -> Option<&Arc<Callback>> {
        self.callback.as_ref()
    }

    /// Judges the credential of one request by what is known here and now.
    pub fn authenticate(&self, question: &Question<'_>, now: UnixTime) -> Authentication {
        self.schemes
            .iter()
            .find_map(|scheme| scheme.judge(question, now))
            .unwrap_or(Authentication::Refused(Reason::Unknown))
    }

    /// Asks the auth callback, after [`Self::authenticate`] left this question open, over a worker's own connections.
    pub async fn ask(
        &self,
        line: Option<&Line>,
        question: &Question<'_>,
        unknown: Unknown,
    ) -> Authentication {
        match (&self.callback, line) {
            (Some(callback), Some(line)) => settled(callback.ask(line, question, unknown).await),
            _ => Authentication::Refused(Reason::Unknown),
        }
    }

    /// Whether some scheme knows this text, valid or not: it must not reach a sandbox. Of the callback's credentials
    /// those that it let in lately; it is not asked about what may be an application's own.
    #[must_use]
    pub fn is_ours(&self, credential: &Credential<'_>) -> bool {
        Claims::parse(credential.expose()).is_some()
            || self.schemes.iter().any(|scheme| scheme.knows(credential))
    }

    /// The principal a sandbox token stands for.
    pub fn open(&self, claims: &Claims, now: UnixTime) -> Authentication {
        let holder = match &claims.named {
            // Sealed first: what is not ours must not be looked up.
            Some(named) if self.sealer.verifies(claims, &named.tenant) => {
                self.callback.as_ref().and_then(|callback| {
                    callback.holder(&named.tenant, &named.name, &claims.key, named.scopes())
                })
            }
            Some(_) => None,
            None => self
                .keys
                .by_id(&claims.key)
                .filter(|principal| self.sealer.verifies(claims, &principal.tenant)),
        };
        match holder {
            Some(principal) if principal.is_valid_at(now) => Authentication::Known(principal),
            Some(_) => Authentication::Refused(Reason::NotValidNow),
            None => Authentication::Refused(Reason::BadToken),
        }
    }

    /// The token of `principal` for `sandbox`. `None` when the principal may not operate sandboxes.
    #[must_use]
    pub fn mint(&self, principal: &Principal, sandbox: &SandboxId) -> Option<String> {
        let may = principal.scopes.allows(Scope::Exec);
        may.then(|| self.sealer.mint(principal, sandbox)).flatten()
    }

    /// Whose token signed a file URL of `sandbox`.
    ///
    /// The URL names no key. `last`, who got a token last, is tried first; then every static key that could have: those
    /// of the sandbox's tenant and the admins', which bounds the work by one tenant's keys and only for signatures that
    /// are wrong or from a second key. Those whom the auth callback vouches for cannot be listed: theirs verify where
    /// their token was handed out last.
    #[must_use]
    pub fn signer(
        &self,
        sandbox: &Sandbox,
        last: Option<Arc<Principal>>,
        query: &SignedQuery<'_>,
        operation: Operation,
        now: UnixTime,
    ) -> Option<Arc<Principal>> {
        let signed = |principal: &Arc<Principal>| {
            self.sealer
                .every(principal, &sandbox.id)
                .any(|token| query.is_signed_with(&token, operation))
        };
        let may = |principal: &Arc<Principal>| {
            principal.is_valid_at(now) && principal.scopes.allows(Scope::Exec)
        };
        last.filter(may)
            .filter(signed)
            .or_else(|| self.keys.search(sandbox.tenant.as_ref(), now, Scope::Exec, signed))
    }
}
