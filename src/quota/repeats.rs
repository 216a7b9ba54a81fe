//! Requests that a client may send again under the same `Idempotency-Key`.
//!
//! Bounded, and forgotten after a while: a repeat that comes later is a request of its own. Until the upstream was seen to
//! honour keys, a tenant's repeats go one by one: were each of them to start another sandbox, the first would show it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::account::{Account, Claim, End, Slot, Tick};
use crate::target::SandboxId;

/// Keys remembered for one tenant.
const CAPACITY: usize = 256;
/// How long after its first request.
const LIFETIME: Duration = Duration::from_secs(600);

/// The keys of one tenant.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    keys: HashMap<Box<str>, Keyed>,
    /// A repeat is under way of which nobody knows whether the upstream takes it for one.
    pub(super) on_trial: bool,
}

#[derive(Debug)]
struct Keyed {
    first: Instant,
    outcome: Outcome,
    is_repeated: bool,
}

impl Keyed {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.first) < LIFETIME
    }
}

#[derive(Clone, Debug)]
enum Outcome {
    /// As that of this slot, while there is one.
    Slot(Tick),
    /// This sandbox.
    Bound(SandboxId),
}

/// What a request with a key is.
pub(super) enum Repeat {
    /// The first one, as far as anybody remembers.
    First,
    /// Another one while the first, or a repeat, is under way.
    Busy,
    /// A repeat, which holds this.
    Of(Claim),
}

impl Account {
    /// Looks a request's key up. `honoured` says whether the upstream was seen to honour keys.
    pub(super) fn repeat(&mut self, key: &str, honoured: bool, now: Instant) -> Repeat {
        let Repeats { keys, on_trial } = &mut self.repeats;
        let Some(keyed) = keys.get_mut(key) else { return Repeat::First };
        if !keyed.is_fresh(now) {
            return Repeat::First;
        }
        let must_wait = *on_trial && !honoured;
        let claim = match &keyed.outcome {
            Outcome::Slot(tick) => match self.slots.get_mut(tick) {
                None => return Repeat::First,
                Some(Slot::Flight { .. }) => return Repeat::Busy,
                Some(Slot::Doubt(_)) if must_wait => return Repeat::Busy,
                Some(slot @ Slot::Doubt(_)) => {
                    *slot = Slot::Flight { again: true };
                    Claim::Slots(vec![*tick], Some(key.into()))
                }
            },
            Outcome::Bound(id) if !self.known.contains_key(id) => return Repeat::First,
            Outcome::Bound(_) if keyed.is_repeated || must_wait => return Repeat::Busy,
            Outcome::Bound(id) => {
                keyed.is_repeated = true;
                Claim::Repeat(id.clone(), key.into())
            }
        };
        *on_trial = !honoured;
        Repeat::Of(claim)
    }
}

impl Repeats {
    /// Remembers the first request under a key.
    pub(super) fn begin(&mut self, key: &str, slot: Tick, now: Instant) {
        self.keys.retain(|_, keyed| keyed.is_fresh(now));
        if self.keys.len() >= CAPACITY
            && let Some(oldest) = self.keys.iter().min_by_key(|(_, keyed)| keyed.first)
        {
            let oldest = oldest.0.clone();
            self.keys.remove(&oldest);
        }
        let keyed = Keyed { first: now, outcome: Outcome::Slot(slot), is_repeated: false };
        self.keys.insert(key.into(), keyed);
    }

    /// The request that held the slot is over.
    pub(super) fn settled(&mut self, key: &str, end: End<'_>) {
        if let (End::Bound([id, ..]), Some(keyed)) = (end, self.keys.get_mut(key)) {
            keyed.outcome = Outcome::Bound(id.clone());
        }
    }

    /// A repeat of a request that had succeeded is over.
    pub(super) fn ended(&mut self, key: &str) {
        self.on_trial = false;
        if let Some(keyed) = self.keys.get_mut(key) {
            keyed.is_repeated = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_in_number_and_in_time() {
        let (mut repeats, start) = (Repeats::default(), tokio::time::Instant::now().into_std());
        for slot in 0..1000 {
            repeats.begin(&slot.to_string(), slot, start + Duration::from_millis(slot));
        }
        assert_eq!(repeats.keys.len(), CAPACITY);
        assert!(repeats.keys.contains_key("999") && !repeats.keys.contains_key("0"));
        repeats.begin("later", 1000, start + LIFETIME + Duration::from_secs(1));
        assert_eq!(repeats.keys.len(), 1);
    }
}
