//! What only few answers tell of a sandbox, and what is therefore kept for longer than its record.
//!
//! It goes when the sandbox is killed through here. One that ends by itself says nothing, so that what nobody has used
//! for a day goes too: whoever comes back to a sandbox that still runs then connects to it, which tells all of it anew.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::{CAPACITY, Directory, Moment};
use crate::principal::Principal;
use crate::target::SandboxId;

/// How long something is kept that nobody uses.
const UNUSED_FOR: Duration = Duration::from_secs(24 * 3600);

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Keepsakes {
    /// Creates and connects tell it, a look at a sandbox does not.
    traffic_tokens: Cache<SandboxId, HeaderValue>,
    /// Who last got a token for a sandbox: the likely signer of its URLs. About 500 bytes each.
    holders: Cache<SandboxId, Arc<Principal>>,
}

impl Default for Keepsakes {
    fn default() -> Self {
        Self { traffic_tokens: kept(CAPACITY), holders: kept(CAPACITY) }
    }
}

/// The least used goes first: a policy that rather turns newcomers away would keep what is left of sandboxes that have
/// ended, and lose what new ones need.
fn kept<T: Clone + Send + Sync + 'static>(capacity: u64) -> Cache<SandboxId, T> {
    let cache = Cache::builder().max_capacity(capacity).eviction_policy(EvictionPolicy::lru());
    cache.time_to_idle(UNUSED_FOR).build()
}

impl Keepsakes {
    /// The traffic token that was told last.
    pub(super) fn traffic_token(&self, id: &SandboxId) -> Option<HeaderValue> {
        self.traffic_tokens.get(id)
    }

    /// Keeps a traffic token.
    pub(super) fn keep_traffic_token(&self, id: &SandboxId, token: &HeaderValue) {
        self.traffic_tokens.insert(id.clone(), token.clone());
    }

    /// The sandbox is gone.
    pub(super) fn forget(&self, id: &SandboxId) {
        self.traffic_tokens.invalidate(id);
        self.holders.invalidate(id);
    }
}

impl Directory {
    /// Who last got a token for a sandbox, or signed for it.
    #[must_use]
    pub fn last_holder(&self, id: &SandboxId) -> Option<Arc<Principal>> {
        self.keepsakes.holders.get(id)
    }

    /// Takes note that `holder` got a token for a sandbox, by an answer to what was asked at `asked`, or signed for it.
    pub fn note_holder(&self, id: &SandboxId, holder: &Arc<Principal>, asked: Moment) {
        let is_noted = self.last_holder(id).is_some_and(|last| Arc::ptr_eq(&last, holder));
        if is_noted || !self.kills.none_since(id, asked) {
            return;
        }
        self.keepsakes.holders.insert(id.clone(), Arc::clone(holder));
        // It may have been killed just now.
        if !self.kills.none_since(id, asked) {
            self.keepsakes.forget(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::tests::principal;

    #[tokio::test]
    async fn nothing_is_kept_of_what_was_killed() {
        let (id, ada) = (SandboxId::parse("i1").unwrap(), Arc::new(principal("team-a", "k1")));
        let alias = SandboxId::parse("i1-client").unwrap();
        for killed in [&id, &alias] {
            let directory = Directory::default();
            let before = directory.now();
            directory.note_holder(&id, &ada, before);
            directory.keepsakes.keep_traffic_token(&id, &HeaderValue::from_static("token"));
            assert!(Arc::ptr_eq(&directory.last_holder(&id).unwrap(), &ada));
            directory.forget(killed, true);
            assert!(directory.last_holder(&id).is_none());
            assert!(directory.keepsakes.traffic_token(&id).is_none());
            // Nor of an answer that was on its way.
            directory.note_holder(&id, &ada, before);
            assert!(directory.last_holder(&id).is_none());
        }
    }

    #[test]
    fn newcomers_are_kept_in_place_of_the_least_used() {
        let (cache, ids) = (kept(10), |number| SandboxId::parse(&format!("i{number}")).unwrap());
        for number in 0..100 {
            cache.insert(ids(number), number);
            cache.run_pending_tasks();
            assert_eq!(cache.get(&ids(number)), Some(number));
            // One that is in use stays.
            assert_eq!(cache.get(&ids(0)), Some(0));
        }
        assert_eq!(cache.entry_count(), 10);
    }
}
