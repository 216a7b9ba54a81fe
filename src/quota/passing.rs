//! How the count changes processes: one process counts at any time, and nothing falls between the two.
//!
//! The old process hands over a list of all open slots and admits nothing from that moment on: whether there is room is
//! asked of the new one. A slot whose request is still under way in the old process stays open in the new one until the
//! old one tells how that ended, and is in doubt, as any other, if it ends without telling. So a request is counted by
//! exactly one process, under the same number in both. Which sandboxes there are the new process finds out as after every
//! start, by a listing; what that shows of a request that is still under way counts twice until the request ends.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use super::account::{Claim, End, Slot, Tick};
use super::book::{Answer, Ticket};
use super::journal::FileJournal;
use super::{Ask, MemoryLedger, Policy, Start};
use crate::clock;
use crate::principal::TenantId;
use crate::target::SandboxId;

/// What the process that counts is told by the one that counted before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// A request that was under way when the count changed hands has ended.
    Settled {
        /// Its slots.
        slots: Vec<u64>,
        /// How it ended.
        outcome: Outcome,
    },
    /// A sandbox runs that was there before.
    Runs {
        /// Whose it is.
        tenant: TenantId,
        /// Which one.
        id: SandboxId,
    },
    /// A sandbox was killed, or turned out not to exist.
    Ended {
        /// Whose it was.
        tenant: TenantId,
        /// Which one.
        id: SandboxId,
    },
}

/// How a request ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// These sandboxes run.
    Bound(Vec<SandboxId>),
    /// It started nothing.
    Released,
    /// Nobody knows.
    Doubted,
}

impl Outcome {
    const fn as_end(&self) -> End<'_> {
        match self {
            Self::Bound(ids) => End::Bound(ids.as_slice()),
            Self::Released => End::Released,
            Self::Doubted => End::Doubted,
        }
    }
}

/// A slot that changes processes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenSlot {
    /// Its number.
    pub slot: u64,
    /// Whose it is.
    pub tenant: TenantId,
    /// Whether its request is under way, in the process that hands it over; else it is in doubt.
    pub is_under_way: bool,
    /// Whether its tenant is limited. Of others only what is under way is held.
    pub is_limited: bool,
}

type Tell = Box<dyn Fn(Told) + Send + Sync>;

/// Whether somebody else counts, and for which requests of somebody else this process does.
#[derive(Default)]
pub(super) struct Passing {
    to: RwLock<Option<Tell>>,
    adopted: Mutex<HashMap<Tick, TenantId>>,
}

impl Passing {
    /// Who counts, if it is somebody else. Nothing changes hands while this is held.
    pub(super) fn lock(&self) -> RwLockReadGuard<'_, Option<Tell>> {
        self.to.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, to: Option<Tell>) {
        *self.to.write().unwrap_or_else(PoisonError::into_inner) = to;
    }

    fn take(&self, slots: &[Tick]) -> Option<TenantId> {
        let mut adopted = self.adopted.lock().unwrap_or_else(PoisonError::into_inner);
        slots.iter().filter_map(|slot| adopted.remove(slot)).last()
    }
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing").finish_non_exhaustive()
    }
}

