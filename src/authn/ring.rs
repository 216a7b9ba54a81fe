//! The static keys in force, replaced as a whole while requests go on.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::credential::Credential;
use crate::keys::{KeyDigest, KeySet};
use crate::principal::{KeyId, Principal};

/// The key set in force. Readers take a snapshot without locking.
#[derive(Debug, Default)]
pub struct KeyRing {
    keys: ArcSwap<KeySet>,
}

impl KeyRing {
    /// A ring that starts with `keys`.
    #[must_use]
    pub fn new(keys: KeySet) -> Self {
        Self { keys: ArcSwap::from_pointee(keys) }
    }

    /// The principal a credential belongs to, whatever its dates. One hash and one look-up, however many keys there
    /// are; what an attacker can time is the look-up of a digest, which says nothing of any key.
    #[must_use]
    pub fn find(&self, credential: &Credential<'_>) -> Option<Arc<Principal>> {
        let keys = self.keys.load();
        if keys.is_empty() {
            // Where the auth callback knows them all, the digest would be for nothing.
            return None;
        }
        keys.find(&KeyDigest::of(credential.expose().as_bytes())).cloned()
    }

    /// The principal with a public id.
    #[must_use]
    pub fn by_id(&self, id: &KeyId) -> Option<Arc<Principal>> {
        self.keys.load().by_id(id).cloned()
    }

    /// All keys as of now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<KeySet> {
        self.keys.load_full()
    }

    /// Puts a new set in force, built after the one that is, and revokes what it no longer holds. Keys that did not
    /// change keep their open streams. Returns how many were revoked.
    pub fn install(&self, keys: KeySet) -> usize {
        let new = Arc::new(keys);
        let old = self.keys.swap(Arc::clone(&new));
        new.revoke_missing_from(&old)
    }
}
