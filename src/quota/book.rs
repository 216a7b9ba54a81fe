//! All tenants' accounts behind short locks: every check is one step with what it decides.
//!
//! Nothing waits while a lock is held. The synchronisation primitives come from `super::sync`, so that a test can put
//! others in their place and try interleavings.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::account::{Account, Claim, End, Tick};
use super::listing::Mark;
use super::repeats::Repeat;
use super::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::principal::TenantId;
use crate::target::SandboxId;

/// Tenants in different shards never wait for each other.
const SHARDS: usize = 16;
/// How long an account in which nothing counts is kept. Without one, a tenant's next request waits for a listing.
const IDLE: Duration = Duration::from_secs(600);

/// Remembers open slots beyond the end of the process.
pub(super) trait Journal: fmt::Debug + Send + Sync {
    /// These slots are about to be used. What they admit is sent only after this returned.
    ///
    /// # Errors
    /// When that could not be written; nothing is admitted then.
    fn opened(&self, tenant: &TenantId, slots: &[u64]) -> io::Result<()>;

    /// These slots are done with. Unknown ones are no mistake.
    fn closed(&self, slots: &[u64]);
}

/// What the upstream can be relied on for.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long it may still be at work on a request whose end nobody heard, once it answers again.
    pub grace: Duration,
    /// Whether it starts nothing new when a request is repeated under the same `Idempotency-Key`, as far as anybody
    /// knows. If it does, such repeats would pass every limit: it is watched for that.
    pub honours_keys: bool,
}

/// A request that may start sandboxes.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Whose.
    pub tenant: &'a TenantId,
    /// How many the tenant may have; none: any number.
    pub limit: Option<u32>,
    /// What it may start.
    pub start: Start<'a>,
    /// The present.
    pub now: Instant,
}

/// What a request may start.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// A new sandbox, under this `Idempotency-Key`.
    One(Option<&'a str>),
    /// So many new ones at once.
    Several(u32),
    /// This sandbox, which may be running already.
    Existing(&'a SandboxId),
}

impl Start<'_> {
    /// How many sandboxes that may be.
    #[must_use]
    pub const fn most(&self) -> u32 {
        match self {
            Self::One(_) | Self::Existing(_) => 1,
            Self::Several(count) => *count,
        }
    }
}

/// What becomes of it.
#[derive(Debug)]
pub(super) enum Answer {
    Admitted(Ticket),
    AtLimit(AtLimit),
    Unlisted,
    Busy,
}

/// There is no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AtLimit {
    /// How many the tenant may have.
    pub limit: u32,
    /// How many count.
    pub count: usize,
    /// When the newest listing that was taken in began.
    pub listed: Option<Instant>,
}

/// What an admitted request holds.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) tenant: TenantId,
    pub(super) claim: Claim,
    /// Whether a later process has to know of it.
    pub(super) is_watched: bool,
}

/// What counts for a tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Sandboxes known to be running or paused.
    pub active: usize,
    /// Slots held for sandboxes that are not known yet.
    pub pending: usize,
    /// Outcomes that only a listing can tell.
    pub in_doubt: usize,
    /// Whether the tenant is limited; if not, only what is under way is known.
    pub is_limited: bool,
    /// When the newest listing that was taken in began.
    pub listed: Option<Instant>,
}

/// The accounts.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) shards: [Mutex<HashMap<TenantId, Account>>; SHARDS],
    pub(super) tick: AtomicU64,
    shares: AtomicBool,
    /// Whether the upstream was seen to honour keys.
    honours: AtomicBool,
    grace: Duration,
    journal: Option<Box<dyn Journal>>,
}

impl Book {
    /// A book in which the slots are open that an earlier process `left`.
    pub(super) fn new(
        policy: Policy,
        journal: Option<Box<dyn Journal>>,
        left: &HashMap<Tick, TenantId>,
    ) -> Self {
        let next = left.keys().max().map_or(1, |last| last.saturating_add(1));
        let book = Self {
            shards: std::array::from_fn(|_| Mutex::new(HashMap::new())),
            tick: AtomicU64::new(next),
            shares: AtomicBool::new(policy.honours_keys),
            honours: AtomicBool::new(false),
            grace: policy.grace,
            journal,
        };
        for (slot, tenant) in left {
            book.shard(tenant).entry(tenant.clone()).or_default().restore(*slot);
        }
        book
    }

    /// Judges a request, and makes room for it in the same step.
    pub(super) fn reserve(&self, ask: &Ask<'_>) -> io::Result<Answer> {
        let answer = self.judge(ask);
        if let Answer::Admitted(ticket) = &answer
            && let Claim::Slots(slots, _) = &ticket.claim
            && ticket.is_watched
            && let Some(journal) = &self.journal
            && let Err(failed) = journal.opened(ask.tenant, slots)
        {
            if let Answer::Admitted(ticket) = answer {
                self.settle(ticket, End::Released);
            }
            return Err(failed);
        }
        Ok(answer)
    }

