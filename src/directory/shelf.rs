//! The records by id: a bounded number of them, each for its time.
//!
//! A request to a sandbox reads one, in a few cache lines however many there are, and writes nothing but a mark that it
//! was read. Asking the upstream is coalesced in a place of its own, so that nothing of that is paid for by those who
//! find their record.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use moka::future::Cache;
use quick_cache::sync::{Cache as Records, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter};

use super::Slot;
use crate::clock;
use crate::target::SandboxId;

/// Records kept, about. One costs about 400 bytes.
const CAPACITY: u64 = 110_000;
/// Each has a part of the records and a lock. They are large, so that none is full long before the others.
const SHARDS: usize = 16;
/// A guess at how many records there are.
const USUAL: usize = 10_000;
/// After so many that are put there, those are taken away whose time is over.
const SWEEP: usize = 8192;
/// Questions whose answers others may be waiting for at the same time.
const QUESTIONS: u64 = 10_000;
/// An answer is on the shelf when those who wait for it wake up. Should one of them never wake, it goes by itself.
const ANSWER: Duration = Duration::from_secs(1);

/// See the module. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    records: Arc<Records<SandboxId, Record>>,
    puts: Arc<AtomicUsize>,
    questions: Cache<SandboxId, Slot>,
}

#[derive(Clone, Debug)]
struct Record {
    slot: Slot,
    until: Instant,
}

impl Default for Shelf {
    #[expect(clippy::expect_used, reason = "nothing is missing")]
    fn default() -> Self {
        let mut options = OptionsBuilder::new();
        options.shards(SHARDS).estimated_items_capacity(USUAL).weight_capacity(CAPACITY);
        let options = options.build().expect("both capacities are set");
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        let records = Records::with_options(options, UnitWeighter, hasher, lifecycle);
        let questions = Cache::builder().max_capacity(QUESTIONS).time_to_live(ANSWER).build();
        Self { records: Arc::new(records), puts: Arc::default(), questions }
    }
}

impl Shelf {
    /// The record of an id, unless its time is over.
    pub(super) fn get(&self, id: &SandboxId) -> Option<Slot> {
        let now = clock::instant();
        let record = self.records.get(id)?;
        if record.until > now {
            return Some(record.slot);
        }
        self.records.remove_if(id, |record| record.until <= now);
        None
    }

    /// Puts a record there, in place of any.
    pub(super) fn put(&self, id: SandboxId, slot: Slot) {
        let now = clock::instant();
        if self.puts.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            self.records.retain(|_, record| record.until > now);
        }
        let until = now + slot.lifetime();
        self.records.insert(id, Record { slot, until });
    }

    /// Takes the record of an id away.
    pub(super) fn remove(&self, id: &SandboxId) {
        self.records.remove(id);
    }

    /// What `asking` comes to, which is then the record of an id. Concurrent calls for one id share one.
    ///
    /// # Errors
    /// As `asking`; nothing is put there.
    pub(super) async fn ask<E: Send + Sync + 'static>(
        &self,
        id: &SandboxId,
        asking: impl Future<Output = Result<Slot, E>>,
    ) -> Result<Slot, Arc<E>> {
        let asking = async {
            let slot = asking.await?;
            self.put(id.clone(), slot.clone());
            Ok(slot)
        };
        let answer = self.questions.try_get_with_by_ref(id, asking).await;
        if answer.is_ok() {
            self.questions.invalidate(id).await;
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::tests::sandbox;
    use crate::directory::{Directory, Entry};

    fn id(number: usize) -> SandboxId {
        SandboxId::parse(&format!("i{number}")).unwrap()
    }

    fn some() -> Slot {
        Slot { entry: Entry::Known(Arc::new(sandbox("i0"))), since: Directory::default().now() }
    }

    #[test]
    fn as_many_fit_as_are_promised_and_not_many_more() {
        let (shelf, slot) = (Shelf::default(), some());
        (0..100_000).for_each(|number| shelf.put(id(number), slot.clone()));
        let kept = (0..100_000).filter(|number| shelf.records.contains_key(&id(*number))).count();
        assert_eq!(kept, 100_000);
        (100_000..300_000).for_each(|number| shelf.put(id(number), slot.clone()));
        assert!(shelf.records.len() <= 110_100, "{}", shelf.records.len());
    }

    #[test]
    fn those_in_use_stay_when_strangers_flood_it() {
        let (shelf, slot) = (Shelf::default(), some());
        (0..1_000).for_each(|number| shelf.put(id(number), slot.clone()));
        for round in 1..300 {
            (0..1_000).for_each(|number| drop(shelf.get(&id(number))));
            (0..1_000).for_each(|number| shelf.put(id(round * 1_000 + number), slot.clone()));
        }
        let kept = (0..1_000).filter(|number| shelf.get(&id(*number)).is_some()).count();
        assert_eq!(kept, 1_000);
    }

    #[test]
    fn what_is_over_is_gone() {
        let (shelf, slot) = (Shelf::default(), some());
        let over = Record { slot: slot.clone(), until: clock::instant() };
        shelf.records.insert(id(1), over.clone());
        assert!(shelf.get(&id(1)).is_none() && shelf.records.is_empty());
        // Whether anybody asks for it or not.
        shelf.records.insert(id(2), over);
        (0..SWEEP).for_each(|_| shelf.put(id(1), slot.clone()));
        assert!(!shelf.records.contains_key(&id(2)) && shelf.get(&id(1)).is_some());
        shelf.put(id(1), slot);
        assert!(shelf.get(&id(1)).is_some());
        shelf.remove(&id(1));
        assert!(shelf.get(&id(1)).is_none());
    }

    #[tokio::test]
    async fn an_answer_is_kept_on_the_shelf_alone() {
        let (shelf, slot) = (Shelf::default(), some());
        let answer = shelf.ask(&id(1), async { Ok::<_, ()>(slot) }).await;
        assert!(answer.is_ok() && shelf.get(&id(1)).is_some());
        assert!(!shelf.questions.contains_key(&id(1)));
        shelf.remove(&id(1));
        assert!(shelf.ask(&id(1), async { Err::<Slot, _>("no") }).await.is_err());
        assert!(shelf.get(&id(1)).is_none());
    }
}
