//! The directory of sandboxes: id → record, learnt from answers passing by or by asking the upstream once.
//!
//! Bounded; look-ups of the same id are coalesced; an absent sandbox is remembered briefly. It holds what the upstream
//! said and decides nothing.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use moka::Expiry;
use moka::future::Cache;

use crate::principal::TenantId;
use crate::sandbox::Sandbox;
use crate::target::SandboxId;

/// Records kept. One costs about 500 bytes.
const CAPACITY: u64 = 100_000;
/// How long a record is used before the upstream is asked again.
const KNOWN_FOR: Duration = Duration::from_secs(300);
/// How long an absent sandbox is taken as absent: long enough to blunt a flood, short enough for one made elsewhere.
const ABSENT_FOR: Duration = Duration::from_secs(2);

/// What is known of an id.
#[derive(Clone, Debug)]
pub enum Entry {
    /// The upstream has it.
    Known(Arc<Sandbox>),
    /// The upstream does not.
    Absent,
}

/// The upstream could not be asked, or answered nonsense. The cause is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upstream could not be asked about a sandbox")]
pub struct Unavailable;

/// The directory. Cheap to clone; clones share the records.
#[derive(Clone, Debug)]
pub struct Directory {
    entries: Cache<SandboxId, Entry>,
    /// Only creates and connects tell a sandbox's traffic token, a look at the sandbox does not; so it is kept apart,
    /// for as long as there is room.
    traffic_tokens: moka::sync::Cache<SandboxId, HeaderValue>,
    /// Lists tell whose a sandbox is and none of its tokens, so what they tell is kept apart too.
    owners: moka::sync::Cache<SandboxId, TenantId>,
}

struct Lifetimes;

impl Expiry<SandboxId, Entry> for Lifetimes {
    fn expire_after_create(&self, _: &SandboxId, entry: &Entry, _: Instant) -> Option<Duration> {
        Some(match entry {
            Entry::Known(_) => KNOWN_FOR,
            Entry::Absent => ABSENT_FOR,
        })
    }

    fn expire_after_update(
        &self,
        id: &SandboxId,
        entry: &Entry,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(id, entry, now)
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            entries: Cache::builder().max_capacity(CAPACITY).expire_after(Lifetimes).build(),
            traffic_tokens: moka::sync::Cache::new(CAPACITY),
            owners: moka::sync::Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(KNOWN_FOR)
                .build(),
        }
    }
}

impl Directory {
    /// Whether [`Self::find`] would answer about `id` from memory.
    #[must_use]
    pub fn remembers(&self, id: &SandboxId) -> bool {
        self.entries.contains_key(id)
    }

    /// What is known of `id`, asking with `ask` when nothing is. Concurrent calls for one id share one `ask`.
    ///
    /// # Errors
    /// [`Unavailable`] when `ask` fails; failures are not remembered.
    pub async fn find<F>(
        &self,
        id: &SandboxId,
        ask: impl FnOnce() -> F,
    ) -> Result<Entry, Unavailable>
    where
        F: Future<Output = Result<Option<Sandbox>, Unavailable>>,
    {
        if let Some(entry) = self.entries.get(id).await {
            return Ok(entry);
        }
        // Rare and large: kept out of every request's own state.
        Box::pin(self.fill(id, ask())).await
    }

