//! The set of keys in force: an immutable snapshot, replaced as a whole.
//!
//! A look-up reads a slot or two and a row, however many keys there are; see [`super::rows`] for how they lie. Each key
//! knows the edition of the set that first held it as it is: what two sets hold alike is the same key, and what came
//! back is not.

use std::fmt;

use super::KeyDigest;
use super::blocks::Blocks;
use super::digest::id_of;
use super::index::Index;
use super::rows::{Facts, NONE, Row, Said, Shared, Tenant};
use crate::clock::UnixTime;
use crate::principal::{KeyId, Principal, Revocation, Scopes, Source, TenantId};

/// The keys in force.
#[derive(Default)]
pub struct KeySet {
    pub(super) rows: Blocks<Row>,
    pub(super) shared: Shared,
    pub(super) by_digest: Index,
    pub(super) by_id: Index,
    /// For each row the next one of the same tenant.
    pub(super) next: Vec<u32>,
    pub(super) admins: Vec<u32>,
    pub(super) edition: u32,
    /// The edition that this one was made after, and how many of its keys are here as they were.
    pub(super) previous: u32,
    pub(super) kept: u32,
}

impl KeySet {
    /// Tells this set from every other that was made since the start.
    #[must_use]
    pub const fn edition(&self) -> u32 {
        self.edition
    }

    /// How many keys of `old` this set does not hold as they were: removed ones, and those whose entry changed.
    #[must_use]
    pub fn missing_from(&self, old: &Self) -> usize {
        let kept = if self.previous == old.edition { self.kept as usize } else { 0 };
        old.len().saturating_sub(kept)
    }

    /// A key by its digest. Its dates are the caller's to check.
    #[must_use]
    pub fn find(&self, digest: &KeyDigest) -> Option<Key<'_>> {
        let is_it = |number| self.rows.get(number).is_some_and(|row| row.digest == *digest);
        self.key(self.by_digest.find(digest.tag(), is_it)?)
    }

    /// A key by its public id.
    #[must_use]
    pub fn by_id(&self, id: &KeyId) -> Option<Key<'_>> {
        let digits = id.as_str();
        let is_canonical = digits.len() == 16
            && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let id = is_canonical.then(|| u64::from_str_radix(digits, 16).ok()).flatten()?;
        let is_it = |number| self.rows.get(number).is_some_and(|row| row.id == id);
        self.key(self.by_id.find(id_tag(id), is_it)?)
    }

    /// The keys of a tenant, in the order of their entries.
    pub fn of_tenant(&self, tenant: &TenantId) -> impl Iterator<Item = Key<'_>> {
        let tenant = self.shared.tenant(tenant.as_str()).unwrap_or(NONE);
        let first = self.shared.tenants.get(tenant as usize).map_or(NONE, |tenant| tenant.first);
        std::iter::successors(self.key(first), |key| self.key(*self.next.get(key.number as usize)?))
    }

    /// The keys with the admin scope, of whatever tenant.
    pub fn admins(&self) -> impl Iterator<Item = Key<'_>> {
        self.admins.iter().filter_map(|number| self.key(*number))
    }

    /// How many keys there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows.len() as usize
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.len() == 0
    }

    /// Every key, in the order of their entries.
    pub fn iter(&self) -> impl Iterator<Item = Key<'_>> {
        (0..self.rows.len()).filter_map(|number| self.key(number))
    }

    /// The key of a row.
    fn key(&self, number: u32) -> Option<Key<'_>> {
        let row = self.rows.get(number)?;
        let facts = self.shared.facts(row.facts)?;
        let owner = self.shared.owner(facts.tenant)?;
        Some(Key { shared: &self.shared, number, row, facts, owner })
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({} keys, {} tenants)", self.len(), self.shared.tenants.len())
    }
}

/// Where to look for a public id.
pub(super) fn id_tag(id: u64) -> u32 {
    u32::try_from(id >> 32).unwrap_or_default()
}

/// One key of a set.
#[derive(Clone, Copy)]
pub struct Key<'s> {
    shared: &'s Shared,
    number: u32,
    row: &'s Row,
    facts: &'s Facts,
    owner: &'s Tenant,
}

impl<'s> Key<'s> {
    /// What stands for it.
    #[must_use]
    pub const fn digest(&self) -> &'s KeyDigest {
        &self.row.digest
    }

    /// The edition of the set that first held it as it is.
    #[must_use]
    pub const fn since(&self) -> u32 {
        self.row.since
    }

    /// Whose it is.
    #[must_use]
    pub const fn tenant(&self) -> &'s TenantId {
        &self.owner.id
    }

    /// What its owner calls it.
    #[must_use]
    pub fn name(&self) -> Option<&'s str> {
        self.said().name
    }

    /// What it grants, never empty.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        self.said().scopes
    }

    /// Not valid before.
    #[must_use]
    pub fn not_before(&self) -> Option<UnixTime> {
        self.said().not_before
    }

    /// Not valid from here on.
    #[must_use]
    pub fn expires(&self) -> Option<UnixTime> {
        self.said().expires
    }

    /// Its public id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        id_of(self.row.id)
    }

    /// Whether its own dates let it be used at `now`.
    #[must_use]
    pub fn is_valid_at(&self, now: UnixTime) -> bool {
        let said = self.said();
        said.not_before.is_none_or(|from| now >= from)
            && said.expires.is_none_or(|until| now < until)
    }

    /// Who presents it. `revocation` is to fire when it leaves the set in force.
    #[must_use]
    pub fn principal(&self, revocation: Revocation) -> Principal {
        let said = self.said();
        Principal {
            key: self.id(),
            tenant: self.tenant().clone(),
            name: said.name.map(Into::into),
            scopes: said.scopes,
            not_before: said.not_before,
            expires: said.expires,
            max_sandboxes: None,
            source: Source::Static,
            revocation,
        }
    }

    /// What its entry says.
    pub(super) fn said(&self) -> Said<'s> {
        self.shared.said(self.facts)
    }
}

impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {}, {:?})", self.tenant(), self.scopes(), self.row.digest)
    }
}
