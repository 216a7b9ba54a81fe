//! A bounded number of things by key, each for its time.
//!
//! To find one takes a few cache lines however many there are, and the lock of its part, shared with all who look there;
//! only who puts something there, or sweeps, has a part alone. Those that nobody looks at go first. Reads no clock:
//! whoever asks says what time it is.

use std::convert::Infallible;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, UnitWeighter};

/// Each has a part of the things and a lock. They are few, so that none is full long before the others.
const SHARDS: usize = 16;
/// After so many that are put there, those are taken away whose time is over.
const SWEEP: usize = 8192;
/// How much more room there is than was asked for, as a part of it: shards are not filled evenly.
const SPARE: usize = 10;

/// See the module.
#[derive(Debug)]
pub struct Shelf<K, V, S> {
    things: Cache<K, Thing<V>, UnitWeighter, S>,
    puts: AtomicUsize,
}

#[derive(Clone, Debug)]
struct Thing<V> {
    what: V,
    until: Instant,
}

impl<K: Hash + Eq + Clone, V: Clone, S: BuildHasher + Clone> Shelf<K, V, S> {
    /// With room for `capacity` of them; there may be a tenth more.
    ///
    /// # Panics
    /// Never: nothing that the options need is missing.
    #[must_use]
    pub fn new(capacity: usize, hasher: S) -> Self {
        Self::with_options(OptionsBuilder::new(), capacity, hasher)
    }

    /// With room for `capacity` of those that were looked at again, and for as many that came last, whether anybody has
    /// looked at them again or not.
    ///
    /// # Panics
    /// Never: nothing that the options need is missing.
    #[must_use]
    pub fn for_newcomers(capacity: usize, hasher: S) -> Self {
        let mut options = OptionsBuilder::new();
        options.hot_allocation(0.5);
        Self::with_options(options, 2 * capacity, hasher)
    }

    #[expect(clippy::expect_used, reason = "both capacities are set")]
    fn with_options(mut options: OptionsBuilder, capacity: usize, hasher: S) -> Self {
        let room = capacity + capacity / SPARE;
        // The guess at how many there will be is a modest one.
        options.shards(SHARDS).estimated_items_capacity(capacity / 10).weight_capacity(room as u64);
        let options = options.build().expect("both capacities are set");
        let things =
            Cache::with_options(options, UnitWeighter, hasher, DefaultLifecycle::default());
        Self { things, puts: AtomicUsize::new(0) }
    }

    /// What there is under `key`, unless its time is over.
    pub fn get(&self, key: &K, now: Instant) -> Option<V> {
        self.get_until(key, now).map(|(what, _)| what)
    }

    /// The same, and when its time is over.
    pub fn get_until(&self, key: &K, now: Instant) -> Option<(V, Instant)> {
        if self.was_never_used() {
            return None;
        }
        let thing = self.things.get(key)?;
        if thing.until > now {
            return Some((thing.what, thing.until));
        }
        self.things.remove_if(key, |thing| thing.until <= now);
        None
    }

    /// Puts something there until a moment, in place of any.
    pub fn put(&self, key: K, what: V, until: Instant, now: Instant) {
        self.things.insert(key, Thing { what, until });
        self.note_put(now);
    }

    /// What there is under `key`, or else what `make` puts there until a moment, once for all who want it meanwhile; and
    /// when its time is over.
    pub fn get_or_put(
        &self,
        key: &K,
        until: Instant,
        now: Instant,
        make: impl FnOnce() -> V,
    ) -> (V, Instant) {
        if let Some(found) = self.get_until(key, now) {
            return found;
        }
        let made = || Ok::<_, Infallible>(Thing { what: make(), until });
        let Ok(thing) = self.things.get_or_insert_with(key, made);
        self.note_put(now);
        (thing.what, thing.until)
    }

    /// Counts what was put there, and sweeps when that was enough.
    fn note_put(&self, now: Instant) {
        let puts = self.puts.fetch_add(1, Ordering::AcqRel);
        if puts % SWEEP == SWEEP - 1 {
            self.things.retain(|_, thing| thing.until > now);
        }
    }

    /// Takes away what there is under `key`.
    pub fn remove(&self, key: &K) {
        if !self.was_never_used() {
            self.things.remove(key);
        }
    }

    /// Whether nothing was ever put there. Where a service has none of its answers remembered, that is all that a look costs.
    fn was_never_used(&self) -> bool {
        self.puts.load(Ordering::Acquire) == 0
    }

