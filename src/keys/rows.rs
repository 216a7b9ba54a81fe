//! How the keys of a set lie in memory: a row of 48 bytes each, and beside them what many of them share.
//!
//! Texts are kept once: tenants by name, and what entries say of keys that have neither name nor dates by tenant and
//! scopes, so that a million keys of a hundred tenants are a million rows and next to nothing else.

use std::hash::{BuildHasher as _, RandomState};

use super::KeyDigest;
use super::index::Index;
use crate::clock::UnixTime;
use crate::principal::{BadTenant, Scopes, TenantId};

/// Stands for no row.
pub(super) const NONE: u32 = u32::MAX;

/// One key.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// Stands for the key.
    pub(super) digest: KeyDigest,
    /// Its public id as a number; nothing before there is a set.
    pub(super) id: u64,
    /// The number of its facts.
    pub(super) facts: u32,
    /// The edition of the set that first held it as it is; the line that it stands in before there is a set.
    pub(super) since: u32,
}

/// What an entry says of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Said<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) scopes: Scopes,
    pub(super) not_before: Option<UnixTime>,
    pub(super) expires: Option<UnixTime>,
}

/// What entries say of keys, 32 bytes each.
pub(super) struct Facts {
    /// The number of the tenant.
    pub(super) tenant: u32,
    name: u32,
    name_length: u16,
    scopes: Scopes,
    /// The first valid second; 0 where nothing was said, which is the same.
    from: u64,
    /// The first second that is not valid any more; the last there is where nothing was said.
    until: u64,
}

/// One tenant, and where its keys are.
pub(super) struct Tenant {
    pub(super) id: TenantId,
    /// The first row, or [`NONE`].
    pub(super) first: u32,
    /// The last row.
    pub(super) last: u32,
}

/// Everything that rows refer to.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) tenants: Vec<Tenant>,
    by_name: Index,
    hasher: RandomState,
    facts: Vec<Facts>,
    names: String,
}

impl Shared {
    /// The number of a tenant, which is new if it was not named before.
    pub(super) fn intern(&mut self, name: &str) -> Result<u32, BadTenant> {
        if let Some(known) = self.tenant(name) {
            return Ok(known);
        }
        let number = number(self.tenants.len());
        let id = TenantId::parse(name)?;
        let tenant = Tenant { id, first: NONE, last: NONE };
        let tag = self.tag(name);
        self.tenants.push(tenant);
        let name = |row| self.tenants.get(row as usize).map_or("", |tenant| tenant.id.as_str());
        self.by_name.insert(tag, number, |row| tag_of(&self.hasher, name(row)));
        Ok(number)
    }

    /// The number of a tenant that was named before.
    pub(super) fn tenant(&self, name: &str) -> Option<u32> {
        let is_it = |number| self.id(number).is_some_and(|id| id.as_str() == name);
        self.by_name.find(self.tag(name), is_it)
    }

    fn tag(&self, name: &str) -> u32 {
        tag_of(&self.hasher, name)
    }

    /// A tenant by its number.
    pub(super) fn owner(&self, number: u32) -> Option<&Tenant> {
        self.tenants.get(number as usize)
    }

    /// Which tenant has this number.
    pub(super) fn id(&self, number: u32) -> Option<&TenantId> {
        self.owner(number).map(|tenant| &tenant.id)
    }

    /// Makes `row` the last of a tenant. Returns the one that was, if any.
    pub(super) fn append(&mut self, tenant: u32, row: u32) -> Option<u32> {
        let tenant = self.tenants.get_mut(tenant as usize)?;
        let before = std::mem::replace(&mut tenant.last, row);
        if tenant.first == NONE {
            tenant.first = row;
            return None;
        }
        Some(before)
    }

    /// Facts by their number.
    pub(super) fn facts(&self, number: u32) -> Option<&Facts> {
        self.facts.get(number as usize)
    }

    /// The number of facts that say this. Those without a name or dates are kept once, by `plain`.
    pub(super) fn note(&mut self, tenant: u32, said: Said<'_>, plain: &mut Index) -> u32 {
        let facts = Facts {
            tenant,
            name: number(self.names.len()),
            name_length: said.name.map_or(0, |name| u16::try_from(name.len()).unwrap_or_default()),
            scopes: said.scopes,
            from: said.not_before.map_or(0, |at| at.0),
            until: said.expires.map_or(u64::MAX, |at| at.0),
        };
        let number = number(self.facts.len());
        if facts.is_plain() {
            let alike = |other: &Facts| (other.tenant, other.scopes) == (tenant, facts.scopes);
            let tag = facts.tag();
            if let Some(known) = plain.find(tag, |row| self.facts(row).is_some_and(alike)) {
                return known;
            }
            plain.insert(tag, number, |row| self.facts(row).map_or(0, Facts::tag));
        }
        self.names.push_str(said.name.unwrap_or_default());
        self.facts.push(facts);
        number
    }

    /// What facts say.
    pub(super) fn said(&self, facts: &Facts) -> Said<'_> {
        let at = facts.name as usize;
        let name = self.names.get(at..at + usize::from(facts.name_length)).unwrap_or_default();
        Said {
            name: Some(name).filter(|name| !name.is_empty()),
            scopes: facts.scopes,
            not_before: Some(UnixTime(facts.from)).filter(|at| at.0 > 0),
            expires: Some(UnixTime(facts.until)).filter(|at| at.0 < u64::MAX),
        }
    }

    /// Gives back what growing took beyond need.
    pub(super) fn shrink(&mut self) {
        self.tenants.shrink_to_fit();
        self.facts.shrink_to_fit();
        self.names.shrink_to_fit();
    }
}

impl Facts {
    /// Tenant and scopes, spread over all bits by a multiplier that is 2^32 over the golden ratio.
    fn tag(&self) -> u32 {
        (self.tenant << 4 | u32::from(self.scopes.bits())).wrapping_mul(0x9e37_79b9)
    }

    const fn is_plain(&self) -> bool {
        self.name_length == 0 && self.from == 0 && self.until == u64::MAX
    }
}

/// The upper half of a hash that nobody who writes a list can foresee.
fn tag_of(hasher: &RandomState, name: &str) -> u32 {
    u32::try_from(hasher.hash_one(name) >> 32).unwrap_or_default()
}

/// A position as rows hold it. Lists are bounded far below four thousand million of anything.
pub(super) fn number(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(NONE)
}
