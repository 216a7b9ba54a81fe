//! How many sandboxes each tenant may have active at once, as an operator wrote it.
//!
//! Reads the list and answers questions about it; what is in use is the ledger's to know. No message quotes an entry
//! whole: it may be a key, put where limits belong.

use std::collections::HashMap;
use std::fmt;

use crate::principal::{BadTenant, TenantId};

/// Caps on active sandboxes: by tenant, for all tenants not named, and for everybody.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    named: HashMap<TenantId, u32>,
    fallback: Option<u32>,
    maximum: Option<u32>,
}

/// Why a tenant has the cap that it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// The list names it.
    Named,
    /// The list has an entry for all that it does not name.
    Fallback,
    /// There is a cap for everybody of whom the list says nothing.
    Maximum,
}

impl Limits {
    /// Reads entries `TENANT=N`, separated by commas or newlines. The tenant `*` stands for all that are not named, and
    /// 0 means none at all. White space around names and numbers means nothing, and neither do blank entries.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadLimits> {
        let mut limits = Self::default();
        let mut faults = Vec::new();
        let entries = text.split([',', '\n']).map(trim).filter(|entry| !entry.is_empty());
        let mut count = 0;
        for entry in entries {
            count += 1;
            if let Err((tenant, fault)) = limits.read(entry) {
                faults.push(BadLimit { entry: count, tenant, fault });
            }
        }
        if count == 0 {
            return Err(BadLimits::Empty);
        }
        if faults.is_empty() { Ok(limits) } else { Err(BadLimits::Entries(faults)) }
    }

    fn read(&mut self, entry: &str) -> Result<(), (Option<Box<str>>, LimitFault)> {
        let (name, number) = entry.split_once('=').ok_or((None, LimitFault::Shape))?;
        let (name, number) = (trim(name), trim(number));
        if name.is_empty() {
            return Err((None, LimitFault::NoTenant));
        }
        let tenant = match name {
            "*" => None,
            _ => Some(TenantId::parse(name).map_err(|bad| (None, LimitFault::Tenant(bad)))?),
        };
        let failed = |fault| (Some(name.into()), fault);
        let number = limit(number).map_err(failed)?;
        let earlier = match tenant {
            Some(tenant) => self.named.insert(tenant, number),
            None => self.fallback.replace(number),
        };
        if earlier.is_some() { Err(failed(LimitFault::Twice)) } else { Ok(()) }
    }

    /// The same with a cap for every tenant that the list says nothing of.
    #[must_use]
    pub fn with_maximum(mut self, maximum: Option<u32>) -> Self {
        self.maximum = maximum;
        self
    }

    /// Whether nobody is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.fallback.is_none() && self.maximum.is_none()
    }

    /// The cap of a tenant: its own, else that of `*`, else the maximum, else none.
    #[must_use]
    pub fn of(&self, tenant: &TenantId) -> Option<u32> {
        self.named.get(tenant).copied().or(self.fallback).or(self.maximum)
    }

    /// The cap that a request meets: the tenant's, or the principal's own where that is smaller.
    #[must_use]
    pub fn meeting(&self, tenant: &TenantId, own: Option<u32>) -> Option<u32> {
        self.of(tenant).into_iter().chain(own).min()
    }

    /// Every tenant that has a cap of its own.
    pub fn named(&self) -> impl Iterator<Item = &TenantId> {
        self.named.keys()
    }

    /// Which entry caps a tenant.
    #[must_use]
    pub fn rule(&self, tenant: &TenantId) -> Option<Rule> {
        match (self.named.contains_key(tenant), self.fallback, self.maximum) {
            (true, _, _) => Some(Rule::Named),
            (false, Some(_), _) => Some(Rule::Fallback),
            (false, None, Some(_)) => Some(Rule::Maximum),
            (false, None, None) => None,
        }
    }

    /// Every cap with whom it is for, tenants in order and `*` last.
    pub fn lines(&self) -> impl Iterator<Item = (&str, u32)> {
        let mut named: Vec<_> =
            self.named.iter().map(|(name, cap)| (name.as_str(), *cap)).collect();
        named.sort_unstable();
        named.into_iter().chain(self.fallback.or(self.maximum).map(|cap| ("*", cap)))
    }
}

/// Reads one cap: plain decimal digits.
///
/// # Errors
/// [`LimitFault::Missing`] or [`LimitFault::Number`].
pub fn limit(text: &str) -> Result<u32, LimitFault> {
    if text.is_empty() {
        return Err(LimitFault::Missing);
    }
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(LimitFault::Number)
}

/// Why a list of limits can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLimits {
    /// It holds separators at most.
    #[error("holds no entry; write TENANT=N")]
    Empty,
    /// These entries are wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Entries(Vec<BadLimit>),
}

/// One wrong entry.
#[derive(Debug, PartialEq, Eq)]
pub struct BadLimit {
    /// Which one, counted from 1.
    pub entry: usize,
    /// Whom it is for, where that can be told.
    pub tenant: Option<Box<str>>,
    /// What is wrong.
    pub fault: LimitFault,
}

impl fmt::Display for BadLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}", self.entry)?;
        if let Some(tenant) = &self.tenant {
            write!(f, " (tenant {tenant})")?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// What can be wrong with an entry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitFault {
    /// There is no `=`.
    #[error("write TENANT=N")]
    Shape,
    /// Nothing before the `=`.
    #[error("the tenant is missing")]
    NoTenant,
    /// What stands there is no tenant.
    #[error("{0}")]
    Tenant(BadTenant),
    /// Nothing after the `=`.
    #[error("the number is missing")]
    Missing,
    /// Not plain digits, or more than fit.
    #[error("the limit is no whole number from 0 to {}", u32::MAX)]
    Number,
    /// An earlier entry is for the same tenant.
    #[error("has a limit already")]
    Twice,
}

fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace())
}

#[cfg(test)]
mod tests;
