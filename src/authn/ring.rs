//! The static keys in force, replaced as a whole while requests go on.
//!
//! A key is some bytes of a table until somebody comes with it. Its principal is made then, each time: that takes less than
//! to find one that was made before, which is nothing that a processor's caches could hold of many keys in use.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::clock::UnixTime;
use crate::credential::Credential;
use crate::keys::{Key, KeyDigest, KeySet};
use crate::principal::{KeyId, Membership, Principal, Revocation, Roll, Scope, TenantId};
use crate::tally::{self, COPIES};

/// Those who wait for a change are spread over so many lists, as a lock is taken for each who comes or goes.
const BELLS: usize = 32;

/// The key set in force. Readers take a snapshot without locking.
pub struct KeyRing {
    standing: Arc<Standing>,
    /// For principals to hold on to: each counts for a thread, or for few.
    holds: [Arc<Hold>; COPIES],
}

/// What has a reference count in a cache line of its own, which no other worker writes to.
#[repr(align(128))]
struct Hold(Arc<Standing>);

/// Which keys are in force, for those who came in by one.
#[derive(Default)]
struct Standing {
    keys: ArcSwap<KeySet>,
    /// The edition of the keys; open streams look at it often.
    edition: AtomicU32,
    bells: [Notify; BELLS],
}

impl Default for KeyRing {
    fn default() -> Self {
        let standing = Arc::<Standing>::default();
        let holds = std::array::from_fn(|_| Arc::new(Hold(Arc::clone(&standing))));
        Self { standing, holds }
    }
}

impl KeyRing {
    /// A ring that starts with `keys`.
    #[must_use]
    pub fn new(keys: KeySet) -> Self {
        let ring = Self::default();
        ring.install(keys);
        ring
    }

    /// The principal a credential belongs to, whatever its dates. One hash and one look-up, however many keys there
    /// are; what an attacker can time is the look-up of a digest, which says nothing of any key.
    #[must_use]
    pub fn find(&self, credential: &Credential<'_>) -> Option<Arc<Principal>> {
        let keys = self.standing.keys.load();
        let key = look_up(&keys, credential)?;
        Some(self.principal(&keys, &key))
    }

    /// Whether a credential is a key, whatever its dates.
    #[must_use]
    pub fn knows(&self, credential: &Credential<'_>) -> bool {
        look_up(&self.standing.keys.load(), credential).is_some()
    }

    /// The principal with a public id.
    #[must_use]
    pub fn by_id(&self, id: &KeyId) -> Option<Arc<Principal>> {
        let keys = self.standing.keys.load();
        let key = keys.by_id(id)?;
        Some(self.principal(&keys, &key))
    }

    /// The first of a tenant's keys, or else of the admins', that is valid, grants `needed` and `is_it`.
    #[must_use]
    pub fn search(
        &self,
        tenant: Option<&TenantId>,
        now: UnixTime,
        needed: Scope,
        is_it: impl Fn(&Arc<Principal>) -> bool,
    ) -> Option<Arc<Principal>> {
        let keys = self.snapshot();
        let of_tenant = tenant.into_iter().flat_map(|tenant| keys.of_tenant(tenant));
        of_tenant
            .chain(keys.admins())
            .filter(|key| key.is_valid_at(now) && key.scopes().allows(needed))
            .map(|key| self.principal(&keys, &key))
            .find(is_it)
    }

    /// All keys as of now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<KeySet> {
        self.standing.keys.load_full()
    }

    /// Puts a new set in force, built after the one that is, and revokes what it no longer holds. Keys that did not
    /// change keep their open streams. Returns how many were revoked.
    pub fn install(&self, keys: KeySet) -> usize {
        let new = Arc::new(keys);
        let old = self.standing.keys.swap(Arc::clone(&new));
        // In this order: whoever sees the edition, or hears a bell, finds the set.
        self.standing.edition.store(new.edition(), Ordering::Release);
        self.standing.bells.iter().for_each(Notify::notify_waiters);
        new.missing_from(&old)
    }

    fn principal(&self, keys: &KeySet, key: &Key<'_>) -> Arc<Principal> {
        let [first, ..] = &self.holds;
        let roll = Arc::clone(self.holds.get(tally::copy()).unwrap_or(first));
        let (digest, since) = (key.digest().bytes(), key.since());
        let membership = Membership::new(roll, digest, since, keys.edition());
        Arc::new(key.principal(Revocation::Roll(membership)))
    }
}

fn look_up<'k>(keys: &'k KeySet, credential: &Credential<'_>) -> Option<Key<'k>> {
    if keys.is_empty() {
        // Where the auth callback knows them all, the digest would be for nothing.
        return None;
    }
    keys.find(&KeyDigest::of(credential.expose().as_bytes()))
}

impl Roll for Hold {
    fn edition(&self) -> u32 {
        self.0.edition.load(Ordering::Acquire)
    }

    fn holds(&self, digest: &[u8; 32], since: u32) -> bool {
        let keys = self.0.keys.load();
        keys.find(&KeyDigest::from(*digest)).is_some_and(|key| key.since() == since)
    }

    fn changed(&self, digest: &[u8; 32]) -> &Notify {
        let [first, ..] = digest;
        let [bell, ..] = &self.0.bells;
        self.0.bells.get(usize::from(*first) % BELLS).unwrap_or(bell)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({:?})", self.standing.keys.load())
    }
}

#[cfg(test)]
mod tests;
