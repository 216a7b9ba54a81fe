//! Which sandboxes were killed, and in which order that was with what the upstream was asked.
//!
//! Every request that knows a sandbox from before some kill asks here, so that the usual answer takes one look at a
//! table and no lock. The table only rules out; what it can't is looked up among the recent kills. Those are let go by
//! age and by number, and from then on outdate whatever is older, of any sandbox: nothing is believed for having been
//! forgotten.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::target::SandboxId;

/// Places of the table: 128 KiB, made with the first kill.
const PLACES: usize = 16 * 1024;
/// How long each kill is known by its id, at least: longer than any record lives, and than any answer takes to come.
const KNOWN_FOR: Duration = Duration::from_secs(900);
/// At how many they are let go sooner. One takes about 40 bytes.
const MOST: usize = 100_000;

/// A point between kills. What was asked at a moment counts for nothing about a sandbox that was killed after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Kills {
    /// How many there were: the current [`Moment`].
    count: AtomicU64,
    /// The latest kill of each id that falls into a place, or a later one of another such id. Never forgets.
    places: OnceLock<Box<[AtomicU64]>>,
    recent: Mutex<Recent>,
    hasher: RandomState,
    most: usize,
}

/// Two generations: when the younger one is full or old enough, the older one is let go.
#[derive(Debug, Default)]
struct Recent {
    young: Generation,
    old: Generation,
    /// The last kill that was let go.
    forgotten: u64,
}

#[derive(Debug, Default)]
struct Generation {
    begun: Option<Instant>,
    /// By the hash of the id. Two ids of one hash would only be asked about once more than they need.
    kills: HashMap<u64, u64>,
    last: u64,
}

impl Default for Kills {
    fn default() -> Self {
        Self::with_most(MOST)
    }
}

impl Kills {
    fn with_most(most: usize) -> Self {
        let (count, places, recent) = (AtomicU64::new(0), OnceLock::new(), Mutex::default());
        Self { count, places, recent, hasher: RandomState::new(), most }
    }

    /// The current moment.
    pub(super) fn now(&self) -> Moment {
        Moment(self.count.load(Ordering::Acquire))
    }

    /// Takes note of a kill.
    pub(super) fn note(&self, id: &SandboxId, now: Instant) {
        let hash = self.hasher.hash_one(id);
        let mut recent = self.recent();
        let kill = self.count.fetch_add(1, Ordering::AcqRel) + 1;
        recent.note(hash, kill, now, self.most);
        drop(recent);
        let places =
            self.places.get_or_init(|| (0..PLACES).map(|_| AtomicU64::default()).collect());
        if let Some(place) = places.get(place(hash)) {
            place.fetch_max(kill, Ordering::AcqRel);
        }
    }

    /// Whether a sandbox was certainly not killed after `since`.
    pub(super) fn none_since(&self, id: &SandboxId, Moment(since): Moment) -> bool {
        if since == self.count.load(Ordering::Acquire) {
            return true;
        }
        let Some(places) = self.places.get() else { return true };
        let hash = self.hasher.hash_one(id);
        let latest = places.get(place(hash)).map_or(0, |place| place.load(Ordering::Acquire));
        latest <= since || self.recent().latest(hash) <= since
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        // Whole between statements, so a poisoned lock is as good as any.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
const fn place(hash: u64) -> usize {
    hash as usize % PLACES
}

impl Recent {
    fn note(&mut self, hash: u64, kill: u64, now: Instant, most: usize) {
        let begun = *self.young.begun.get_or_insert(now);
        let is_old = now.saturating_duration_since(begun) >= KNOWN_FOR;
        if is_old || self.young.kills.len() >= most / 2 {
            let young = Generation { begun: Some(now), ..Generation::default() };
            let full = std::mem::replace(&mut self.young, young);
            let gone = std::mem::replace(&mut self.old, full);
            self.forgotten = self.forgotten.max(gone.last);
        }
        self.young.kills.insert(hash, kill);
        self.young.last = kill;
    }

    /// When a sandbox was killed last, or when some were of which it may have been one.
    fn latest(&self, hash: u64) -> u64 {
        let known = self.young.kills.get(&hash).or_else(|| self.old.kills.get(&hash));
        known.copied().unwrap_or(self.forgotten)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    fn id(number: usize) -> SandboxId {
        SandboxId::parse(&format!("i{number}")).unwrap()
    }

    #[test]
    fn a_kill_is_of_one_sandbox_and_outdates_what_was_before() {
        let (kills, now) = (Kills::default(), clock::instant());
        let before = kills.now();
        kills.note(&id(1), now);
        let after = kills.now();
        kills.note(&id(2), now);
        assert!(!kills.none_since(&id(1), before) && kills.none_since(&id(1), after));
        assert!(!kills.none_since(&id(2), after) && kills.none_since(&id(2), kills.now()));
        // However many share a place of the table.
        (3..3 * PLACES).for_each(|number| kills.note(&id(number), now));
        assert!(!kills.none_since(&id(1), before) && kills.none_since(&id(1), after));
        assert!((4 * PLACES..4 * PLACES + 100).all(|other| kills.none_since(&id(other), before)));
    }

    #[test]
    fn what_is_let_go_takes_no_memory_and_brings_nobody_back() {
        let (kills, start) = (Kills::default(), clock::instant());
        let held = || {
            let recent = kills.recent();
            recent.young.kills.len() + recent.old.kills.len()
        };
        let before = kills.now();
        (0..1000).for_each(|number| kills.note(&id(number), start));
        let last = kills.now();
        // All are known for as long as anything of before may be under way.
        kills.note(&id(1000), start + KNOWN_FOR);
        assert_eq!(held(), 1001);
        kills.note(&id(1001), start + KNOWN_FOR * 2);
        assert_eq!(held(), 2);
        assert!((0..1000).all(|number| !kills.none_since(&id(number), before)));
        assert!((0..1000).all(|number| kills.none_since(&id(number), last)));
    }

    #[test]
    fn their_number_is_bounded() {
        let (kills, now) = (Kills::with_most(100), clock::instant());
        let before = kills.now();
        (0..1000).for_each(|number| kills.note(&id(number), now));
        let recent = kills.recent();
        assert!(recent.young.kills.len() + recent.old.kills.len() <= 100);
        drop(recent);
        assert!((0..1000).all(|number| !kills.none_since(&id(number), before)));
    }

    proptest! {
        /// Whatever is killed when: nobody is taken for alive who was killed since, and nobody for killed before that
        /// many others were.
        #[test]
        fn agrees_with_a_list_of_all_kills(
            killed in proptest::collection::vec((0_usize..12, 0_u32..1200), 0..60),
            asked in 0_usize..60,
        ) {
            const MOST: usize = 20;
            let (kills, start) = (Kills::with_most(MOST), clock::instant());
            let (mut all, mut moments, mut now) = (Vec::new(), vec![kills.now()], start);
            for (number, seconds) in killed {
                now += Duration::from_secs(seconds.into());
                kills.note(&id(number), now);
                all.push((number, now));
                moments.push(kills.now());
            }
            let asked = asked.min(all.len());
            for number in 0..12 {
                let since = all.get(asked..).unwrap_or_default();
                let was_killed = since.iter().any(|(other, _)| *other == number);
                let says_none = kills.none_since(&id(number), moments[asked]);
                prop_assert!(!(was_killed && says_none));
                let is_recent = since.len() < MOST / 2
                    && since.first().is_none_or(|(_, at)| now - *at < KNOWN_FOR);
                prop_assert!(was_killed || says_none || !is_recent);
            }
        }
    }
}
