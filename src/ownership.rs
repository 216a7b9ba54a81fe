//! The gateway's own record of whose a sandbox is, for upstreams that do not keep the marker.
//!
//! A marker, where there is one, always counts for more. The record is bounded, lives in memory, and outlives the
//! process only where there is a state directory. It is read when the upstream was asked about a sandbox and written
//! when one is made or killed, so that its lock is on no other request's way.

mod file;
mod keeping;
mod records;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::file::{Line, StateFile};
pub use self::keeping::Keeping;
use self::keeping::Verdict;
use self::records::Records;
use crate::clock::UnixTime;
use crate::principal::TenantId;
use crate::target::SandboxId;

/// Sandboxes on record at most; the oldest go first. One costs about 300 bytes.
const CAPACITY: usize = 200_000;

/// The record. Shared by all workers.
#[derive(Debug)]
pub struct Ownership {
    kept: Mutex<Kept>,
    file: Option<StateFile>,
    verdict: Verdict,
    /// Whether a sandbox was looked at only to find out if the upstream keeps markers.
    looked: AtomicBool,
    /// Whether the log says that the record was needed although the upstream keeps markers.
    needed: AtomicBool,
}

/// What is on record, and who has a copy.
#[derive(Debug, Default)]
struct Kept {
    records: Records,
    successor: Option<Successor>,
}

/// A process that takes this one's place, and learns what is still put on record here.
struct Successor(Box<Tell>);

/// Tells of a sandbox, whose it is or that it is gone, and whether it was made with a marker.
type Tell = dyn Fn(&SandboxId, Option<&TenantId>, bool) + Send + Sync;

impl fmt::Debug for Successor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Successor")
    }
}

impl Kept {
    /// Puts a sandbox on record, or takes it off, and tells so.
    fn note(&mut self, id: &SandboxId, tenant: Option<&TenantId>, marked: bool) {
        match tenant {
            Some(tenant) => self.records.bind(id.clone(), tenant.clone(), marked, CAPACITY),
            None => {
                self.records.release(id);
            }
        }
        if let Some(Successor(tell)) = &self.successor {
            tell(id, tenant, marked);
        }
    }
}

impl Default for Ownership {
    /// A record in memory alone.
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            file: None,
            verdict: Verdict::default(),
            looked: AtomicBool::new(false),
            needed: AtomicBool::new(false),
        }
    }
}

impl Ownership {
    /// The record in a state directory, as it was left there; without one, an empty record in memory.
    ///
    /// # Errors
    /// The directory or its file cannot be used.
    pub fn open(state_dir: Option<&Path>) -> io::Result<Self> {
        let Some(directory) = state_dir else { return Ok(Self::default()) };
        let (file, lines) = StateFile::open(directory, CAPACITY)?;
        let mut records = Records::default();
        for (id, tenant) in lines {
            records.bind(id, tenant, false, CAPACITY);
        }
        if records.len() > 0 {
            tracing::info!(sandboxes = records.len(), "the record of owners was read");
        }
        let kept = Kept { records, successor: None };
        Ok(Self { kept: Mutex::new(kept), file: Some(file), ..Self::default() })
    }

    /// Whether the upstream keeps markers, as far as that was seen.
    #[must_use]
    pub fn keeping(&self) -> Keeping {
        self.verdict.get()
    }

