//! Who a credential proved to be: tenant, key, scopes.
//!
//! Vocabulary only. Production code builds a [`Principal`] in the key set, from validated parts; nothing here reads a
//! request. Scope names come from a closed list: an unknown name is an error, never ignored.

mod revocation;

pub use revocation::{Membership, Notice, Revocation, Roll};

use std::borrow::Cow;
use std::fmt;

use smol_str::SmolStr;

use crate::clock::UnixTime;

/// A tenant's name: 1 to 128 visible ASCII characters without `: , = |`, and not `*`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(SmolStr);

/// Why a text is no tenant name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTenant {
    /// Nothing there.
    #[error("the tenant is empty")]
    Empty,
    /// Longer than 128 bytes.
    #[error("the tenant is longer than 128 characters")]
    TooLong,
    /// `*` is the fallback of limit lists.
    #[error("the tenant '*' is reserved for limits")]
    Wildcard,
    /// A separator, white space, a control character or something beyond ASCII.
    #[error("the tenant may hold only visible ASCII characters other than ':', ',', '=' and '|'")]
    Character,
}

impl TenantId {
    /// Takes a tenant's name as it stands.
    ///
    /// # Errors
    /// [`BadTenant`] when it could not be written in every list that names tenants.
    pub fn parse(text: &str) -> Result<Self, BadTenant> {
        match text {
            "" => Err(BadTenant::Empty),
            "*" => Err(BadTenant::Wildcard),
            _ if text.len() > 128 => Err(BadTenant::TooLong),
            _ if text.bytes().all(|b| b.is_ascii_graphic() && !b":,=|".contains(&b)) => {
                Ok(Self(text.into()))
            }
            _ => Err(BadTenant::Character),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantId({})", self.0)
    }
}

/// The public, stable name of a key: safe in logs, tokens and answers; it reveals nothing of the key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(SmolStr);

impl KeyId {
    /// Wraps an id that the key set derived: lower-case letters and digits.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.0)
    }
}

/// One permission. Each implies those before it: admin > owner > exec > read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    /// Inspect through read-only routes.
    Read,
    /// Read, plus operate sandboxes and what runs in them.
    Exec,
    /// Exec, plus the keys, audit and usage of one's own tenant.
    Owner,
    /// Everything, for every tenant.
    Admin,
}

impl Scope {
    /// Every scope, weakest first.
    pub const ALL: [Self; 4] = [Self::Read, Self::Exec, Self::Owner, Self::Admin];

    /// The name used in settings, messages and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Exec => "exec",
            Self::Owner => "owner",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A name that is no scope.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope '{0}' (known: read, exec, owner, admin)")]
pub struct UnknownScope(pub String);

impl std::str::FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.name() == text)
            .ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// The scopes granted to a key, as written, without what they imply.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// All four, as in open mode.
    pub const ALL: Self = Self(0b1111);

    /// The set with `scope` added.
    #[must_use]
    pub const fn with(self, scope: Scope) -> Self {
        Self(self.0 | scope.bit())
    }

    /// A bit for each scope; the four lowest.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether nothing is granted.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether some granted scope is `needed` or implies it.
    #[must_use]
    pub const fn allows(self, needed: Scope) -> bool {
        self.0 >= needed.bit()
    }

    /// The set with everything it implies.
    #[must_use]
    pub fn effective(self) -> Self {
        Scope::ALL
            .into_iter()
            .filter(|scope| self.allows(*scope))
            .fold(Self::default(), |set, scope| set.with(scope))
    }

    /// The names in the set, in alphabetical order, as answers list them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [Scope::Admin, Scope::Exec, Scope::Owner, Scope::Read]
            .into_iter()
            .filter(move |scope| self.0 & scope.bit() != 0)
            .map(Scope::name)
    }

    /// The names, `admin|exec`, in alphabetical order.
    #[must_use]
    pub fn label(self) -> &'static str {
        const LABELS: [&str; 16] = [
            "",
            "read",
            "exec",
            "exec|read",
            "owner",
            "owner|read",
            "exec|owner",
            "exec|owner|read",
            "admin",
            "admin|read",
            "admin|exec",
            "admin|exec|read",
            "admin|owner",
            "admin|owner|read",
            "admin|exec|owner",
            "admin|exec|owner|read",
        ];
        LABELS.get(usize::from(self.0)).copied().unwrap_or_default()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::default(), Self::with)
    }
}

impl fmt::Display for Scopes {
    /// `admin|exec`, in alphabetical order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

/// What vouched for a principal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A key of the settings or the keys file.
    Static,
    /// The answer of the operator's own service.
    Callback,
    /// A sandbox token, standing for the key it was minted for.
    SandboxToken,
}

impl Source {
    /// The name used in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Callback => "callback",
            Self::SandboxToken => "sandbox_token",
        }
    }
}

/// What the upstream is told of a principal: visible ASCII, all of it.
#[derive(Debug)]
pub struct Vouched<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The name, percent-encoded where it is not visible ASCII; the key's id where there is no name.
    pub name: Cow<'a, str>,
    /// The granted scopes, `admin|exec`.
    pub scopes: &'static str,
}

/// A name as a header can carry it: everything but visible ASCII is percent-encoded, `%` too.
fn escape(name: &str) -> Cow<'_, str> {
    if name.bytes().all(goes_as_it_is) {
        return Cow::Borrowed(name);
    }
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if goes_as_it_is(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    Cow::Owned(escaped)
}

const fn goes_as_it_is(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'%'
}

/// Who a credential proved to be. For keys it is made anew at each request, from the few cache lines that a set holds of
/// a key: whatever were kept of ten thousand keys in use would not stay in a processor's caches.
#[derive(Debug)]
pub struct Principal {
    /// Whom it belongs to.
    pub tenant: TenantId,
    /// What its owner calls it.
    pub name: Option<SmolStr>,
    /// Its public id.
    pub key: KeyId,
    /// The scopes granted, as written.
    pub scopes: Scopes,
    /// Not valid before.
    pub not_before: Option<UnixTime>,
    /// Not valid from here on.
    pub expires: Option<UnixTime>,
    /// Sandboxes that may be active at once, where whoever vouches for it says so.
    pub max_sandboxes: Option<u32>,
    /// What vouches for it.
    pub source: Source,
    /// Fires when the key is removed.
    pub revocation: Revocation,
}

impl Principal {
    /// Whether the key's own dates and its owner let it be used at `now`.
    #[must_use]
    pub fn is_valid_at(&self, now: UnixTime) -> bool {
        self.not_before.is_none_or(|from| now >= from)
            && self.expires.is_none_or(|until| now < until)
            && !self.revocation.is_revoked()
    }

    /// What the upstream is told of it.
    #[must_use]
    pub fn vouched(&self) -> Vouched<'_> {
        Vouched {
            tenant: self.tenant.as_str(),
            name: self.name.as_deref().map_or(Cow::Borrowed(self.key.as_str()), escape),
            scopes: self.scopes.label(),
        }
    }
}

#[cfg(test)]
mod tests;
