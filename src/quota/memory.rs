//! The ledger of a gateway that runs alone: in memory, with a journal of what is under way where there is a place for
//! one.
//!
//! Without a journal a killed process leaves nothing behind. What its last requests start at the upstream after the next
//! process has listed a tenant's sandboxes counts only from the following listing on.

use std::collections::{HashMap, HashSet};
use std::future::ready;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::account::End;
use super::book::{Answer, Book, Journal, Ticket};
use super::journal::{FileJournal, Open};
use super::passing::{Passing, Told};
use super::{
    Admission, Answered, Ask, Held, Ledger, LedgerUnavailable, Mark, Policy, Reservation, Standing,
};
use crate::principal::TenantId;
use crate::target::SandboxId;

/// The ledger in memory. Cheap to clone; clones share the accounts.
#[derive(Clone, Debug)]
pub struct MemoryLedger {
    pub(super) book: Arc<Book>,
    pub(super) journal: Option<Arc<FileJournal>>,
    pub(super) passing: Arc<Passing>,
}

impl MemoryLedger {
    /// An empty ledger that forgets everything with the process.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self::over(policy, None, &HashMap::new())
    }

    /// A ledger that takes up what earlier processes left under way, as the journal in this file tells.
    ///
    /// # Errors
    /// When the file can't be read or written.
    pub fn open(policy: Policy, journal: &Path) -> io::Result<Self> {
        let (journal, left) = FileJournal::open(journal)?;
        Ok(Self::over(policy, Some(Arc::new(journal)), &left))
    }

    pub(super) fn over(policy: Policy, journal: Option<Arc<FileJournal>>, left: &Open) -> Self {
        let in_book = journal.clone().map(|journal| Box::new(journal) as Box<dyn Journal>);
        let book = Arc::new(Book::new(policy, in_book, left));
        Self { book, journal, passing: Arc::default() }
    }

    /// Whether repeats of a request under the same `Idempotency-Key` share its reservation. No longer, once the
    /// upstream started something new for one.
    #[cfg(test)]
    pub(super) fn shares_keys(&self) -> bool {
        self.book.shares()
    }
}

impl Ledger for MemoryLedger {
    fn reserve<'a>(&'a self, ask: Ask<'a>) -> Answered<'a, Admission> {
        let passing = self.passing.lock();
        if passing.is_some() {
            return Box::pin(ready(Ok(Admission::Moved)));
        }
        let admission = match self.book.reserve(&ask) {
            Ok(Answer::Admitted(ticket)) => {
                let held = HeldHere { ledger: self.clone(), ticket };
                Ok(Admission::Admitted(Reservation::new(Box::new(held))))
            }
            Ok(Answer::AtLimit(at)) => Ok(Admission::AtLimit(at)),
            Ok(Answer::Unlisted) => Ok(Admission::Unlisted),
            Ok(Answer::Busy) => Ok(Admission::Busy),
            Err(error) => {
                tracing::error!(%error, "the quota journal can't be written; nothing is admitted");
                Err(LedgerUnavailable)
            }
        };
        Box::pin(ready(admission))
    }

    fn ended<'a>(&'a self, tenant: &'a TenantId, id: &'a SandboxId) -> Answered<'a, ()> {
        self.book.ended(tenant, id);
        if let Some(tell) = &*self.passing.lock() {
            tell(Told::Ended { tenant: tenant.clone(), id: id.clone() });
        }
        Box::pin(ready(Ok(())))
    }

    fn begin_listing(&self, now: Instant) -> Answered<'_, Mark> {
        Box::pin(ready(Ok(self.book.begin_listing(now))))
    }

    fn apply_listing<'a>(
        &'a self,
        tenant: &'a TenantId,
        mark: Mark,
        ids: &'a HashSet<SandboxId>,
    ) -> Answered<'a, bool> {
        Box::pin(ready(Ok(self.book.apply_listing(tenant, mark, ids))))
    }

    fn standing<'a>(&'a self, tenant: &'a TenantId) -> Answered<'a, Standing> {
        Box::pin(ready(Ok(self.book.standing(tenant))))
    }

    fn standings(&self, now: Instant) -> Answered<'_, Vec<(TenantId, Standing)>> {
        Box::pin(ready(Ok(self.book.standings(now))))
    }
}

#[derive(Debug)]
struct HeldHere {
    ledger: MemoryLedger,
    ticket: Ticket,
}

impl Held for HeldHere {
    fn bind<'a>(self: Box<Self>, ids: &'a [SandboxId]) -> Answered<'a, ()> {
        self.ledger.settle(self.ticket, End::Bound(ids));
        Box::pin(ready(Ok(())))
    }

    fn release(self: Box<Self>) -> Answered<'static, ()> {
        self.ledger.settle(self.ticket, End::Released);
        Box::pin(ready(Ok(())))
    }

    fn doubt(self: Box<Self>) {
        self.ledger.settle(self.ticket, End::Doubted);
    }
}
