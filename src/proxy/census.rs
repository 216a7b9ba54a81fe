//! Lists a tenant's sandboxes for the quota ledger, which otherwise only knows what passed by.
//!
//! One listing of a tenant is under way at a time, and whoever needs one takes the result of any that began after it
//! asked. A listing counts only when it was read to its end; what cannot be read proves nothing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::StatusCode;
use serde_json::value::RawValue;
use tokio::time::MissedTickBehavior;

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
/// Most tenants that are listed at once because it is due, so that one whose listing is slow does not hold up all others.
const AT_ONCE: usize = 8;

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
        let turn = self.turn(tenant);
        shared(&turn, |began| async move {
            let listing = tokio::time::timeout(LIMIT, self.list(asker, tenant, began));
            listing.await.unwrap_or_else(|_| {
                tracing::warn!(%tenant, "listing a tenant's sandboxes took too long");
                Err(Unavailable)
            })
        })
        .await
    }

    /// Lists whatever is due, for as long as it is polled.
    pub async fn keep(&self, asker: &Asker, cadence: Cadence) {
        let mut begun: HashMap<TenantId, Instant> = HashMap::new();
        let mut due = VecDeque::new();
        let mut busy = HashSet::new();
        let mut under_way = FuturesUnordered::new();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while under_way.len() < AT_ONCE
                && let Some(tenant) = due.pop_front()
            {
                if busy.insert(TenantId::clone(&tenant)) {
                    begun.insert(tenant.clone(), clock::instant());
                    under_way.push(async move {
                        // The cause is in the log, and the next turn comes.
                        let _ = self.take(asker, &tenant).await;
                        tenant
                    });
                }
            }
            tokio::select! {
                Some(tenant) = under_way.next() => {
                    busy.remove(&tenant);
                }
                _ = tick.tick() => {
                    let now = clock::instant();
                    let Ok(standings) = self.ledger.standings(now).await else { continue };
                    let known: HashSet<_> = standings.iter().map(|(tenant, _)| tenant).collect();
                    begun.retain(|tenant, _| known.contains(tenant));
                    self.clear(&known);
                    due = cadence.due(standings, &begun, now).into();
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

/// What a listing that began after this call came to, made by whoever's turn it is. One that failed is shared as well:
/// otherwise all who wait for an upstream that does not answer would wait for each other.
async fn shared<F>(turn: &Turn, list: impl FnOnce(Instant) -> F) -> Result<(), Unavailable>
where
    F: Future<Output = Result<(), Unavailable>>,
{
    let wanted = clock::instant();
    let mut last = turn.lock().await;
    if let Some(taken) = last.filter(|taken| taken.began >= wanted) {
        return taken.outcome;
    }
    let began = clock::instant();
    let outcome = list(began).await;
    *last = Some(Taken { began, outcome });
    outcome
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How many listings are made for a hundred who ask at once.
    async fn made(result: Result<(), Unavailable>) -> usize {
        let (turn, count) = (Turn::default(), Cell::new(0));
        let ask = || {
            shared(&turn, |_| async {
                count.set(count.get() + 1);
                tokio::time::sleep(Duration::from_secs(20)).await;
                result
            })
        };
        let began = tokio::time::Instant::now();
        for told in futures_util::future::join_all((0..100).map(|_| ask())).await {
            assert_eq!(told, result);
        }
        assert!(began.elapsed() <= Duration::from_secs(41));
        count.get()
    }

    #[tokio::test(start_paused = true)]
    async fn one_listing_serves_all_who_wait_for_it_however_it_ends() {
        assert_eq!(made(Ok(())).await, 2);
        assert_eq!(made(Err(Unavailable)).await, 2);
    }
}