    /// Whether the record outlives the process.
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        self.file.is_some()
    }

    /// Puts a new sandbox on record; `marked` says whether it was made with a marker, rather than forked.
    pub fn bind(&self, id: &SandboxId, tenant: &TenantId, marked: bool) {
        // On the disk before it is told or not told to a successor, which may read the file as soon as it is told of.
        if let Some(file) = &self.file {
            file.append(&Line { id, tenant: Some(tenant), time: UnixTime::now() });
        }
        self.kept().note(id, Some(tenant), marked);
    }

    /// Takes note of what another process of this gateway put on record, or took off it. The file knows already.
    pub fn learn(&self, id: &SandboxId, tenant: Option<&TenantId>, marked: bool) {
        self.kept().note(id, tenant, marked);
    }

    /// Has another process learn what is put on record from now on: a sandbox, whose it is or that it is gone, and whether it
    /// was made with a marker. Gives what was on record before, oldest first, unless the file tells.
    #[must_use]
    pub fn hand_over(
        &self,
        successor: impl Fn(&SandboxId, Option<&TenantId>, bool) + Send + Sync + 'static,
    ) -> Vec<(SandboxId, TenantId, bool)> {
        let mut kept = self.kept();
        kept.successor = Some(Successor(Box::new(successor)));
        if self.is_durable() {
            return Vec::new();
        }
        let all = kept.records.iter();
        all.map(|(id, tenant, marked)| (id.clone(), tenant.clone(), marked)).collect()
    }

    /// There is no such process after all.
    pub fn take_back(&self) {
        self.kept().successor = None;
    }

    /// Takes a sandbox that was killed off the record.
    pub fn release(&self, id: &SandboxId) {
        if let Some(file) = self.file.as_ref().filter(|_| self.last_owner(id).is_some()) {
            file.append(&Line { id, tenant: None, time: UnixTime::now() });
        }
        self.kept().note(id, None, false);
    }

    /// Whose a sandbox is of which the upstream just said that it has no marker.
    #[must_use]
    pub fn owner(&self, id: &SandboxId) -> Option<TenantId> {
        let mut kept = self.kept();
        let records = &mut kept.records;
        let (owner, marked) = records.owner(id).map(|(owner, marked)| (owner.clone(), marked))?;
        records.doubt(id);
        drop(kept);
        match self.keeping() {
            Keeping::Unknown if marked && self.verdict.drops() => self.say_it_drops(),
            Keeping::Keeps if !self.needed.swap(true, Ordering::Relaxed) => tracing::warn!(
                sandbox = %id, durable = self.is_durable(),
                "a sandbox that the gateway made has no marker, as a fork whose upstream copies no metadata; it stays \
                 its tenant's by the gateway's own record, which other gateways do not share"
            ),
            Keeping::Unknown | Keeping::Keeps | Keeping::Drops => {}
        }
        Some(owner)
    }

    /// Whose a sandbox was that the upstream does not have any more.
    #[must_use]
    pub fn last_owner(&self, id: &SandboxId) -> Option<TenantId> {
        self.kept().records.owner(id).map(|(owner, _)| owner.clone())
    }

    /// Takes note of a marker in what the upstream told of a sandbox.
    pub fn saw_marker(&self, id: &SandboxId) {
        self.verdict.keeps();
        self.kept().records.settle(id);
    }

    /// Takes note that the upstream said it has no such sandbox. It stays on record: that may be mistaken.
    pub fn saw_nothing(&self, id: &SandboxId) {
        self.kept().records.settle(id);
    }

    /// Some of a tenant's sandboxes on record that a filter for its marker might hide, newest first: the upstream did
    /// not yet show a marker on them, nor say that they are gone.
    #[must_use]
    pub fn doubtful(&self, tenant: &TenantId, most: usize) -> Vec<SandboxId> {
        self.kept().records.doubtful(tenant, most)
    }

    /// Whether somebody should look at a new sandbox, only to find out. True once.
    pub fn wants_a_look(&self) -> bool {
        self.keeping() == Keeping::Unknown && !self.looked.swap(true, Ordering::Relaxed)
    }

    fn say_it_drops(&self) {
        if self.is_durable() {
            tracing::warn!(
                "the upstream keeps no metadata: whose sandbox is whose is kept in the state directory, and other \
                 gateways do not know; a sandbox that is not on record is for admins alone"
            );
        } else {
            tracing::warn!(
                "the upstream keeps no metadata: whose sandbox is whose is kept in memory alone, and a restart forgets \
                 it; set a state directory. A sandbox that is not on record is for admins alone"
            );
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whole between statements, so a poisoned lock is as good as any.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
