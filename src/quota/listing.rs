//! What a complete listing of a tenant's sandboxes proves, and what it doesn't.
//!
//! It proves what was there all the time between its beginning and its end. Of everything that came or went meanwhile
//! it may say anything.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::account::{Account, Doubt, Known, Slot, Tick};
use crate::target::SandboxId;

/// The beginning of a listing: taken before its first request is sent.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Its place among all events.
    pub tick: u64,
    /// When that was.
    pub at: Instant,
}

impl Account {
    /// Takes in the ids of all sandboxes, running or paused, that the upstream listed. False when a newer listing was
    /// taken in before, or when this one began before the tenant was watched: nothing changes then.
    ///
    /// An outcome in doubt is decided once the upstream has been answering for `grace`: until then it may still be at
    /// work on the request.
    pub(super) fn apply(
        &mut self,
        mark: Mark,
        ids: &HashSet<SandboxId>,
        grace: Duration,
        now: Tick,
        closed: &mut Vec<Tick>,
    ) -> bool {
        let is_newer = self.listed.is_none_or(|(tick, _)| mark.tick > tick);
        if !is_newer || self.watched.is_none_or(|since| mark.tick < since) {
            return false;
        }
        for id in ids {
            self.find(id, mark, now);
        }
        self.drop_absent(mark, ids, grace);
        self.decide_slots(mark, grace, closed);
        self.listed = Some((mark.tick, mark.at));
        true
    }

    /// Counts a sandbox that was listed.
    fn find(&mut self, id: &SandboxId, mark: Mark, now: Tick) {
        if let Some(known) = self.known.get_mut(id) {
            (known.proven, known.doubt) = (true, None);
            return;
        }
        let gone = self.gone.get(id);
        if gone.is_some_and(|tick| tick > mark.tick) {
            return;
        }
        // After the first listing, what is new came from a slot, save for what comes back.
        let shown = self.listed.is_some() && gone.is_none() && self.shown.len() < self.slots.len();
        if shown {
            self.shown.push_back(now);
        }
        self.known.insert(id.clone(), Known { shown, ..Known::at(mark.tick) });
    }

    /// Stops counting what was there before the listing began and is not in it.
    fn drop_absent(&mut self, mark: Mark, ids: &HashSet<SandboxId>, grace: Duration) {
        let mut absent = Vec::new();
        for (id, known) in &mut self.known {
            let is_over = known.doubt.as_mut().is_none_or(|doubt| doubt.is_over(mark, grace));
            if is_over && known.users == 0 && known.since < mark.tick && !ids.contains(id) {
                absent.push(id.clone());
            }
        }
        for id in absent {
            self.forget(&id, mark.tick);
        }
    }

    /// Closes slots whose sandbox would have been listed if there were one. Which of the sandboxes found it is, if any,
    /// stays unknown: one of them counts for itself from now on.
    fn decide_slots(&mut self, mark: Mark, grace: Duration, closed: &mut Vec<Tick>) {
        let mut decided = Vec::new();
        for (tick, slot) in &mut self.slots {
            if let Slot::Doubt(doubt) = slot
                && doubt.is_over(mark, grace)
            {
                decided.push(*tick);
            }
        }
        for slot in decided {
            self.shown.pop_front();
            self.close(slot, closed);
        }
    }
}

impl Doubt {
    /// Whether the listing begun at `mark` decides it.
    fn is_over(&mut self, mark: Mark, grace: Duration) -> bool {
        if self.tick >= mark.tick {
            return false;
        }
        let answered = *self.answered.get_or_insert(mark.at);
        mark.at.saturating_duration_since(answered) >= grace
    }
}
