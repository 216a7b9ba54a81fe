//! Reads what keeps tenants apart and how much each may use.

use std::fmt;

use super::problem::Spelling;
use super::reader::Reader;
use super::table::{
    ISOLATION, MAX_SANDBOXES, METADATA_RESERVED, QUOTA_STATUS, SANDBOX_LIMITS, SHOW_MARKER,
};
use super::value::{Raw, either, switch};
use crate::error::OverQuota;
use crate::limits::{Limits, Rule, limit};

/// Settings about tenants.
#[derive(Debug)]
pub struct TenantSettings {
    /// Whether tenants see and touch only what is their own; without it they are only labelled.
    pub isolation: bool,
    /// Whether admins see the marker in answers.
    pub show_marker: bool,
    /// Metadata keys that callers may not set, beyond the gateway's own.
    pub metadata_reserved: Vec<ReservedName>,
    /// Caps on active sandboxes.
    pub limits: Limits,
    /// What a create above the cap is answered with.
    pub quota_status: QuotaStatus,
}

/// A metadata key that callers may not set, or the beginning of such keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReservedName {
    /// This key.
    Exact(Box<str>),
    /// Every key that begins so.
    Prefix(Box<str>),
}

impl fmt::Display for ReservedName {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(start) => write!(f, "{start}*"),
        }
    }
}

impl ReservedName {
    /// Longest name, in bytes.
    const MAX: usize = 128;

    fn parse(text: &str) -> Result<Self, String> {
        let (name, is_prefix) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text, false),
        };
        let plain = |b: u8| b.is_ascii_graphic() && b != b'*';
        if !(1..=Self::MAX).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(format!(
                "'{text}' is no metadata key of visible ASCII characters; end it with * to mean every key that begins so"
            ));
        }
        Ok(if is_prefix { Self::Prefix(name.into()) } else { Self::Exact(name.into()) })
    }
}

/// How a create above the cap is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuotaStatus {
    /// 403.
    Forbidden,
    /// 429, which clients report as a rate limit.
    TooManyRequests,
}

impl From<QuotaStatus> for OverQuota {
    fn from(status: QuotaStatus) -> Self {
        match status {
            QuotaStatus::Forbidden => Self::Forbidden,
            QuotaStatus::TooManyRequests => Self::TooManyRequests,
        }
    }
}

/// How limits were given, for remarks about them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LimitOrigins {
    /// The list of tenants.
    pub list: Spelling,
    /// The one for tenants that it says nothing of.
    pub maximum: Spelling,
}

impl LimitOrigins {
    pub(super) fn read(reader: &Reader<'_>) -> Self {
        Self { list: reader.origin(SANDBOX_LIMITS), maximum: reader.origin(MAX_SANDBOXES) }
    }

    /// Where the limit was given that this rule gives a tenant.
    #[must_use]
    pub const fn of(&self, rule: Rule) -> &Spelling {
        match rule {
            Rule::Named | Rule::Fallback => &self.list,
            Rule::Maximum => &self.maximum,
        }
    }

    /// Where any was given.
    pub(super) fn any(self) -> Spelling {
        if self.list == Spelling::Key(SANDBOX_LIMITS.key) { self.maximum } else { self.list }
    }
}

/// Reads all of it.
pub(super) fn read(reader: &mut Reader<'_>) -> TenantSettings {
    let maximum =
        reader.optional(MAX_SANDBOXES, |raw| limit(raw.text()?).map_err(|fault| fault.to_string()));
    let limits = reader.optional(SANDBOX_LIMITS, |raw| {
        let parsed = match raw {
            Raw::Text(text) => Limits::parse(text),
            Raw::Items(items) => Limits::parse(&items.join("\n")),
        };
        parsed.map_err(|bad| bad.to_string())
    });
    TenantSettings {
        isolation: reader.value(ISOLATION, switch),
        show_marker: reader.value(SHOW_MARKER, switch),
        metadata_reserved: reader.list(METADATA_RESERVED, ReservedName::parse),
        limits: limits.unwrap_or_default().with_maximum(maximum),
        quota_status: reader.value(QUOTA_STATUS, |raw| {
            either(raw, [("403", QuotaStatus::Forbidden), ("429", QuotaStatus::TooManyRequests)])
        }),
    }
}
