//! The ledger of active sandboxes: who may start another, decided before anything is sent.
//!
//! A request reserves, is forwarded, and its [`Reservation`] is bound to what it started, released when it failed for
//! certain, or dropped: then its outcome is in doubt, and it counts until a listing of the upstream tells.
//!
//! # Why no more than the limit is ever admitted
//!
//! A tenant's count is *known sandboxes + open slots − overlap*. It must never fall short of what the upstream holds or
//! may yet start. Given that the upstream (1) lists whatever exists from a listing's beginning to its end, (2) is done
//! with a request `grace` after it answers again, and (3) starts sandboxes only by requests that held a slot:
//!
//! - Whatever was started is known, or its slot is open. A slot closes only when its request failed, when its sandbox
//!   becomes known in the same step, or when a listing begun `grace` after the doubt shows all it can have started.
//! - A known sandbox stops counting only by its own end, or by a complete listing begun after it was last proven. An
//!   older listing than one taken in before is ignored, and one begun before a kill can't bring the killed back.
//! - A sandbox that a later listing finds came from some open slot, which is why it must not count twice; from which
//!   is unknown. The overlap therefore grows by one, and it is at most the number of open slots whose sandbox is known
//!   or dead. It shrinks whenever such a slot may close: when an answer names a sandbox that is known already, and when
//!   a listing decides a slot. A slot whose answer names something new, or that failed, is none of them.
//! - The first listing finds what earlier processes started. Nothing of it overlaps; until then nothing is admitted.
//!   Slots open when an earlier process was killed are in doubt again, from its journal.
//!
//! Where somebody else starts a tenant's sandboxes, (3) fails: they count once they are listed. An entry of the overlap
//! lasts no longer than slots older than it, so that they can't hide for long behind slots that are not theirs.

mod account;
mod book;
mod cadence;
mod journal;
mod listing;
mod memory;
mod passing;
mod repeats;

/// The primitives of the accounts' locks; a test of interleavings has its own.
mod sync {
    pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(super) use std::sync::{Mutex, MutexGuard};
}

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

pub use book::{Ask, AtLimit, Policy, Standing, Start};
pub use cadence::Cadence;
pub use listing::Mark;
pub use memory::MemoryLedger;
pub use passing::{OpenSlot, Outcome, Told};

use crate::principal::TenantId;
use crate::target::SandboxId;

/// A grace that, with the default [`Cadence`], settles everything within 30 seconds of the upstream's answering again.
pub const GRACE: Duration = Duration::from_secs(20);

/// Where sandboxes are counted: in this process, or in a store that several share.
///
/// The check and the reservation are one step, however many ask at once and wherever.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// Judges a request that may start sandboxes.
    ///
    /// # Errors
    /// When nobody can tell; nothing may be started then.
    fn reserve<'a>(&'a self, ask: Ask<'a>) -> Answered<'a, Admission>;

    /// A sandbox of the tenant was killed, or turned out not to exist.
    ///
    /// # Errors
    /// When it could not be noted; the next listing tells.
    fn ended<'a>(&'a self, tenant: &'a TenantId, id: &'a SandboxId) -> Answered<'a, ()>;

    /// Begins a listing, before its first request is sent. It may be of one tenant or of all.
    ///
    /// # Errors
    /// When the ledger can't be reached.
    fn begin_listing(&self, now: Instant) -> Answered<'_, Mark>;

    /// Takes in the ids of all sandboxes of the tenant that are running or paused. Every page must have been read: an
    /// incomplete listing proves nothing. False when it came too late to tell anything new.
    ///
    /// # Errors
    /// When the ledger can't be reached; nothing was taken in then.
    fn apply_listing<'a>(
        &'a self,
        tenant: &'a TenantId,
        mark: Mark,
        ids: &'a HashSet<SandboxId>,
    ) -> Answered<'a, bool>;

    /// What counts for a tenant. Nothing is known of one that was never limited.
    ///
    /// # Errors
    /// When the ledger can't be reached.
    fn standing<'a>(&'a self, tenant: &'a TenantId) -> Answered<'a, Standing>;

    /// What counts for every tenant that the ledger knows of.
    ///
    /// # Errors
    /// When the ledger can't be reached.
    fn standings(&self, now: Instant) -> Answered<'_, Vec<(TenantId, Standing)>>;
}

/// An answer of the ledger, to be waited for.
pub type Answered<'a, T> = BoxFuture<'a, Result<T, LedgerUnavailable>>;

/// The ledger can't tell: its store is away, or its journal can't be written. The cause is in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the ledger of active sandboxes is unavailable")]
pub struct LedgerUnavailable;

/// What becomes of a request that may start sandboxes.
#[derive(Debug)]
pub enum Admission {
    /// It may be sent.
    Admitted(Reservation),
    /// There is no room, as far as is known: a listing may tell of sandboxes that ended since ([`Cadence`]).
    AtLimit(AtLimit),
    /// Nothing is known of the tenant yet: list its sandboxes, then ask again.
    Unlisted,
    /// Another request with the same `Idempotency-Key` is under way.
    Busy,
    /// Another process counts by now, and has to be asked.
    Moved,
}

/// What an admitted request holds until its outcome is told. Dropped without a word, its outcome is in doubt.
#[derive(Debug)]
#[must_use = "dropped, it counts until a listing tells what became of the request"]
pub struct Reservation(Option<Box<dyn Held>>);

impl Reservation {
    /// Wraps what a ledger has to remember of it.
    pub fn new(held: Box<dyn Held>) -> Self {
        Self(Some(held))
    }

    /// The request started these sandboxes, or found them running, and nothing else. What was held for more is given
    /// back.
    ///
    /// # Errors
    /// When it could not be noted: the outcome is in doubt then.
    pub async fn bind(mut self, ids: &[SandboxId]) -> Result<(), LedgerUnavailable> {
        match self.0.take() {
            Some(held) => held.bind(ids).await,
            None => Ok(()),
        }
    }

    /// The request started nothing and never will: it was not sent, or the upstream refused it.
    ///
    /// # Errors
    /// When it could not be noted: the outcome is in doubt then.
    pub async fn release(mut self) -> Result<(), LedgerUnavailable> {
        match self.0.take() {
            Some(held) => held.release().await,
            None => Ok(()),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            held.doubt();
        }
    }
}

/// A ledger's side of a reservation. Its futures, once begun, leave the outcome in doubt when they are dropped.
pub trait Held: fmt::Debug + Send + Sync {
    /// See [`Reservation::bind`].
    fn bind<'a>(self: Box<Self>, ids: &'a [SandboxId]) -> Answered<'a, ()>;

    /// See [`Reservation::release`].
    fn release(self: Box<Self>) -> Answered<'static, ()>;

    /// Nobody will ever tell.
    fn doubt(self: Box<Self>);
}

#[cfg(test)]
mod tests;
