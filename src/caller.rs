//! Who is calling: the outcome of authentication, and the only thing authorisation looks at.

use std::sync::Arc;

use crate::credential::Kind;
use crate::principal::{Principal, Scope, Scopes};
use crate::target::SandboxId;

/// How the caller proved to be somebody, or why nobody asked.
#[derive(Clone, Debug)]
pub enum Caller {
    /// No authenticator is configured: everybody may do everything.
    Open,
    /// A public route: nobody asked, and no credential counts.
    Anonymous,
    /// A key.
    Key(Arc<Principal>, Kind),
    /// A sandbox token, verified, standing for its key on this one sandbox.
    Token(Arc<Principal>, SandboxId),
    /// A signed URL, verified, standing for its key on this one sandbox.
    Signature(Arc<Principal>, SandboxId),
}

impl Caller {
    /// What the caller may do now. A sandbox token never carries more than exec, nor more than its key.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        match self {
            Self::Open => Scopes::ALL,
            Self::Anonymous => Scopes::default(),
            Self::Key(principal, _) => principal.scopes,
            Self::Token(principal, _) | Self::Signature(principal, _) => [Scope::Read, Scope::Exec]
                .into_iter()
                .filter(|scope| principal.scopes.allows(*scope))
                .collect(),
        }
    }

    /// The principal, where there is one.
    #[must_use]
    pub const fn principal(&self) -> Option<&Arc<Principal>> {
        match self {
            Self::Open | Self::Anonymous => None,
            Self::Key(principal, _) | Self::Token(principal, _) | Self::Signature(principal, _) => {
                Some(principal)
            }
        }
    }

    /// Whether the caller's key sees every tenant's sandboxes.
    #[must_use]
    pub fn sees_all_tenants(&self) -> bool {
        match self {
            Self::Open => true,
            Self::Anonymous => false,
            Self::Key(principal, _) | Self::Token(principal, _) | Self::Signature(principal, _) => {
                principal.scopes.allows(Scope::Admin)
            }
        }
    }
}
