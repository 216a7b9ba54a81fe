//! One tenant's account: the sandboxes counted, and the slots held for those that may come into being.
//!
//! A plain state machine: no lock, no clock, no I/O. What happened before what is told by ticks, numbers that only grow.
//! Why the count never falls short of what the upstream may hold is argued in the facade.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use super::repeats::Repeats;
use crate::target::SandboxId;

/// The order of events.
pub(super) type Tick = u64;

/// Ids remembered after they stopped counting.
const GONE: usize = 1024;

/// What is counted for one tenant.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Since when the tenant is limited, and therefore known by its sandboxes; none: only what is in flight is held.
    pub(super) watched: Option<Tick>,
    /// The mark of the newest listing taken in.
    pub(super) listed: Option<(Tick, Instant)>,
    pub(super) known: HashMap<SandboxId, Known>,
    /// By the tick of their opening.
    pub(super) slots: BTreeMap<Tick, Slot>,
    /// One entry for each slot that some sandbox in `known` is taken to have come from, so that the two count once: the
    /// tick at which the sandbox was found. Older slots alone can be where it came from.
    pub(super) shown: VecDeque<Tick>,
    pub(super) gone: Gone,
    pub(super) repeats: Repeats,
    /// When something was last asked for.
    pub(super) used: Option<Instant>,
}

/// A sandbox that counts.
#[derive(Debug)]
pub(super) struct Known {
    /// When an answer last proved it. A listing begun earlier says nothing against it.
    pub(super) since: Tick,
    /// Whether it has an entry in `shown`.
    pub(super) shown: bool,
    /// Whether the upstream ever said that it exists; if not, a request under way hopes to start it.
    pub(super) proven: bool,
    /// Requests under way that may start it.
    pub(super) users: u32,
    pub(super) doubt: Option<Doubt>,
}

impl Known {
    pub(super) const fn at(since: Tick) -> Self {
        Self { since, shown: false, proven: true, users: 0, doubt: None }
    }
}

/// Room for one sandbox.
#[derive(Debug)]
pub(super) enum Slot {
    /// Its request is under way.
    Flight {
        /// The request repeats one whose outcome was in doubt, and so is its own if it fails.
        again: bool,
    },
    /// Its request ended without a word.
    Doubt(Doubt),
}

/// An unknown outcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    /// When it arose.
    pub(super) tick: Tick,
    /// When the first listing answered since then was begun.
    pub(super) answered: Option<Instant>,
}

impl Doubt {
    pub(super) const fn at(tick: Tick) -> Self {
        Self { tick, answered: None }
    }
}

/// Ids that counted once, oldest first.
#[derive(Debug, Default)]
pub(super) struct Gone {
    ticks: HashMap<SandboxId, Tick>,
    order: VecDeque<SandboxId>,
}

impl Gone {
    pub(super) fn insert(&mut self, id: SandboxId, tick: Tick) {
        if self.ticks.insert(id.clone(), tick).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > GONE
            && let Some(oldest) = self.order.pop_front()
        {
            self.ticks.remove(&oldest);
        }
    }

    pub(super) fn get(&self, id: &SandboxId) -> Option<Tick> {
        self.ticks.get(id).copied()
    }
}

/// What a request holds of an account until its outcome is told.
#[derive(Debug)]
pub(super) enum Claim {
    /// Slots, and the key under which a repeat of the request finds them.
    Slots(Vec<Tick>, Option<Box<str>>),
    /// This sandbox, which counts already.
    Use(SandboxId),
    /// Nothing: it repeats the request that made this sandbox, under this key.
    Repeat(SandboxId, Box<str>),
    /// Nothing: nobody counts.
    Nothing,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End<'a> {
    /// These sandboxes run.
    Bound(&'a [SandboxId]),
    /// It started nothing, and never will.
    Released,
    /// Nobody knows.
    Doubted,
}

impl Account {
    /// What counts against the limit.
    pub(super) fn count(&self) -> usize {
        self.known.len() + self.pending()
    }

    /// Slots whose sandbox is not among the known ones.
    pub(super) fn pending(&self) -> usize {
        self.slots.len() - self.shown.len()
    }

    /// Outcomes that only a listing can tell.
    pub(super) fn doubts(&self) -> usize {
        let slots = self.slots.values().filter(|slot| matches!(slot, Slot::Doubt(_))).count();
        slots + self.known.values().filter(|known| known.doubt.is_some()).count()
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty() && self.slots.is_empty()
    }

    /// Whether so many more fit under `limit`. None always do.
    pub(super) fn has_room(&self, limit: u32, more: u32) -> bool {
        more == 0 || self.count().saturating_add(more as usize) <= limit as usize
    }

    /// Opens a slot for each tick.
    pub(super) fn open(&mut self, ticks: &[Tick]) {
        for tick in ticks {
            self.slots.insert(*tick, Slot::Flight { again: false });
        }
    }

    /// Takes over a slot that an earlier process left open.
    pub(super) fn restore(&mut self, tick: Tick) {
        self.watched.get_or_insert(tick);
        self.slots.insert(tick, Slot::Doubt(Doubt::at(tick)));
    }

