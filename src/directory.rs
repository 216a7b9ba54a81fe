//! The directory of sandboxes: id → record, learnt from answers passing by or by asking the upstream once.
//!
//! Bounded; look-ups of the same id are coalesced; an absent sandbox is remembered briefly. It holds what the upstream said
//! and decides nothing.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;

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
        Self { entries: Cache::builder().max_capacity(CAPACITY).expire_after(Lifetimes).build() }
    }
}

impl Directory {
    /// What is known of `id`, asking with `ask` when nothing is. Concurrent calls for one id share one `ask`.
    ///
    /// # Errors
    /// [`Unavailable`] when `ask` fails; failures are not remembered.
    pub async fn find<F>(&self, id: &SandboxId, ask: F) -> Result<Entry, Unavailable>
    where
        F: Future<Output = Result<Option<Sandbox>, Unavailable>>,
    {
        if let Some(entry) = self.entries.get(id).await {
            return Ok(entry);
        }
        let fill = async {
            Ok(ask.await?.map_or(Entry::Absent, |sandbox| Entry::Known(Arc::new(sandbox))))
        };
        self.entries.try_get_with_by_ref(id, fill).await.map_err(|failed: Arc<Unavailable>| *failed)
    }

    /// Takes over what an answer said.
    pub async fn learn(&self, sandbox: Sandbox) {
        self.entries.insert(sandbox.id.clone(), Entry::Known(Arc::new(sandbox))).await;
    }

    /// Forgets `id`: it was killed, or changed in a way that only the upstream knows.
    pub async fn forget(&self, id: &SandboxId) {
        self.entries.invalidate(id).await;
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
            directory.find(&id, ask()),
            directory.find(&id, ask()),
        );
        assert!(matches!((a, b), (Ok(Entry::Known(_)), Ok(Entry::Known(_)))));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn failures_are_not_remembered() {
        let directory = Directory::default();
        let id = SandboxId::parse("i1").unwrap();
        let failed = directory.find(&id, async { Err(Unavailable) }).await;
        assert_eq!(failed.err(), Some(Unavailable));
        let found = directory.find(&id, async { Ok(Some(sandbox("i1"))) }).await;
        assert!(matches!(found, Ok(Entry::Known(record)) if record.id == id));
    }

    #[tokio::test]
    async fn what_was_learnt_is_not_asked_and_what_was_forgotten_is() {
        let directory = Directory::default();
        let id = SandboxId::parse("i1").unwrap();
        directory.learn(sandbox("i1")).await;
        assert!(matches!(
            directory.find(&id, async { Err(Unavailable) }).await,
            Ok(Entry::Known(_))
        ));
        directory.forget(&id).await;
        assert!(matches!(directory.find(&id, async { Ok(None) }).await, Ok(Entry::Absent)));
    }
}
