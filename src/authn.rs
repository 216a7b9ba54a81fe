//! Authentication: from what a client presented to who it is.
//!
//! An ordered list of schemes; the first that knows a credential decides, and none is tried after one that refused.
//! Sandbox tokens and signed URLs stand for a key and are looked up in the same set, so they can never outlive it.
//! Nothing here knows routes or scopes.

mod ring;

use std::sync::Arc;

use moka::sync::Cache;

pub use ring::KeyRing;

use crate::clock::UnixTime;
use crate::credential::{Credential, Precedence};
use crate::principal::{KeyId, Principal, Scope};
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
}

impl Scheme {
    fn judge(&self, credential: &Credential<'_>) -> Option<Arc<Principal>> {
        match self {
            Self::StaticKeys(ring) => ring.find(credential),
        }
    }
}

/// The authenticator of a gateway, shared by its workers.
#[derive(Debug)]
pub struct Authenticator {
    schemes: Vec<Scheme>,
    keys: Arc<KeyRing>,
    sealer: Sealer,
    precedence: Precedence,
    /// Which key last got a token for a sandbox: the likely signer of its URLs.
    signers: Cache<SandboxId, KeyId>,
}

impl Authenticator {
    /// An authenticator that asks `schemes` in order. Without schemes the gateway is open.
    #[must_use]
    pub fn new(
        schemes: Vec<Scheme>,
        keys: Arc<KeyRing>,
        sealer: Sealer,
        precedence: Precedence,
    ) -> Self {
        Self { schemes, keys, sealer, precedence, signers: Cache::new(100_000) }
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

    /// Judges one credential.
    pub fn authenticate(&self, credential: &Credential<'_>, now: UnixTime) -> Authentication {
        match self.schemes.iter().find_map(|scheme| scheme.judge(credential)) {
            Some(principal) if principal.is_valid_at(now) => Authentication::Known(principal),
            Some(_) => Authentication::Refused(Reason::NotValidNow),
            None => Authentication::Refused(Reason::Unknown),
        }
    }

    /// Whether some scheme knows this text, valid or not: it must not reach a sandbox.
    #[must_use]
    pub fn is_ours(&self, credential: &Credential<'_>) -> bool {
        Claims::parse(credential.expose()).is_some()
            || self.schemes.iter().any(|scheme| scheme.judge(credential).is_some())
    }

    /// The principal a sandbox token stands for.
    pub fn open(&self, claims: &Claims, now: UnixTime) -> Authentication {
        match self.keys.by_id(&claims.key) {
            Some(principal) if !self.sealer.verifies(claims, &principal) => {
                Authentication::Refused(Reason::BadToken)
            }
            Some(principal) if principal.is_valid_at(now) => Authentication::Known(principal),
            Some(_) => Authentication::Refused(Reason::NotValidNow),
            None => Authentication::Refused(Reason::BadToken),
        }
    }

    /// The token of `principal` for `sandbox`. `None` when the principal may not operate sandboxes.
    #[must_use]
    pub fn mint(&self, principal: &Principal, sandbox: &SandboxId) -> Option<String> {
        let token =
            principal.scopes.allows(Scope::Exec).then(|| self.sealer.mint(principal, sandbox));
        let token = token.flatten()?;
        self.signers.insert(sandbox.clone(), principal.key.clone());
        Some(token)
    }

    /// Whose token signed a file URL of `sandbox`.
    ///
    /// The URL names no key. The last one that got a token is tried first; then every key that could have: those of the
    /// sandbox's tenant and the admins', which bounds the work by one tenant's keys and only for signatures that are
    /// wrong or from a second key.
    #[must_use]
    pub fn signer(
        &self,
        sandbox: &Sandbox,
        query: &SignedQuery<'_>,
        operation: Operation,
        now: UnixTime,
    ) -> Option<Arc<Principal>> {
        let signed = |principal: &Arc<Principal>| {
            principal.is_valid_at(now)
                && principal.scopes.allows(Scope::Exec)
                && self
                    .sealer
                    .every(principal, &sandbox.id)
                    .any(|token| query.is_signed_with(&token, operation))
        };
        let last = self.signers.get(&sandbox.id).and_then(|key| self.keys.by_id(&key));
        if let Some(principal) = last.filter(signed) {
            return Some(principal);
        }
        let keys = self.keys.snapshot();
        let tenants = sandbox.tenant.as_ref().map_or(&[][..], |tenant| keys.of_tenant(tenant));
        let signer = tenants.iter().chain(keys.admins()).find(|principal| signed(principal))?;
        self.signers.insert(sandbox.id.clone(), signer.key.clone());
        Some(Arc::clone(signer))
    }
}
