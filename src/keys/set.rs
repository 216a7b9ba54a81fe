//! The set of keys in force: an immutable snapshot, replaced as a whole.
//!
//! Every lookup is one hash, however many keys there are. A set built after another keeps the very principals of
//! entries that did not change, so that streams opened under them live on; the rest are revoked.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use super::digest::DigestHash;
use super::{KeyDigest, KeyEntry, KeyFault, KeyProblem};
use crate::principal::{KeyId, Principal, Scope, Source, TenantId, Vouched};

/// The keys in force.
#[derive(Default)]
pub struct KeySet {
    by_digest: HashMap<KeyDigest, Arc<Principal>, DigestHash>,
    by_id: HashMap<Box<str>, Arc<Principal>>,
    by_tenant: HashMap<TenantId, Vec<Arc<Principal>>>,
    admins: Vec<Arc<Principal>>,
}

impl KeySet {
    /// Builds a set from the entries of all sources together. Entries that say the same of the same key are one.
    ///
    /// # Errors
    /// A problem for each entry that contradicts an earlier one about its key.
    pub fn build(entries: Vec<KeyEntry>, previous: Option<&Self>) -> Result<Self, Vec<KeyProblem>> {
        let mut distinct: HashMap<KeyDigest, KeyEntry, DigestHash> =
            HashMap::with_capacity_and_hasher(entries.len(), DigestHash::default());
        let mut order = Vec::with_capacity(entries.len());
        let mut problems = Vec::new();
        for entry in entries {
            match distinct.entry(entry.digest) {
                Entry::Vacant(slot) => {
                    order.push(entry.digest);
                    slot.insert(entry);
                }
                Entry::Occupied(first) if first.get().says_the_same(&entry) => {}
                Entry::Occupied(first) => problems.push(conflict(first.get(), entry)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut set = Self::default();
        for digest in order {
            if let Some(entry) = distinct.remove(&digest) {
                let kept =
                    previous.and_then(|old| old.find(&digest)).filter(|old| is_same(old, &entry));
                set.insert(digest, kept.cloned().unwrap_or_else(|| Arc::new(principal(entry))));
            }
        }
        Ok(set)
    }

    fn insert(&mut self, digest: KeyDigest, principal: Arc<Principal>) {
        self.by_id.insert(principal.key.as_str().into(), principal.clone());
        self.by_tenant.entry(principal.tenant.clone()).or_default().push(principal.clone());
        if principal.scopes.allows(Scope::Admin) {
            self.admins.push(principal.clone());
        }
        self.by_digest.insert(digest, principal);
    }

    /// Revokes every principal of `old` that this set does not hold: removed keys, and keys whose entry changed.
    ///
    /// Call it after this set took the place of `old`. Returns how many were revoked.
    #[expect(
        clippy::must_use_candidate,
        reason = "called for its effect; the count is for a log line"
    )]
    pub fn revoke_missing_from(&self, old: &Self) -> usize {
        let mut revoked = 0;
        for (digest, principal) in &old.by_digest {
            if !self.find(digest).is_some_and(|kept| Arc::ptr_eq(kept, principal)) {
                principal.revocation.revoke();
                revoked += 1;
            }
        }
        revoked
    }

    /// The principal of a key. Its dates are the caller's to check.
    #[must_use]
    pub fn find(&self, digest: &KeyDigest) -> Option<&Arc<Principal>> {
        self.by_digest.get(digest)
    }

    /// The principal with a public id.
    #[must_use]
    pub fn by_id(&self, id: &KeyId) -> Option<&Arc<Principal>> {
        self.by_id_str(id.as_str())
    }

    /// The principal with a public id, as text.
    #[must_use]
    pub fn by_id_str(&self, id: &str) -> Option<&Arc<Principal>> {
        self.by_id.get(id)
    }

    /// The principals of a tenant, in the order of their entries.
    #[must_use]
    pub fn of_tenant(&self, tenant: &TenantId) -> &[Arc<Principal>] {
        self.by_tenant.get(tenant).map_or(&[], Vec::as_slice)
    }

    /// The principals with the admin scope, of whatever tenant.
    #[must_use]
    pub fn admins(&self) -> &[Arc<Principal>] {
        &self.admins
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }

    /// Every principal, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Principal>> {
        self.by_digest.values()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({} keys, {} tenants)", self.len(), self.by_tenant.len())
    }
}

fn principal(entry: KeyEntry) -> Principal {
    let key = entry.digest.key_id(&entry.tenant);
    Principal {
        vouched: Vouched::of(&entry.tenant, entry.name.as_deref(), &key, entry.scopes),
        key,
        tenant: entry.tenant,
        name: entry.name,
        scopes: entry.scopes,
        not_before: entry.not_before,
        expires: entry.expires,
        max_sandboxes: None,
        source: Source::Static,
        revocation: Arc::default(),
    }
}

/// Whether `old` is what `entry` would become, and still good.
fn is_same(old: &Principal, entry: &KeyEntry) -> bool {
    old.tenant == entry.tenant
        && old.name == entry.name
        && old.scopes == entry.scopes
        && old.not_before == entry.not_before
        && old.expires == entry.expires
        && !old.revocation.is_revoked()
}

fn conflict(first: &KeyEntry, second: KeyEntry) -> KeyProblem {
    let what = if first.tenant != second.tenant {
        "tenant"
    } else if first.scopes != second.scopes {
        "set of scopes"
    } else if first.name != second.name {
        "name"
    } else {
        "validity"
    };
    let fault = KeyFault::Conflict { first: first.place.clone(), what };
    KeyProblem { place: second.place, tenant: Some(second.tenant), fault }
}
