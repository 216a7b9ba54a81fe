//! Key lists on their way to a set: entries as they are read, with where they stand, and what is wrong with them.
//!
//! Entries go straight into the rows of the set to come. What only messages need goes when the set is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::blocks::Blocks;
use super::index::Index;
use super::rows::{NONE, Row, Said, Shared};
use super::set::id_tag;
use super::{KeyDigest, KeyFault, KeyProblem, KeySet, Place};
use crate::principal::{Scope, TenantId};

/// The edition of the next set.
static EDITION: AtomicU32 = AtomicU32::new(1);

/// What the lists read so far hold.
#[derive(Default)]
pub struct KeyDraft {
    rows: Blocks<Row>,
    spots: Blocks<Spot>,
    pub(super) shared: Shared,
    plain: Index,
    sources: Vec<Arc<str>>,
    problems: Vec<KeyProblem>,
}

/// Where an entry stands, compact.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    /// The number of the list.
    pub(super) list: u32,
    /// Line and column, counted from 1; 0 in lists without lines.
    pub(super) position: (u32, u32),
    /// The number of the entry, counted from 1; 0 when the list as a whole is meant.
    pub(super) entry: u32,
}

impl std::fmt::Debug for KeyDraft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyDraft({} entries, {} problems)", self.rows.len(), self.problems.len())
    }
}

impl KeyDraft {
    /// Begins a list. Returns its number.
    pub(super) fn begin(&mut self, source: &str) -> u32 {
        self.sources.push(source.into());
        super::rows::number(self.sources.len() - 1)
    }

    /// Adds an entry.
    pub(super) fn add(&mut self, spot: Spot, tenant: u32, digest: KeyDigest, said: Said<'_>) {
        let facts = self.shared.note(tenant, said, &mut self.plain);
        self.rows.push(Row { digest, facts, since: 0, next: NONE });
        self.spots.push(spot);
    }

    /// Adds a problem.
    pub(super) fn fault(&mut self, spot: Spot, tenant: Option<TenantId>, fault: KeyFault) {
        self.problems.push(KeyProblem { place: self.place(spot), tenant, fault });
    }

    fn place(&self, spot: Spot) -> Place {
        let (line, column) = spot.position;
        Place {
            source: self.sources.get(spot.list as usize).cloned().unwrap_or_default(),
            position: (line > 0).then_some((line as usize, column as usize)),
            entry: (spot.entry > 0).then_some(spot.entry as usize),
        }
    }

    /// The set of all entries. Those that say the same of the same key are one; those that `previous` holds as well are
    /// the very keys that they were there.
    ///
    /// # Errors
    /// Every problem of every entry; where there is none, one for each entry that contradicts an earlier one about its
    /// key.
    pub fn finish(mut self, previous: Option<&KeySet>) -> Result<KeySet, Vec<KeyProblem>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let mut by_digest = self.by_digest();
        if !by_digest.1.is_empty() {
            for (first, second) in &by_digest.1 {
                self.compare(*first, *second);
            }
            if !self.problems.is_empty() {
                return Err(self.problems);
            }
            self.leave_out(&by_digest.1);
            by_digest = self.by_digest();
        }
        self.spots = Blocks::default();
        self.rows.shrink();
        self.shared.shrink();
        let mut set = KeySet {
            by_digest: by_digest.0,
            edition: EDITION.fetch_add(1, Ordering::Relaxed),
            previous: previous.map_or(0, KeySet::edition),
            ..KeySet::default()
        };
        let ids: Vec<_> =
            (0..self.rows.len()).map(|row| id_tag(self.settle(&mut set, previous, row))).collect();
        let (by_id, _) = Index::of(&ids, |_, _| false);
        Ok(KeySet { rows: self.rows, shared: self.shared, by_id, ..set })
    }

    fn by_digest(&self) -> (Index, Vec<(u32, u32)>) {
        let digest = |row| self.rows.get(row).map(|row| row.digest);
        let tags = (0..self.rows.len()).filter_map(digest).map(|digest| digest.tag());
        Index::of(&tags.collect::<Vec<_>>(), |one, other| digest(one) == digest(other))
    }

    /// Removes rows, the second of each of these pairs, which are in order.
    fn leave_out(&mut self, repeated: &[(u32, u32)]) {
        let mut repeated = repeated.iter().map(|(_, row)| *row).peekable();
        let mut len = 0;
        for at in 0..self.rows.len() {
            if repeated.next_if_eq(&at).is_none() {
                self.rows.copy(at, len);
                len += 1;
            }
        }
        self.rows.truncate(len);
    }

    /// Gives a row its place among the keys of its tenant, and in time. Returns its public id.
    fn settle(&mut self, set: &mut KeySet, previous: Option<&KeySet>, at: u32) -> u64 {
        let Some(mut row) = self.rows.get(at).copied() else { return 0 };
        let Some(facts) = self.shared.facts(row.facts) else { return 0 };
        let (owner, said) = (facts.tenant, self.shared.said(facts));
        let Some(tenant) = self.shared.id(owner) else { return 0 };
        let id = row.digest.id_number(tenant);
        if said.scopes.allows(Scope::Admin) {
            set.admins.push(at);
        }
        row.since = set.edition;
        let old = previous.and_then(|old| old.find(&row.digest));
        if let Some(old) = old.filter(|old| old.tenant() == tenant && old.said() == said) {
            row.since = old.since();
            set.kept += 1;
        }
        if let Some(to) = self.rows.get_mut(at) {
            *to = row;
        }
        let before = self.shared.append(owner, at);
        if let Some(before) = before.and_then(|before| self.rows.get_mut(before)) {
            before.next = at;
        }
        id
    }

    /// Notes a problem if the second entry says something else of the same key than the first.
    fn compare(&mut self, first: u32, second: u32) {
        let of = |row| {
            let facts = self.shared.facts(self.rows.get(row)?.facts)?;
            Some((facts.tenant, self.shared.said(facts)))
        };
        let Some(((one, a), (other, b))) = of(first).zip(of(second)) else { return };
        let what = if one != other {
            "tenant"
        } else if a.scopes != b.scopes {
            "set of scopes"
        } else if a.name != b.name {
            "name"
        } else if a != b {
            "validity"
        } else {
            return;
        };
        let tenant = self.shared.id(other).cloned();
        let Some((first, second)) =
            self.spots.get(first).copied().zip(self.spots.get(second).copied())
        else {
            return;
        };
        self.fault(second, tenant, KeyFault::Conflict { first: self.place(first), what });
    }
}
