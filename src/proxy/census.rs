//! Lists a tenant's sandboxes for the quota ledger, which otherwise only knows what passed by.
//!
//! One listing of a tenant is under way at a time, and whoever needs one takes the result of any that began after it
//! asked. A listing counts only when it was read to its end; what cannot be read proves nothing.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::value::RawValue;

use super::list::query::{Narrowed, narrow};
use super::lookup::{Asker, record};
use crate::clock;
use crate::directory::{Directory, Unavailable};
use crate::principal::TenantId;
use crate::quota::{Cadence, Ledger};
use crate::target::SandboxId;

/// Pages of one listing. With 100 entries each, more sandboxes than any one upstream runs.
const MAX_PAGES: usize = 1000;
/// For all pages of one listing.
const LIMIT: Duration = Duration::from_secs(20);
/// How often it is looked whether a listing is due.
const TICK: Duration = Duration::from_secs(1);

/// Lists what counts.
#[derive(Debug)]
pub struct Census {
    ledger: Arc<dyn Ledger>,
    directory: Directory,
    turns: Mutex<HashMap<TenantId, Arc<Turn>>>,
}

/// One tenant's turn to be listed: the lock is held while it is, over what came of the last one.
type Turn = tokio::sync::Mutex<Option<Taken>>;

/// A listing that is over.
#[derive(Clone, Copy, Debug)]
struct Taken {
    began: Instant,
    outcome: Result<(), Unavailable>,
}

impl Census {
    /// A census that tells `ledger`.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, directory: Directory) -> Self {
        Self { ledger, directory, turns: Mutex::default() }
    }

    /// Sees to it that the ledger knows what the upstream held at some moment after this call.
    ///
    /// # Errors
    /// [`Unavailable`], with the cause in the log.
    pub async fn take(&self, asker: &Asker, tenant: &TenantId) -> Result<(), Unavailable> {
        let wanted = clock::instant();
        let turn = self.turn(tenant);
        let mut last = turn.lock().await;
        // A failure too: whoever waited for it need not wait for another.
        if let Some(last) = last.filter(|last| last.began >= wanted) {
            return last.outcome;
        }
        let began = clock::instant();
        let listing = tokio::time::timeout(LIMIT, self.list(asker, tenant, began));
        let outcome = listing.await.unwrap_or_else(|_| {
            tracing::warn!(%tenant, "listing a tenant's sandboxes took too long");
            Err(Unavailable)
        });
        *last = Some(Taken { began, outcome });
        outcome
    }

    /// Lists whatever is due, for as long as it is polled.
    pub async fn keep(&self, asker: &Asker, cadence: Cadence) {
        let mut begun: HashMap<TenantId, Instant> = HashMap::new();
        loop {
            tokio::time::sleep(TICK).await;
            let now = clock::instant();
            let Ok(standings) = self.ledger.standings(now).await else { continue };
            begun.retain(|tenant, _| standings.iter().any(|(known, _)| known == tenant));
            self.clear(&standings.iter().map(|(tenant, _)| tenant).collect());
            for (tenant, standing) in &standings {
                let last = begun.get(tenant).copied().max(standing.listed);
                if cadence.next(standing, last, now).is_some_and(|due| due <= clock::instant()) {
                    begun.insert(tenant.clone(), clock::instant());
                    // The cause is in the log, and the next turn comes.
                    let _ = self.take(asker, tenant).await;
                }
            }
        }
    }

    fn turn(&self, tenant: &TenantId) -> Arc<Turn> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(tenant.clone()).or_default())
    }

    fn clear(&self, known: &HashSet<&TenantId>) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|tenant, turn| known.contains(tenant) || Arc::strong_count(turn) > 1);
    }

    async fn list(
        &self,
        asker: &Asker,
        tenant: &TenantId,
        began: Instant,
    ) -> Result<(), Unavailable> {
        let mark = self.ledger.begin_listing(began).await.map_err(|_| Unavailable)?;
        let ids = self.read(asker, tenant).await?;
        self.ledger.apply_listing(tenant, mark, &ids).await.map_err(|_| Unavailable)?;
        Ok(())
    }

    /// The ids of all of a tenant's sandboxes, running or paused.
    async fn read(
        &self,
        asker: &Asker,
        tenant: &TenantId,
    ) -> Result<HashSet<SandboxId>, Unavailable> {
        // Where some have no marker, a filter for it would hide them.
        let ask = |id: SandboxId| {
            let asker = asker.clone();
            async move { asker.ask(&id).await }
        };
        let keeps = self.directory.are_marked(tenant, ask).await;
        let filter = match narrow(None, Some(tenant)) {
            Ok(Narrowed::To { query, .. }) if keeps => query,
            _ => String::new(),
        };
        let (mut ids, mut next) = (HashSet::new(), None::<String>);
        for _ in 0..MAX_PAGES {
            let page = asker.page(&filter, next.as_deref()).await?;
            for entry in page.entries()? {
                let sandbox =
                    record(entry.get().as_bytes()).ok_or_else(|| unreadable("an entry"))?;
                if self.directory.owner(&sandbox).as_ref() == Some(tenant) {
                    ids.insert(sandbox.id);
                }
            }
            match page.next {
                Some(token) if next.as_ref() != Some(&token) => next = Some(token),
                Some(_) => return Err(unreadable("a page that leads to itself")),
                None => return Ok(ids),
            }
        }
        Err(unreadable("more pages than can be"))
    }
}

/// One page of a listing.
#[derive(Debug)]
pub struct Page {
    /// The status that it came with.
    pub status: StatusCode,
    /// Its JSON.
    pub json: bytes::Bytes,
    /// What leads to the next one.
    pub next: Option<String>,
}

impl Page {
    fn entries(&self) -> Result<Vec<&RawValue>, Unavailable> {
        if self.status != StatusCode::OK {
            tracing::warn!(status = %self.status, "unexpected answer to a listing of sandboxes");
            return Err(Unavailable);
        }
        serde_json::from_slice(&self.json).map_err(|_| unreadable("no array"))
    }
}

fn unreadable(what: &'static str) -> Unavailable {
    tracing::warn!(what, "a listing of sandboxes could not be read");
    Unavailable
}
