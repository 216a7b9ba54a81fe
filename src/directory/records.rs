//! The records by id.
//!
//! A request to a sandbox reads one. Asking the upstream is coalesced in a place of its own, so that nothing of that is
//! paid for by those who find their record.

use std::future::Future;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use super::Slot;
use crate::clock;
use crate::shelf::Shelf;
use crate::target::SandboxId;

/// Records kept. One costs about 400 bytes.
const CAPACITY: usize = 100_000;
/// Questions whose answers others may be waiting for at the same time.
const QUESTIONS: u64 = 10_000;
/// An answer is on the shelf when those who wait for it wake up. Should one of them never wake, it goes by itself.
const ANSWER: Duration = Duration::from_secs(1);

/// See the module. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Records {
    shelf: Arc<Shelf<SandboxId, Slot, RandomState>>,
    questions: Cache<SandboxId, Slot>,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            shelf: Arc::new(Shelf::new(CAPACITY, RandomState::new())),
            questions: Cache::builder().max_capacity(QUESTIONS).time_to_live(ANSWER).build(),
        }
    }
}

impl Records {
    /// The record of an id, unless its time is over.
    pub(super) fn get(&self, id: &SandboxId) -> Option<Slot> {
        self.shelf.get(id, clock::instant())
    }

    /// Puts a record there, in place of any.
    pub(super) fn put(&self, id: SandboxId, slot: Slot) {
        let now = clock::instant();
        let until = now + slot.lifetime();
        self.shelf.put(id, slot, until, now);
    }

    /// Takes the record of an id away.
    pub(super) fn remove(&self, id: &SandboxId) {
        self.shelf.remove(id);
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

    #[tokio::test]
    async fn an_answer_is_kept_in_one_place_alone() {
        let (records, id) = (Records::default(), SandboxId::parse("i1").unwrap());
        let sandbox = Arc::new(sandbox("i1"));
        let slot = Slot { entry: Entry::Known(sandbox), since: Directory::default().now() };
        let answer = records.ask(&id, async { Ok::<_, ()>(slot) }).await;
        assert!(answer.is_ok() && records.get(&id).is_some());
        assert!(!records.questions.contains_key(&id));
        records.remove(&id);
        assert!(records.ask(&id, async { Err::<Slot, _>("no") }).await.is_err());
        assert!(records.get(&id).is_none());
    }
}
