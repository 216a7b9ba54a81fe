//! The directory of sandboxes: id → record, learnt from answers passing by or by asking the upstream.
//!
//! Bounded; look-ups of the same id are coalesced; an absent sandbox is remembered briefly. What was asked before a
//! sandbox was killed and answered after says nothing any more: every record carries the moment from which it counts,
//! and a kill outdates all before it. It holds what the upstream and the gateway's own record said, and decides nothing.

mod keepsakes;
mod kills;
mod lifetimes;
mod lists;
mod records;
mod strangers;

use std::future::Future;
use std::sync::Arc;

use moka::future::Cache;

use self::keepsakes::Keepsakes;
use self::kills::Kills;
pub use self::kills::Moment;
use self::lifetimes::{ABSENT_FOR, KNOWN_FOR};
use self::records::Records;
use crate::clock;
use crate::ownership::{Keeping, Ownership};
use crate::principal::TenantId;
use crate::sandbox::{Marker, Sandbox, State};
use crate::target::SandboxId;

/// Owners by lists, and denials, that are kept.
const CAPACITY: u64 = 100_000;
/// How many sandboxes are asked about at most before a list, to know whether all have their marker.
const DOUBTS: usize = 8;

/// What is known of an id.
#[derive(Clone, Debug)]
pub enum Entry {
    /// The upstream has it.
    Known(Arc<Sandbox>),
    /// The upstream does not.
    Absent,
}

impl Entry {
    /// The sandbox, if there is one.
    #[must_use]
    pub fn known(self) -> Option<Arc<Sandbox>> {
        match self {
            Self::Known(sandbox) => Some(sandbox),
            Self::Absent => None,
        }
    }
}

/// The upstream could not be asked, or answered nonsense. The cause is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upstream could not be asked about a sandbox")]
pub struct Unavailable;

/// What the upstream says of an id: its sandbox, or that there is none.
pub type Asked = Result<Option<Sandbox>, Unavailable>;

/// The directory. Cheap to clone; clones share the records.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Under every id that was asked for; aliases (`<id>-<clientID>`) hold a record with another id than their own.
    entries: Records,
    keepsakes: Keepsakes,
    kills: Arc<Kills>,
    ownership: Arc<Ownership>,
    /// Lists tell whose a sandbox is and none of its tokens, so what they tell is kept apart too.
    owners: moka::sync::Cache<SandboxId, Owner>,
    /// What was denied to strangers a moment ago, and asked about for that.
    denied: Cache<SandboxId, ()>,
}

#[derive(Clone, Debug)]
struct Slot {
    entry: Entry,
    since: Moment,
}

/// Whose a sandbox is, by a list.
#[derive(Clone, Debug)]
struct Owner {
    tenant: TenantId,
    since: Moment,
}

/// Why a look-up led to nothing.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error("the sandbox was killed meanwhile")]
    Outdated,
}

impl Default for Directory {
    fn default() -> Self {
        Self::new(Ownership::default())
    }
}

impl Directory {
    /// An empty directory beside the gateway's own record.
    #[must_use]
    pub fn new(ownership: Ownership) -> Self {
        Self {
            entries: Records::default(),
            keepsakes: Keepsakes::default(),
            kills: Arc::default(),
            ownership: Arc::new(ownership),
            owners: moka::sync::Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(KNOWN_FOR)
                .build(),
            denied: Cache::builder().max_capacity(CAPACITY).time_to_live(ABSENT_FOR).build(),
        }
    }

