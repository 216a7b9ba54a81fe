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
use crate::sandbox::Sandbox;
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
    turns: Mutex<HashMap<TenantId, Arc<Turn<usize>>>>,
    whole: Turn<Arc<HashMap<TenantId, usize>>>,
}

/// A turn to be listed: the lock is held while that goes on, over how it went last and what it counted.
type Turn<T> = tokio::sync::Mutex<Option<Taken<T>>>;

/// A listing that is over.
#[derive(Debug)]
struct Taken<T> {
    began: Instant,
    result: Result<T, Unavailable>,
}

impl Census {
    /// A census that tells `ledger`.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, directory: Directory) -> Self {
        Self { ledger, directory, turns: Mutex::default(), whole: Turn::default() }
    }

    /// Sees to it that the ledger knows what the upstream held of a tenant at some moment after this call, and returns
    /// how many sandboxes that were. The ledger forgets it again where nobody limits the tenant.
    ///
    /// # Errors
    /// [`Unavailable`], with the cause in the log.
    pub async fn take(&self, asker: &Asker, tenant: &TenantId) -> Result<usize, Unavailable> {
        let turn = self.turn(tenant);
        shared(&turn, |began| self.list(asker, tenant, began)).await
    }

    /// The same for all tenants in one listing. Tenants that have no sandbox are not in what it returns, nor are
    /// sandboxes that belong to none.
    ///
    /// # Errors
    /// [`Unavailable`], with the cause in the log.
    pub async fn take_all(
        &self,
        asker: &Asker,
    ) -> Result<Arc<HashMap<TenantId, usize>>, Unavailable> {
        shared(&self.whole, |began| self.list_all(asker, began)).await
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

    fn turn(&self, tenant: &TenantId) -> Arc<Turn<usize>> {
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
    ) -> Result<usize, Unavailable> {
        let mark = self.ledger.begin_listing(began).await.map_err(|_| Unavailable)?;
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
        let mut ids = HashSet::new();
        let take = |owner, id| {
            if owner == *tenant {
                ids.insert(id);
            }
        };
        self.read(asker, &filter, take).await?;
        self.ledger.apply_listing(tenant, mark, &ids).await.map_err(|_| Unavailable)?;
        Ok(ids.len())
    }

    async fn list_all(
        &self,
        asker: &Asker,
        began: Instant,
    ) -> Result<Arc<HashMap<TenantId, usize>>, Unavailable> {
        let mark = self.ledger.begin_listing(began).await.map_err(|_| Unavailable)?;
        let mut ids: HashMap<TenantId, HashSet<SandboxId>> = HashMap::new();
        let take = |owner, id| {
            ids.entry(owner).or_default().insert(id);
        };
        self.read(asker, "", take).await?;
        let (known, none) = (self.ledger.standings(began).await, HashSet::new());
        for (tenant, _) in known.map_err(|_| Unavailable)? {
            let of_tenant = ids.get(&tenant).unwrap_or(&none);
            let applied = self.ledger.apply_listing(&tenant, mark, of_tenant).await;
            applied.map_err(|_| Unavailable)?;
        }
        let counts = ids.into_iter().map(|(tenant, ids)| (tenant, ids.len()));
        Ok(Arc::new(counts.collect()))
    }

    /// Gives `take` each sandbox that is somebody's, running or paused, with whose it is.
    async fn read(
        &self,
        asker: &Asker,
        filter: &str,
        mut take: impl FnMut(TenantId, SandboxId),
    ) -> Result<(), Unavailable> {
        let mut next = None::<String>;
        for _ in 0..MAX_PAGES {
            let page = asker.page(filter, next.as_deref()).await?;
            for sandbox in page.sandboxes()? {
                if let Some(owner) = self.directory.owner(&sandbox) {
                    take(owner, sandbox.id);
                }
            }
            match page.next {
                Some(token) if next.as_ref() != Some(&token) => next = Some(token),
                Some(_) => return Err(unreadable("a page that leads to itself")),
                None => return Ok(()),
            }
        }
        Err(unreadable("more pages than can be"))
    }
}

/// What a listing that began after this call came to, made by whoever's turn it is. One that failed is shared as well:
/// otherwise all who wait for an upstream that does not answer would wait for each other.
async fn shared<T: Clone, F>(
    turn: &Turn<T>,
    list: impl FnOnce(Instant) -> F,
) -> Result<T, Unavailable>
where
    F: Future<Output = Result<T, Unavailable>>,
{
    let wanted = clock::instant();
    let mut last = turn.lock().await;
    if let Some(taken) = last.as_ref().filter(|taken| taken.began >= wanted) {
        return taken.result.clone();
    }
    let began = clock::instant();
    let result = tokio::time::timeout(LIMIT, list(began)).await.unwrap_or_else(|_| {
        tracing::warn!("listing sandboxes took too long");
        Err(Unavailable)
    });
    *last = Some(Taken { began, result: result.clone() });
    result
}

/// One page of a listing.
#[derive(Debug)]
pub struct Page {
    /// Which generation of the API it is from: 2, or 1 where the upstream has no other.
    pub generation: u8,
    /// The status that it came with.
    pub status: StatusCode,
    /// Its JSON.
    pub json: bytes::Bytes,
    /// What leads to the next one.
    pub next: Option<String>,
}

impl Page {
    /// What it lists.
    ///
    /// # Errors
    /// [`Unavailable`] where it is no listing of sandboxes, with the cause in the log.
    pub fn sandboxes(&self) -> Result<Vec<Sandbox>, Unavailable> {
        if self.status != StatusCode::OK {
            tracing::warn!(status = %self.status, "unexpected answer to a listing of sandboxes");
            return Err(Unavailable);
        }
        let entries: Vec<&RawValue> =
            serde_json::from_slice(&self.json).map_err(|_| unreadable("no array"))?;
        let read =
            |entry: &RawValue| record(entry.get().as_bytes()).ok_or_else(|| unreadable("an entry"));
        entries.into_iter().map(read).collect()
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