    /// As [`Self::find`], where it only matters whose the sandbox is: the record may lack its tokens.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn whose<F>(
        &self,
        id: &SandboxId,
        ask: impl FnOnce() -> F,
    ) -> Result<Entry, Unavailable>
    where
        F: Future<Output = Result<Option<Sandbox>, Unavailable>>,
    {
        match self.owners.get(id).filter(|_| !self.remembers(id)) {
            Some(tenant) => Ok(Entry::Known(Arc::new(Sandbox {
                id: id.clone(),
                tenant: Some(tenant),
                envd_token: None,
                traffic_token: None,
            }))),
            None => self.find(id, ask).await,
        }
    }

    async fn fill(
        &self,
        id: &SandboxId,
        ask: impl Future<Output = Result<Option<Sandbox>, Unavailable>>,
    ) -> Result<Entry, Unavailable> {
        let found = async {
            let found = ask.await?.map(|sandbox| Arc::new(self.with_traffic_token(sandbox)));
            Ok(found.map_or(Entry::Absent, Entry::Known))
        };
        let filled = self.entries.try_get_with_by_ref(id, found).await;
        filled.map_err(|failed: Arc<Unavailable>| *failed)
    }

    /// Takes over what an answer said. Where it did not say whose the sandbox is, the upstream will be asked when that
    /// matters.
    pub async fn learn(&self, sandbox: Sandbox) {
        let sandbox = self.with_traffic_token(sandbox);
        if sandbox.tenant.is_some() {
            self.entries.insert(sandbox.id.clone(), Entry::Known(Arc::new(sandbox))).await;
        } else {
            self.entries.invalidate(&sandbox.id).await;
        }
    }

    /// Takes over from a list whose `id` is.
    pub fn learn_owner(&self, id: &SandboxId, tenant: &TenantId) {
        if self.owners.get(id).as_ref() != Some(tenant) {
            self.owners.insert(id.clone(), tenant.clone());
        }
    }

    /// Forgets `id`: it was killed.
    pub async fn forget(&self, id: &SandboxId) {
        self.traffic_tokens.invalidate(id);
        self.owners.invalidate(id);
        self.entries.invalidate(id).await;
    }

    fn with_traffic_token(&self, mut sandbox: Sandbox) -> Sandbox {
        match &sandbox.traffic_token {
            Some(token) => self.traffic_tokens.insert(sandbox.id.clone(), token.clone()),
            None => sandbox.traffic_token = self.traffic_tokens.get(&sandbox.id),
        }
        sandbox
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::principal::TenantId;

    fn sandbox(id: &str) -> Sandbox {
        Sandbox {
            id: SandboxId::parse(id).unwrap(),
            tenant: TenantId::parse("team-a").ok(),
            envd_token: None,
            traffic_token: None,
        }
    }

    #[tokio::test]
    async fn concurrent_look_ups_ask_once() {
        let (directory, asked) = (Directory::default(), AtomicU32::new(0));
        let id = SandboxId::parse("i1").unwrap();
        let (release, gate) = tokio::sync::watch::channel(false);
        let ask = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            gate.clone().wait_for(|open| *open).await.map_err(|_| Unavailable)?;
            Ok(Some(sandbox("i1")))
        };
        let ((), a, b) = tokio::join!(
            async {
                release.send_replace(true);
            },
            directory.find(&id, ask),
            directory.find(&id, ask),
        );
        assert!(matches!((a, b), (Ok(Entry::Known(_)), Ok(Entry::Known(_)))));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn failures_are_not_remembered() {
        let directory = Directory::default();
        let id = SandboxId::parse("i1").unwrap();
        let failed = directory.find(&id, async || Err(Unavailable)).await;
        assert_eq!(failed.err(), Some(Unavailable));
        let found = directory.find(&id, async || Ok(Some(sandbox("i1")))).await;
        assert!(matches!(found, Ok(Entry::Known(record)) if record.id == id));
    }

    #[tokio::test]
    async fn what_was_learnt_is_not_asked_and_what_was_forgotten_is() {
        let directory = Directory::default();
        let id = SandboxId::parse("i1").unwrap();
        directory.learn(sandbox("i1")).await;
        assert!(matches!(
            directory.find(&id, async || { Err(Unavailable) }).await,
            Ok(Entry::Known(_))
        ));
        directory.forget(&id).await;
        assert!(matches!(directory.find(&id, async || { Ok(None) }).await, Ok(Entry::Absent)));
    }

    #[tokio::test]
    async fn a_list_tells_whose_a_sandbox_is_and_nothing_of_its_tokens() {
        let directory = Directory::default();
        let known = sandbox("i1");
        directory.learn_owner(&known.id, known.tenant.as_ref().unwrap());
        let whose = async || directory.whose(&known.id, async || Err(Unavailable)).await;
        assert!(matches!(whose().await, Ok(Entry::Known(found)) if found.tenant == known.tenant));
        let found = directory.find(&known.id, async || Err(Unavailable)).await;
        assert_eq!(found.err(), Some(Unavailable), "a token is needed: the upstream is asked");
        directory.forget(&known.id).await;
        assert_eq!(whose().await.err(), Some(Unavailable));
    }

    #[tokio::test]
    async fn a_traffic_token_outlives_answers_that_do_not_tell_it() {
        let directory = Directory::default();
        let told = |tenant: Option<&str>, token: Option<&'static str>| Sandbox {
            tenant: tenant.and_then(|tenant| TenantId::parse(tenant).ok()),
            traffic_token: token.map(HeaderValue::from_static),
            ..sandbox("i1")
        };
        let id = sandbox("i1").id;
        let token = async || match directory.find(&id, async || Ok(Some(sandbox("i1")))).await {
            Ok(Entry::Known(sandbox)) => sandbox.traffic_token.clone(),
            Ok(Entry::Absent) | Err(Unavailable) => None,
        };
        directory.learn(told(Some("team-a"), Some("one"))).await;
        directory.learn(told(Some("team-a"), None)).await;
        assert_eq!(token().await.unwrap(), "one");
        directory.learn(told(None, Some("two"))).await;
        assert_eq!(token().await.unwrap(), "two");
        directory.forget(&id).await;
        assert_eq!(token().await, None);
    }
}
