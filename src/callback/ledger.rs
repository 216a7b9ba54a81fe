//! In which order calls began, answers were forgotten and principals were purged.
//!
//! A call notes when it began; whatever it brings counts only as long as nothing was forgotten since. So nobody has to
//! clear a cache at the right moment: an answer that arrives late is put away and never used. Locks come from
//! [`super::sync`] alone, nothing here waits, and `tests/interleaving.rs` tries its schedules.

use std::collections::HashMap;
use std::hash::Hash;

use super::sync::atomic::{AtomicU64, Ordering};
use super::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A moment between two flushes or purges.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Epoch(u64);

/// What every live principal of one id shares.
pub(super) trait Revoke: Default {
    /// Ends them all, for good.
    fn revoke(&self);
}

/// The order of things. `K` is a principal's id.
#[derive(Debug)]
pub(super) struct Ledger<K, R> {
    /// The epoch that the last flush began; read without the lock at every request.
    flushed: AtomicU64,
    pages: Mutex<Pages<K, R>>,
}

#[derive(Debug)]
struct Pages<K, R> {
    epoch: u64,
    /// Purged ids, and the epoch that the purge began.
    dead: HashMap<K, u64>,
    live: HashMap<K, Weak<R>>,
    /// At how many entries `live` is cleared of those that nobody holds any more.
    clean_at: usize,
}

const CLEAN_AT_LEAST: usize = 1024;

impl<K: Clone + Eq + Hash, R: Revoke> Ledger<K, R> {
    /// A ledger that starts with these purged ids.
    pub(super) fn new(dead: impl IntoIterator<Item = K>) -> Self {
        let dead = dead.into_iter().map(|id| (id, 0)).collect();
        let live = HashMap::new();
        let pages = Pages { epoch: 0, dead, live, clean_at: CLEAN_AT_LEAST };
        Self { flushed: AtomicU64::new(0), pages: Mutex::new(pages) }
    }

    /// Now, for a call that begins.
    pub(super) fn begin(&self) -> Epoch {
        Epoch(self.lock().epoch)
    }

    /// Whether nothing was flushed since `began`. Takes no lock.
    pub(super) fn is_current(&self, began: Epoch) -> bool {
        self.flushed.load(Ordering::Acquire) <= began.0
    }

    /// Who an answer names: the first of `ids`, an identity's from its first to its latest, that is not dead; with what
    /// all principals of that id share. `None` when the call began before a flush, or before a purge of that identity.
    pub(super) fn admit(
        &self,
        began: Epoch,
        ids: impl IntoIterator<Item = K>,
    ) -> Option<(K, Arc<R>)> {
        let mut pages = self.lock();
        if !self.is_current(began) {
            return None;
        }
        pages.first_alive(ids, Some(began))
    }

    /// The first of `ids` that is not dead, whatever was flushed.
    pub(super) fn current(&self, ids: impl IntoIterator<Item = K>) -> Option<(K, Arc<R>)> {
        self.lock().first_alive(ids, None)
    }

    /// Forgets every answer of a call that began before this.
    pub(super) fn flush(&self) {
        let mut pages = self.lock();
        pages.epoch += 1;
        self.flushed.store(pages.epoch, Ordering::Release);
    }

    /// Ends the principals of `id`, those of calls under way included. Whether any was live.
    pub(super) fn purge(&self, id: &K) -> bool {
        let mut pages = self.lock();
        pages.epoch += 1;
        let epoch = pages.epoch;
        pages.dead.insert(id.clone(), epoch);
        let live = pages.live.remove(id).and_then(|held| held.upgrade());
        // Revoking wakes tasks, which may want the lock.
        drop(pages);
        live.inspect(|shared| shared.revoke()).is_some()
    }

    /// Every purged id.
    pub(super) fn dead(&self) -> Vec<K> {
        self.lock().dead.keys().cloned().collect()
    }

    /// Every change is a single insertion or store; a panic elsewhere leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Pages<K, R>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, R: Revoke> Pages<K, R> {
    fn first_alive(
        &mut self,
        ids: impl IntoIterator<Item = K>,
        began: Option<Epoch>,
    ) -> Option<(K, Arc<R>)> {
        for id in ids {
            match self.dead.get(&id) {
                Some(purged) if began.is_some_and(|began| *purged > began.0) => return None,
                Some(_) => {}
                None => {
                    let shared = self.shared(&id);
                    return Some((id, shared));
                }
            }
        }
        None
    }

    fn shared(&mut self, id: &K) -> Arc<R> {
        if let Some(shared) = self.live.get(id).and_then(Weak::upgrade) {
            return shared;
        }
        if self.live.len() >= self.clean_at {
            self.live.retain(|_, held| held.strong_count() > 0);
            self.clean_at = (2 * self.live.len()).max(CLEAN_AT_LEAST);
        }
        let shared = Arc::new(R::default());
        self.live.insert(id.clone(), Arc::downgrade(&shared));
        shared
    }
}