    /// Takes up a sandbox that a request may start. It counts from now on, if it did not.
    pub(super) fn take_up(&mut self, id: &SandboxId, tick: Tick) -> Claim {
        let unproven = || Known { proven: false, ..Known::at(tick) };
        self.known.entry(id.clone()).or_insert_with(unproven).users += 1;
        Claim::Use(id.clone())
    }

    /// Ends a claim. The slots that closed go to `closed`. Tells whether a repeat led to the same sandbox as the request
    /// that it repeats, where that can be told.
    pub(super) fn settle(
        &mut self,
        claim: Claim,
        end: End<'_>,
        tick: Tick,
        closed: &mut Vec<Tick>,
    ) -> Option<bool> {
        match claim {
            Claim::Slots(slots, key) => {
                let again =
                    |slot| matches!(self.slots.get(slot), Some(Slot::Flight { again: true }));
                if slots.iter().any(again) {
                    self.repeats.on_trial = false;
                }
                self.settle_slots(slots, end, tick, closed);
                if let Some(key) = key {
                    self.repeats.settled(&key, end);
                }
            }
            Claim::Use(id) => self.settle_use(&id, end, tick),
            Claim::Repeat(id, key) => {
                self.repeats.ended(&key);
                if let End::Bound(ids) = end {
                    self.bind(ids, std::iter::empty(), tick, closed);
                    return Some(ids.iter().all(|bound| *bound == id));
                }
            }
            Claim::Nothing => {}
        }
        None
    }

    fn settle_slots(&mut self, slots: Vec<Tick>, end: End<'_>, tick: Tick, closed: &mut Vec<Tick>) {
        let mut slots = slots.into_iter();
        if let End::Bound(ids) = end {
            self.bind(ids, slots.by_ref(), tick, closed);
        }
        for slot in slots {
            match self.slots.get_mut(&slot) {
                // Of an unwatched tenant no listing would ever settle it.
                Some(state @ Slot::Flight { .. })
                    if end == End::Doubted && self.watched.is_some() =>
                {
                    *state = Slot::Doubt(Doubt::at(tick));
                }
                // The failure of a repeat says nothing of the first.
                Some(state @ Slot::Flight { again: true }) if end == End::Released => {
                    *state = Slot::Doubt(Doubt::at(tick));
                }
                Some(_) => self.close(slot, closed),
                None => {}
            }
        }
    }

    /// Counts what an answer named, each in place of a slot while there are any.
    fn bind(
        &mut self,
        ids: &[SandboxId],
        mut slots: impl Iterator<Item = Tick>,
        tick: Tick,
        closed: &mut Vec<Tick>,
    ) {
        for id in ids {
            let slot = slots.next();
            if self.watched.is_some() {
                match self.known.entry(id.clone()) {
                    Entry::Vacant(vacant) => {
                        vacant.insert(Known::at(tick));
                    }
                    Entry::Occupied(mut known) => {
                        let known = known.get_mut();
                        (known.since, known.proven) = (tick, true);
                        if slot.is_some() {
                            known.shown = false;
                            self.shown.pop_front();
                        }
                    }
                }
            }
            if let Some(slot) = slot {
                self.close(slot, closed);
            }
        }
    }

    fn settle_use(&mut self, id: &SandboxId, end: End<'_>, tick: Tick) {
        if let End::Bound(_) = end {
            let known = self.known.entry(id.clone()).or_insert_with(|| Known::at(tick));
            (known.since, known.proven, known.doubt) = (tick, true, None);
        }
        let Some(known) = self.known.get_mut(id) else { return };
        known.users = known.users.saturating_sub(1);
        if end == End::Doubted {
            known.doubt = Some(Doubt::at(tick));
        }
        if !known.proven && known.users == 0 && known.doubt.is_none() {
            self.forget(id, tick);
        }
    }

    /// A sandbox was killed, or turned out not to exist.
    pub(super) fn ended(&mut self, id: &SandboxId, tick: Tick) {
        match self.known.get_mut(id) {
            // What may start it still, or did without a word, may have come after the kill.
            Some(known) if known.users > 0 || known.doubt.is_some() => known.proven = false,
            Some(_) => self.forget(id, tick),
            None if self.slots.is_empty() => {}
            None => self.gone.insert(id.clone(), tick),
        }
    }

    /// Stops counting a sandbox.
    pub(super) fn forget(&mut self, id: &SandboxId, tick: Tick) {
        if let Some(known) = self.known.remove(id) {
            if known.shown {
                self.shown.pop_front();
            }
            self.gone.insert(id.clone(), tick);
        }
    }

    /// Closes a slot, and gives up taking sandboxes for its own that no slot left is old enough for.
    pub(super) fn close(&mut self, slot: Tick, closed: &mut Vec<Tick>) {
        if self.slots.remove(&slot).is_none() {
            return;
        }
        closed.push(slot);
        let oldest = self.slots.keys().next().copied();
        while let Some(found) = self.shown.front()
            && (self.shown.len() > self.slots.len() || oldest.is_none_or(|oldest| oldest > *found))
        {
            self.shown.pop_front();
        }
    }
}
