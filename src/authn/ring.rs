//! The static keys in force, replaced as a whole while requests go on.
//!
//! A key is some bytes of a table until somebody comes with it: principals are made then. A few thousand are kept, so
//! that keys in use are not made anew for each request; how many keys were ever used takes no memory.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, TryLockError};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::clock::UnixTime;
use crate::credential::Credential;
use crate::keys::{Key, KeyDigest, KeySet};
use crate::principal::{KeyId, Principal, Revocation, Roll, Scope, TenantId};

/// Principals that are kept at most.
const SEATS: usize = 4096;

/// Those who wait for a change are spread over so many lists, as a lock is taken for each who comes or goes.
const BELLS: usize = 32;

/// The key set in force. Readers take a snapshot without locking.
#[derive(Debug, Default)]
pub struct KeyRing {
    current: Arc<Current>,
}

#[derive(Default)]
struct Current {
    held: ArcSwap<Held>,
    /// The edition of what is held; open streams look at it often.
    edition: AtomicU32,
    bells: [Notify; BELLS],
}

/// A set, and the principals of some of its keys, each in the one seat that its number gives it.
#[derive(Default)]
struct Held {
    keys: Arc<KeySet>,
    seats: Box<[Mutex<Option<Arc<Principal>>>]>,
}

impl Held {
    fn new(keys: KeySet) -> Self {
        let seats = keys.len().next_power_of_two().min(SEATS);
        Self { keys: Arc::new(keys), seats: (0..seats).map(|_| Mutex::default()).collect() }
    }

    fn seat(&self, key: &Key<'_>) -> Option<&Mutex<Option<Arc<Principal>>>> {
        self.seats.get(key.number() as usize % self.seats.len().max(1))
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
        let held = self.current.held.load();
        if held.keys.is_empty() {
            // Where the auth callback knows them all, the digest would be for nothing.
            return None;
        }
        let key = held.keys.find(&KeyDigest::of(credential.expose().as_bytes()))?;
        Some(self.seated(&held, &key))
    }

    /// Whether a credential is a key, whatever its dates.
    #[must_use]
    pub fn knows(&self, credential: &Credential<'_>) -> bool {
        let held = self.current.held.load();
        !held.keys.is_empty()
            && held.keys.find(&KeyDigest::of(credential.expose().as_bytes())).is_some()
    }

    /// The principal with a public id.
    #[must_use]
    pub fn by_id(&self, id: &KeyId) -> Option<Arc<Principal>> {
        let held = self.current.held.load();
        let key = held.keys.by_id(id)?;
        Some(self.seated(&held, &key))
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
        let held = self.current.held.load_full();
        let of_tenant = tenant.into_iter().flat_map(|tenant| held.keys.of_tenant(tenant));
        of_tenant
            .chain(held.keys.admins())
            .filter(|key| key.is_valid_at(now) && key.allows(needed))
            .map(|key| self.principal(&held, &key))
            .find(is_it)
    }

    /// All keys as of now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<KeySet> {
        Arc::clone(&self.current.held.load().keys)
    }

    /// Puts a new set in force, built after the one that is, and revokes what it no longer holds. Keys that did not
    /// change keep their open streams. Returns how many were revoked.
    #[expect(
        clippy::must_use_candidate,
        reason = "called for its effect; the count is for a log line"
    )]
    pub fn install(&self, keys: KeySet) -> usize {
        let edition = keys.edition();
        let new = Arc::new(Held::new(keys));
        let old = self.current.held.swap(Arc::clone(&new));
        // In this order: whoever sees the edition, or hears a bell, finds the set.
        self.current.edition.store(edition, Ordering::Release);
        self.current.bells.iter().for_each(Notify::notify_waiters);
        new.keys.missing_from(&old.keys)
    }

    /// The principal of a key, from its seat or put there. Nobody waits for a seat that is taken at the moment.
    fn seated(&self, held: &Held, key: &Key<'_>) -> Arc<Principal> {
        let mut seat = match held.seat(key).map(Mutex::try_lock) {
            Some(Ok(seat)) => seat,
            Some(Err(TryLockError::Poisoned(poisoned))) => poisoned.into_inner(),
            Some(Err(TryLockError::WouldBlock)) | None => return self.principal(held, key),
        };
        let digest = key.digest().bytes();
        if let Some(principal) = seat.as_ref().filter(|one| one.revocation.is_for(&digest)) {
            return Arc::clone(principal);
        }
        let principal = self.principal(held, key);
        *seat = Some(Arc::clone(&principal));
        principal
    }

    fn principal(&self, held: &Held, key: &Key<'_>) -> Arc<Principal> {
        let roll = Arc::clone(&self.current);
        let (digest, seen) = (key.digest().bytes(), held.keys.edition());
        let revocation = Revocation::by_roll(roll, digest, key.since(), seen);
        Arc::new(key.principal(Arc::new(revocation)))
    }
}

impl Roll for Current {
    fn edition(&self) -> u32 {
        self.edition.load(Ordering::Acquire)
    }

    fn holds(&self, digest: &[u8; 32], since: u32) -> bool {
        let held = self.held.load();
        held.keys.find(&KeyDigest::from(*digest)).is_some_and(|key| key.since() == since)
    }

    fn changed(&self, digest: &[u8; 32]) -> &Notify {
        let [first, ..] = digest;
        let [bell, ..] = &self.bells;
        self.bells.get(usize::from(*first) % BELLS).unwrap_or(bell)
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.held.load().keys.fmt(f)
    }
}

#[cfg(test)]
mod tests;