    /// How many there are, those included whose time is over.
    #[must_use]
    pub fn len(&self) -> usize {
        self.things.len()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.things.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;
    use std::ops::Range;
    use std::time::Duration;

    use super::*;
    use crate::clock;

    const HOUR: Duration = Duration::from_secs(3600);

    fn shelf(capacity: usize) -> Shelf<usize, (), RandomState> {
        Shelf::new(capacity, RandomState::new())
    }

    #[test]
    fn as_many_fit_as_are_promised_and_not_many_more() {
        let (shelf, now) = (shelf(100_000), clock::instant());
        (0..100_000).for_each(|key| shelf.put(key, (), now + HOUR, now));
        assert!((0..100_000).all(|key| shelf.get(&key, now).is_some()));
        (100_000..300_000).for_each(|key| shelf.put(key, (), now + HOUR, now));
        assert!(shelf.len() <= 110_100, "{}", shelf.len());
    }

    #[test]
    fn those_in_use_stay_when_strangers_flood_it() {
        let (shelf, now) = (shelf(100_000), clock::instant());
        (0..1_000).for_each(|key| shelf.put(key, (), now + HOUR, now));
        for round in 1..300 {
            (0..1_000).for_each(|key| _ = shelf.get(&key, now));
            (0..1_000).for_each(|key| shelf.put(round * 1_000 + key, (), now + HOUR, now));
        }
        assert_eq!((0..1_000).filter(|key| shelf.get(key, now).is_some()).count(), 1_000);
    }

    #[test]
    fn newcomers_are_let_in_when_it_is_full_of_those_in_use() {
        let (shelf, now) = (shelf(10_000), clock::instant());
        for _ in 0..3 {
            (0..11_000).for_each(|key| shelf.put(key, (), now + HOUR, now));
            (0..11_000).for_each(|key| _ = shelf.get(&key, now));
        }
        for newcomer in 20_000..21_000 {
            shelf.put(newcomer, (), now + HOUR, now);
            assert!(shelf.get(&newcomer, now).is_some(), "{newcomer}");
        }
        assert!((20_900..21_000).all(|newcomer| shelf.get(&newcomer, now).is_some()));
    }

    #[test]
    fn newcomers_have_as_much_room_as_those_in_use_where_that_was_asked_for() {
        let (shelf, now) = (Shelf::for_newcomers(100_000, RandomState::new()), clock::instant());
        let in_use = 0..100_000;
        for _ in 0..3 {
            in_use.clone().for_each(|key| shelf.put(key, (), now + HOUR, now));
            in_use.clone().for_each(|key| _ = shelf.get(&key, now));
        }
        let newcomers = 200_000..300_000;
        newcomers.clone().for_each(|key| shelf.put(key, (), now + HOUR, now));
        let left = |keys: Range<usize>| keys.filter(|key| shelf.get(key, now).is_some()).count();
        assert_eq!((left(newcomers), left(in_use)), (100_000, 100_000));
        assert!(shelf.len() <= 220_100, "{}", shelf.len());
    }

    #[test]
    fn what_is_wanted_by_many_at_once_is_made_once() {
        let (shelf, now) = (Shelf::new(100, RandomState::new()), clock::instant());
        let made = AtomicUsize::new(0);
        let (until, later) = (now + HOUR, now + HOUR * 2);
        let make = || made.fetch_add(1, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(shelf.get_or_put(&1, until, now, make), (0, until)));
            }
        });
        assert_eq!(shelf.get_or_put(&1, later, until, make), (1, later));
        assert_eq!(shelf.get_or_put(&1, later + HOUR, until, make), (1, later));
    }

    #[test]
    fn what_is_over_is_gone() {
        let (shelf, now) = (shelf(100), clock::instant());
        shelf.put(1, (), now + HOUR, now);
        assert!(shelf.get(&1, now + HOUR / 2).is_some());
        assert!(shelf.get(&1, now + HOUR).is_none() && shelf.is_empty());
        // Whether anybody asks for it or not.
        shelf.put(2, (), now + HOUR, now);
        let later = now + HOUR;
        (0..SWEEP).for_each(|_| shelf.put(1, (), later + HOUR, later));
        assert_eq!(shelf.len(), 1);
        assert!(shelf.get(&1, later).is_some());
        shelf.remove(&1);
        assert!(shelf.get(&1, later).is_none() && shelf.is_empty());
    }
}