    fn judge(&self, ask: &Ask<'_>) -> Answer {
        let is_new = !matches!(ask.start, Start::Existing(_));
        let mut shard = self.shard(ask.tenant);
        if ask.limit.is_none() && !is_new && !shard.contains_key(ask.tenant) {
            return admitted(ask, Claim::Nothing, false);
        }
        let account = shard.entry(ask.tenant.clone()).or_default();
        account.used = Some(ask.now);
        if let Some(limit) = ask.limit {
            if account.watched.is_none() {
                account.watched = Some(self.next());
            }
            if limit == 0 && is_new {
                return at_limit(account, limit);
            }
            if account.listed.is_none() {
                return Answer::Unlisted;
            }
        }
        let honoured = self.honours.load(Ordering::Relaxed);
        let may_share = |limit| self.shares() && (honoured || account.count() <= limit as usize);
        let key = match ask.start {
            Start::One(key) => key.filter(|_| ask.limit.is_some_and(may_share)),
            Start::Several(_) | Start::Existing(_) => None,
        };
        match key.map_or(Repeat::First, |key| account.repeat(key, honoured, ask.now)) {
            Repeat::First => {}
            Repeat::Busy => return Answer::Busy,
            // What it holds, if anything, was written down for the first request.
            Repeat::Of(claim) => return admitted(ask, claim, false),
        }
        let wanted = match ask.start {
            Start::One(_) => 1,
            Start::Several(count) => count,
            Start::Existing(id) => u32::from(!account.known.contains_key(id)),
        };
        if let Some(limit) = ask.limit.filter(|limit| !account.has_room(*limit, wanted)) {
            return at_limit(account, limit);
        }
        let claim = match ask.start {
            Start::Existing(_) if account.watched.is_none() => Claim::Nothing,
            Start::Existing(id) => account.take_up(id, self.next()),
            Start::One(_) | Start::Several(_) => {
                let slots = self.ticks(wanted);
                account.open(&slots);
                if let (Some(key), [slot]) = (key, slots.as_slice()) {
                    account.repeats.begin(key, *slot, ask.now);
                }
                Claim::Slots(slots, key.map(Into::into))
            }
        };
        admitted(ask, claim, account.watched.is_some())
    }

    /// Ends what an admitted request held.
    pub(super) fn settle(&self, ticket: Ticket, end: End<'_>) {
        let mut closed = Vec::new();
        {
            let mut shard = self.shard(&ticket.tenant);
            let tick = self.next();
            let Some(account) = shard.get_mut(&ticket.tenant) else { return };
            match account.settle(ticket.claim, end, tick, &mut closed) {
                Some(true) => self.honours.store(true, Ordering::Relaxed),
                Some(false) => self.shares.store(false, Ordering::Relaxed),
                None => {}
            }
            if account.watched.is_none() && account.is_empty() {
                shard.remove(&ticket.tenant);
            }
        }
        self.close(&closed);
    }

    /// A sandbox was killed, or turned out not to exist.
    pub(super) fn ended(&self, tenant: &TenantId, id: &SandboxId) {
        let mut shard = self.shard(tenant);
        let tick = self.next();
        if let Some(account) = shard.get_mut(tenant) {
            account.ended(id, tick);
        }
    }

    /// Begins a listing, of one tenant or of all.
    pub(super) fn begin_listing(&self, now: Instant) -> Mark {
        Mark { tick: self.next(), at: now }
    }

    /// Takes in a listing of a tenant's sandboxes.
    pub(super) fn apply_listing(
        &self,
        tenant: &TenantId,
        mark: Mark,
        ids: &HashSet<SandboxId>,
    ) -> bool {
        let mut closed = Vec::new();
        let is_taken = {
            let mut shard = self.shard(tenant);
            let now = self.next();
            shard
                .get_mut(tenant)
                .is_some_and(|account| account.apply(mark, ids, self.grace, now, &mut closed))
        };
        self.close(&closed);
        is_taken
    }

    pub(super) fn standing(&self, tenant: &TenantId) -> Standing {
        self.shard(tenant).get(tenant).map_or_else(Standing::default, standing)
    }

    /// Every tenant with an account. Those unused for long are dropped.
    pub(super) fn standings(&self, now: Instant) -> Vec<(TenantId, Standing)> {
        let is_idle = |account: &Account| {
            account.is_empty()
                && account.used.is_none_or(|used| now.saturating_duration_since(used) >= IDLE)
        };
        let mut all = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, account| !is_idle(account));
            all.extend(shard.iter().map(|(tenant, account)| (tenant.clone(), standing(account))));
        }
        all
    }

    /// Whether repeats under an `Idempotency-Key` share what the first holds.
    pub(super) fn shares(&self) -> bool {
        self.shares.load(Ordering::Relaxed)
    }

    fn close(&self, slots: &[Tick]) {
        if let (Some(journal), false) = (&self.journal, slots.is_empty()) {
            journal.closed(slots);
        }
    }

    pub(super) fn shard(&self, tenant: &TenantId) -> MutexGuard<'_, HashMap<TenantId, Account>> {
        let mut hasher = DefaultHasher::new();
        tenant.hash(&mut hasher);
        #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
        let index = hasher.finish() as usize % SHARDS;
        #[expect(clippy::indexing_slicing, reason = "a remainder is below its divisor")]
        let shard = &self.shards[index];
        // Every change is complete before the lock is given up, whatever panics elsewhere.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next place in the order of events. What is numbered later happened later, on whatever thread.
    fn next(&self) -> Tick {
        self.tick.fetch_add(1, Ordering::AcqRel)
    }

    fn ticks(&self, count: u32) -> Vec<Tick> {
        (0..count).map(|_| self.next()).collect()
    }
}

fn admitted(ask: &Ask<'_>, claim: Claim, is_watched: bool) -> Answer {
    Answer::Admitted(Ticket { tenant: ask.tenant.clone(), claim, is_watched })
}

fn at_limit(account: &Account, limit: u32) -> Answer {
    let listed = account.listed.map(|(_, at)| at);
    Answer::AtLimit(AtLimit { limit, count: account.count(), listed })
}

fn standing(account: &Account) -> Standing {
    Standing {
        active: account.known.len(),
        pending: account.pending(),
        in_doubt: account.doubts(),
        is_limited: account.watched.is_some(),
        listed: account.listed.map(|(_, at)| at),
    }
}
