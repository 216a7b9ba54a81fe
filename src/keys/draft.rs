//! Key lists on their way to a set: entries as they are read, with where they stand, and what is wrong with them.
//!
//! Entries go straight into the rows of the set to come. What only messages need goes when the set is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::blocks::Blocks;
use super::index::Index;
use super::rows::{NONE, Row, Said, Shared, number};
use super::set::id_tag;
use super::{KeyDigest, KeyFault, KeyProblem, KeySet, Place};
use crate::principal::{Scope, TenantId};

/// The edition of the next set.
static EDITION: AtomicU32 = AtomicU32::new(1);

/// What the lists read so far hold.
#[derive(Default)]
pub struct KeyDraft {
    rows: Blocks<Row>,
    /// For rows that stand elsewhere than at the beginning of a line, in which column.
    columns: Vec<(u32, u32)>,
    pub(super) shared: Shared,
    plain: Index,
    /// Where lists are from, and the first row of each.
    sources: Vec<(Arc<str>, u32)>,
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
        self.sources.push((source.into(), self.rows.len()));
        number(self.sources.len() - 1)
    }

    /// Adds an entry.
    pub(super) fn add(&mut self, spot: Spot, tenant: u32, digest: KeyDigest, said: Said<'_>) {
        let facts = self.shared.note(tenant, said, &mut self.plain);
        let (line, column) = spot.position;
        if line > 0 && column != 1 {
            self.columns.push((self.rows.len(), column));
        }
        self.rows.push(Row { digest, id: 0, facts, since: line });
    }

    /// Adds a problem.
    pub(super) fn fault(&mut self, spot: Spot, tenant: Option<TenantId>, fault: KeyFault) {
        self.problems.push(KeyProblem { place: self.place(spot), tenant, fault });
    }

    fn place(&self, spot: Spot) -> Place {
        let (line, column) = spot.position;
        Place {
            source: self
                .sources
                .get(spot.list as usize)
                .map(|(source, _)| source.clone())
                .unwrap_or_default(),
            position: (line > 0).then_some((line as usize, column as usize)),
            entry: (spot.entry > 0).then_some(spot.entry as usize),
        }
    }

    /// Where a row stands, as long as all entries have rows.
    fn spot(&self, row: u32) -> Spot {
        let list = self.sources.partition_point(|(_, first)| *first <= row).saturating_sub(1);
        let first = self.sources.get(list).map_or(0, |(_, first)| *first);
        let aside = self.columns.binary_search_by_key(&row, |(row, _)| *row).ok();
        let column = aside.and_then(|at| self.columns.get(at)).map_or(1, |(_, column)| *column);
        let line = self.rows.get(row).map_or(0, |row| row.since);
        Spot { list: number(list), position: (line, column), entry: row.saturating_sub(first) + 1 }
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
        // One list for what is needed of each row, one thing after the other: there may be a million of them.
        let mut numbers = Vec::new();
        let (mut by_digest, repeated) = self.by_digest(&mut numbers);
        if !repeated.is_empty() {
            for (first, second) in &repeated {
                self.compare(*first, *second);
            }
            if !self.problems.is_empty() {
                return Err(self.problems);
            }
            self.leave_out(&repeated);
            (by_digest, _) = self.by_digest(&mut numbers);
        }
        self.rows.shrink();
        self.shared.shrink();
        let mut set = KeySet {
            by_digest,
            edition: EDITION.fetch_add(1, Ordering::Relaxed),
            previous: previous.map_or(0, KeySet::edition),
            ..KeySet::default()
        };
        for (number, row) in numbers.iter_mut().zip(0..) {
            *number = id_tag(self.settle(&mut set, previous, row));
        }
        (set.by_id, _) = Index::of(&numbers, |_, _| false);
        self.chain(&mut numbers);
        Ok(KeySet { rows: self.rows, shared: self.shared, next: numbers, ..set })
    }

    /// The rows by digest, and those that are of the same key as an earlier one. `tags` is where to put their tags.
    fn by_digest(&self, tags: &mut Vec<u32>) -> (Index, Vec<(u32, u32)>) {
        let digest = |row| self.rows.get(row).map(|row| row.digest);
        tags.clear();
        tags.reserve_exact(self.rows.len() as usize);
        tags.extend((0..self.rows.len()).filter_map(digest).map(|digest| digest.tag()));
        Index::of(tags, |one, other| digest(one) == digest(other))
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

    /// Finds out since when a row has been as it is, and what is said of it besides. Returns its public id.
    fn settle(&mut self, set: &mut KeySet, previous: Option<&KeySet>, at: u32) -> u64 {
        let Some(row) = self.rows.get_mut(at) else { return 0 };
        let Some(facts) = self.shared.facts(row.facts) else { return 0 };
        let said = self.shared.said(facts);
        let Some(tenant) = self.shared.id(facts.tenant) else { return 0 };
        if said.scopes.allows(Scope::Admin) {
            set.admins.push(at);
        }
        row.since = set.edition;
        let old = previous.and_then(|old| old.find(&row.digest));
        if let Some(old) = old.filter(|old| old.tenant() == tenant && old.said() == said) {
            row.since = old.since();
            set.kept += 1;
        }
        row.id = row.digest.id_number(tenant);
        row.id
    }

    /// Puts in `next`, for each row, the next one of the same tenant.
    fn chain(&mut self, next: &mut Vec<u32>) {
        next.fill(NONE);
        for at in 0..self.rows.len() {
            let facts = self.rows.get(at).and_then(|row| self.shared.facts(row.facts));
            let before =
                facts.map(|facts| facts.tenant).and_then(|tenant| self.shared.append(tenant, at));
            if let Some(link) = before.and_then(|before| next.get_mut(before as usize)) {
                *link = at;
            }
        }
        next.shrink_to_fit();
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
        let first = self.place(self.spot(first));
        self.fault(self.spot(second), tenant, KeyFault::Conflict { first, what });
    }
}