impl MemoryLedger {
    /// Takes over from the process that hands these slots over; the journal in this file, if there is to be one, is begun
    /// anew.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn inherit(policy: Policy, file: Option<&Path>, slots: Vec<OpenSlot>) -> io::Result<Self> {
        let limited = slots.iter().filter(|open| open.is_limited);
        let all = limited.map(|open| (open.slot, open.tenant.clone())).collect();
        let journal = file.map(|file| FileJournal::begin(file, all)).transpose()?;
        let (under_way, in_doubt): (Vec<_>, Vec<_>) =
            slots.into_iter().partition(|open| open.is_under_way);
        let in_doubt = in_doubt.into_iter().map(|open| (open.slot, open.tenant)).collect();
        let ledger = Self::over(policy, journal.map(Arc::new), &in_doubt);
        let mut adopted = ledger.passing.adopted.lock().unwrap_or_else(PoisonError::into_inner);
        for OpenSlot { slot, tenant, is_limited, .. } in under_way {
            ledger.book.tick.fetch_max(slot.saturating_add(1), Ordering::AcqRel);
            let mut shard = ledger.book.shard(&tenant);
            let account = shard.entry(tenant.clone()).or_default();
            if is_limited {
                account.watched.get_or_insert(slot);
            }
            account.open(&[slot]);
            drop(shard);
            adopted.insert(slot, tenant);
        }
        drop(adopted);
        Ok(ledger)
    }

    /// Admits nothing from now on, and gives all open slots, so that another process can go on. `tell` is told what
    /// becomes of them.
    pub fn hand_over(&self, tell: impl Fn(Told) + Send + Sync + 'static) -> Vec<OpenSlot> {
        let mut to = self.passing.to.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(journal) = &self.journal {
            journal.let_go();
        }
        *to = Some(Box::new(tell));
        let mut open = Vec::new();
        for shard in &self.book.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (tenant, account) in shard.iter() {
                open.extend(account.slots.iter().map(|(slot, state)| OpenSlot {
                    slot: *slot,
                    tenant: tenant.clone(),
                    is_under_way: matches!(state, Slot::Flight { .. }),
                    is_limited: account.watched.is_some(),
                }));
            }
        }
        open
    }

    /// Counts again, since the other process did not begin to.
    pub fn take_back(&self) {
        if let Some(journal) = &self.journal
            && let Err(error) = journal.take_back()
        {
            tracing::warn!(%error, "the quota journal can't be written");
        }
        self.passing.set(None);
    }

    /// Takes note of what the process before this one tells.
    pub fn hear(&self, told: Told) {
        match told {
            Told::Settled { slots, outcome } => {
                let Some(tenant) = self.passing.take(&slots) else { return };
                let claim = Claim::Slots(slots, None);
                self.settle(Ticket { tenant, claim, is_watched: true }, outcome.as_end());
            }
            Told::Runs { tenant, id } => {
                let (start, now) = (Start::Existing(&id), clock::instant());
                let ask = Ask { tenant: &tenant, limit: None, start, now };
                if let Ok(Answer::Admitted(ticket)) = self.book.reserve(&ask) {
                    self.settle(ticket, End::Bound(std::slice::from_ref(&id)));
                }
            }
            Told::Ended { tenant, id } => {
                self.book.ended(&tenant, &id);
                if let Some(tell) = &*self.passing.lock() {
                    tell(Told::Ended { tenant, id });
                }
            }
        }
    }

    /// The process before this one is gone: what it did not tell is in doubt.
    pub fn hear_no_more(&self) {
        let adopted = std::mem::take(
            &mut *self.passing.adopted.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for (slot, tenant) in adopted {
            let claim = Claim::Slots(vec![slot], None);
            self.settle(Ticket { tenant, claim, is_watched: true }, End::Doubted);
        }
    }

    /// Ends what a request held, and tells so where somebody else counts.
    pub(super) fn settle(&self, ticket: Ticket, end: End<'_>) {
        let passing = self.passing.lock();
        if let Some(tell) = &*passing {
            for told in told(&ticket, end) {
                tell(told);
            }
        }
        self.book.settle(ticket, end);
    }
}

/// What there is to tell of the end of a request.
fn told(ticket: &Ticket, end: End<'_>) -> Vec<Told> {
    let outcome = match end {
        End::Bound(ids) => Outcome::Bound(ids.to_vec()),
        End::Released => Outcome::Released,
        End::Doubted => Outcome::Doubted,
    };
    match (&ticket.claim, &outcome) {
        (Claim::Slots(slots, _), _) => vec![Told::Settled { slots: slots.clone(), outcome }],
        (Claim::Use(_) | Claim::Repeat(..), Outcome::Bound(ids)) => {
            let tenant = &ticket.tenant;
            ids.iter().map(|id| Told::Runs { tenant: tenant.clone(), id: id.clone() }).collect()
        }
        (Claim::Use(_) | Claim::Repeat(..) | Claim::Nothing, _) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