    /// The gateway's own record of owners.
    #[must_use]
    pub fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    /// The current moment: to be taken before an upstream is asked, and given with what it answers.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.kills.now()
    }

    /// Whether [`Self::find`] would answer about `id` from memory.
    #[must_use]
    pub fn remembers(&self, id: &SandboxId) -> bool {
        self.recall(id).is_some()
    }

    /// What is known of `id` without asking.
    #[must_use]
    pub fn known(&self, id: &SandboxId) -> Option<Arc<Sandbox>> {
        self.recall(id)?.entry.known()
    }

    /// What is known of `id`, asking with `ask` when nothing is. Concurrent calls for one id share one `ask`.
    ///
    /// # Errors
    /// [`Unavailable`] when `ask` fails; failures are not remembered.
    pub async fn find<F: Future<Output = Asked>>(
        &self,
        id: &SandboxId,
        ask: impl Fn() -> F,
    ) -> Result<Entry, Unavailable> {
        match self.recall(id) {
            Some(slot) => Ok(slot.entry),
            None => self.find_out(id, ask).await,
        }
    }

    async fn find_out<F: Future<Output = Asked>>(
        &self,
        id: &SandboxId,
        ask: impl Fn() -> F,
    ) -> Result<Entry, Unavailable> {
        // Rare and large: kept out of every request's own state.
        Box::pin(async {
            for _ in 0..2 {
                match self.fill(id, ask()).await {
                    Ok(entry) => return Ok(entry),
                    Err(Failed::Unavailable(unavailable)) => return Err(unavailable),
                    // What was under way, perhaps for somebody else, says nothing: ask anew.
                    Err(Failed::Outdated) => {}
                }
            }
            Err(Unavailable)
        })
        .await
    }

    /// What counts of what is remembered. An alias stands for whatever its sandbox's own id stands for.
    fn recall(&self, id: &SandboxId) -> Option<Slot> {
        let slot = self.entries.get(id)?;
        if !self.counts(&slot) {
            self.entries.remove(id);
            return None;
        }
        if let Entry::Known(sandbox) = &slot.entry
            && sandbox.id != *id
            && let Some(own) = self.entries.get(&sandbox.id)
            && matches!(own.entry, Entry::Known(_))
            && self.counts(&own)
        {
            return Some(own);
        }
        Some(slot)
    }

    fn counts(&self, slot: &Slot) -> bool {
        match &slot.entry {
            Entry::Known(sandbox) => self.is_current(&sandbox.id, slot.since),
            Entry::Absent => true,
        }
    }

    /// Whether a sandbox was not killed after `since`.
    fn is_current(&self, id: &SandboxId, since: Moment) -> bool {
        self.kills.none_since(id, since)
    }

    /// Whether each of a tenant's sandboxes that are known to be there is known to have its marker, asking about some
    /// of those of which that was not told yet. If so, a filter for the marker hides none.
    pub async fn are_marked<F: Future<Output = Asked>>(
        &self,
        tenant: &TenantId,
        ask: impl Fn(SandboxId) -> F + Copy,
    ) -> bool {
        if self.ownership.keeping() == Keeping::Drops {
            return false;
        }
        for id in self.ownership.doubtful(tenant, DOUBTS) {
            if let Some(Slot { entry: Entry::Known(known), .. }) = self.recall(&id)
                && known.marker == Marker::Untold
            {
                self.entries.remove(&id);
            }
            match self.find(&id, || ask(id.clone())).await {
                Ok(Entry::Known(found)) if found.marker == Marker::Present => {
                    self.ownership.saw_marker(&id);
                }
                Ok(Entry::Absent) => self.ownership.saw_nothing(&id),
                Ok(Entry::Known(_)) | Err(Unavailable) => return false,
            }
        }
        self.ownership.keeping() != Keeping::Drops && self.ownership.doubtful(tenant, 1).is_empty()
    }

    async fn fill(
        &self,
        id: &SandboxId,
        ask: impl Future<Output = Asked>,
    ) -> Result<Entry, Failed> {
        let found = async {
            let since = self.now();
            let Some(sandbox) = ask.await? else {
                self.ownership.saw_nothing(id);
                return Ok(Slot { entry: Entry::Absent, since });
            };
            if !self.is_current(&sandbox.id, since) {
                return Err(Failed::Outdated);
            }
            let sandbox = Arc::new(self.completed(sandbox));
            let slot = Slot { entry: Entry::Known(Arc::clone(&sandbox)), since };
            if sandbox.id != *id {
                self.entries.put(sandbox.id.clone(), slot.clone());
            }
            Ok(slot)
        };
        let filled = self.entries.ask(id, found).await;
        match filled.map_err(|failed: Arc<Failed>| match *failed {
            Failed::Unavailable(unavailable) => Failed::Unavailable(unavailable),
            Failed::Outdated => Failed::Outdated,
        }) {
            // It may have been stored just as the sandbox was killed.
            Ok(slot) if !self.counts(&slot) => {
                self.entries.remove(id);
                Err(Failed::Outdated)
            }
            filled => filled.map(|slot| slot.entry),
        }
    }

    /// Takes over what an answer said of a sandbox; the upstream was asked at `asked`. Where neither it nor what was
    /// known says whose the sandbox is, the upstream will be asked when that matters.
    pub fn learn(&self, mut sandbox: Sandbox, asked: Moment) {
        if !self.is_current(&sandbox.id, asked) {
            return;
        }
        if sandbox.marker == Marker::Untold {
            let known = match self.recall(&sandbox.id).map(|slot| slot.entry) {
                Some(Entry::Known(known)) => Some(known),
                Some(Entry::Absent) | None => None,
            };
            match (&sandbox.tenant, known) {
                (None, None) => {
                    self.entries.remove(&sandbox.id);
                    // Its tokens, at least.
                    self.completed(sandbox);
                    return;
                }
                (None, Some(known)) => {
                    sandbox.tenant.clone_from(&known.tenant);
                    sandbox.marker = known.marker;
                    sandbox.ends = sandbox.ends.or(known.ends);
                }
                (Some(_), _) => {}
            }
        }
        let sandbox = self.completed(sandbox);
        let id = sandbox.id.clone();
        self.entries.put(id, Slot { entry: Entry::Known(Arc::new(sandbox)), since: asked });
    }

    /// Whose a sandbox is that the upstream just told of: whom its marker names, else the gateway's own record.
    #[must_use]
    pub fn owner(&self, told: &Sandbox) -> Option<TenantId> {
        match told.marker {
            Marker::Absent => self.ownership.owner(&told.id),
            Marker::Untold | Marker::Present => told.tenant.clone(),
        }
    }

    /// Takes note that a sandbox was paused or woken, if it is remembered.
    pub fn turned(&self, id: &SandboxId, state: State) {
        let Some(Slot { entry: Entry::Known(known), since }) = self.recall(id) else {
            return;
        };
        let ends = known.ends.filter(|_| state == State::Running);
        let sandbox = Arc::new(Sandbox { state, ends, ..Sandbox::clone(&known) });
        let id = sandbox.id.clone();
        self.entries.put(id, Slot { entry: Entry::Known(sandbox), since });
    }

    /// Forgets a sandbox under all its names, of which `id` is any: it was killed, or the upstream says that it is gone.
    /// Only a kill takes it off the gateway's own record, since a 404 may come from a path that the upstream lacks.
    pub fn forget(&self, id: &SandboxId, killed: bool) {
        let known = match self.entries.get(id).map(|slot| slot.entry) {
            Some(Entry::Known(known)) => Some(known.id.clone()),
            Some(Entry::Absent) | None => None,
        };
        // An alias that was never asked for: what it may stand for is asked about again.
        let short = id.as_str().split_once('-').and_then(|(short, _)| SandboxId::parse(short).ok());
        for id in [Some(id.clone()), known, short].into_iter().flatten() {
            self.kills.note(&id, clock::instant());
            self.keepsakes.forget(&id);
            self.owners.invalidate(&id);
            self.entries.remove(&id);
            if killed {
                self.ownership.release(&id);
            }
        }
    }

    /// Adds what the answer did not tell.
    fn completed(&self, mut sandbox: Sandbox) -> Sandbox {
        sandbox.tenant = self.owner(&sandbox);
        if sandbox.marker == Marker::Present {
            self.ownership.saw_marker(&sandbox.id);
        }
        match &sandbox.traffic_token {
            Some(token) => self.keepsakes.keep_traffic_token(&sandbox.id, token),
            None => sandbox.traffic_token = self.keepsakes.traffic_token(&sandbox.id),
        }
        sandbox
    }
}

#[cfg(test)]
mod tests;
