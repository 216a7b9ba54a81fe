//! Identities become principals here, and end here.
//!
//! A callback principal has no key of its own, so its id is made from tenant and name: the same at every replica and
//! after every restart, as long as it is not purged. A purged id never comes back; the identity goes on under the id of
//! its next generation.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use super::identity::Identity;
use super::ledger::{Epoch, Ledger, Revoke};
use super::purged;
use crate::principal::{KeyId, Notice, Principal, Revocation, Scopes, Source, TenantId};

/// Principals of sandbox tokens that are kept made.
const HOLDERS: u64 = 10_000;
/// What ids start with; a static key's starts with a hexadecimal digit and is shorter.
const PREFIX: &str = "cb";
/// Bytes of the hash that an id shows.
const SHOWN: usize = 8;

impl Revoke for Notice {
    fn revoke(&self) {
        self.give();
    }
}

/// Every callback principal, past and present.
#[derive(Debug)]
pub(super) struct Principals {
    ledger: Ledger<KeyId, Notice>,
    holders: Cache<KeyId, Arc<Principal>>,
    directory: Option<PathBuf>,
    /// Held while the file is written.
    writing: Mutex<()>,
}

impl Principals {
    /// None yet, but for those that were purged according to `directory`.
    ///
    /// # Errors
    /// The record of purged ones cannot be read.
    pub(super) fn new(directory: Option<PathBuf>) -> io::Result<Self> {
        let dead = directory.as_deref().map(purged::read).transpose()?.unwrap_or_default();
        let holders = Cache::builder().max_capacity(HOLDERS);
        let holders = holders.eviction_policy(EvictionPolicy::lru()).build();
        Ok(Self { ledger: Ledger::new(dead), holders, directory, writing: Mutex::new(()) })
    }

    /// Now, for a call that begins.
    pub(super) fn begin(&self) -> Epoch {
        self.ledger.begin()
    }

    /// Whether no flush forgot what was learnt since `began`.
    pub(super) fn is_current(&self, began: Epoch) -> bool {
        self.ledger.is_current(began)
    }

    /// Forgets whatever was learnt.
    pub(super) fn flush(&self) {
        self.ledger.flush();
    }

    /// The principal of an identity that a call brought. `None` when that call began too early.
    pub(super) fn admit(&self, began: Epoch, identity: Identity) -> Option<Arc<Principal>> {
        let ids = generations(&identity.tenant, &identity.name);
        let (key, notice) = self.ledger.admit(began, ids)?;
        Some(Arc::new(principal(identity, key, notice)))
    }

    /// The principal that a sandbox token names.
    pub(super) fn holder(
        &self,
        tenant: &TenantId,
        name: &str,
        key: &KeyId,
        scopes: Scopes,
    ) -> Option<Arc<Principal>> {
        let is_named = |held: &Arc<Principal>| {
            held.tenant == *tenant
                && held.scopes == scopes
                && held.name.as_deref() == Some(name)
                && !held.revocation.is_revoked()
        };
        if let Some(held) = self.holders.get(key).filter(is_named) {
            return Some(held);
        }
        let (current, notice) = self.ledger.current(generations(tenant, name))?;
        if current != *key {
            return None;
        }
        let identity = Identity {
            tenant: tenant.clone(),
            name: name.into(),
            scopes,
            max_sandboxes: None,
            expires: None,
        };
        let held = Arc::new(principal(identity, current, notice));
        self.holders.insert(key.clone(), Arc::clone(&held));
        Some(held)
    }

    /// Ends the principal of this id. Whether one was live.
    ///
    /// # Errors
    /// The record could not be written. Until this process ends it is purged nevertheless.
    pub(super) fn purge(&self, key: &KeyId) -> io::Result<bool> {
        if !is_callback_id(key.as_str()) {
            return Ok(false);
        }
        let was_live = self.ledger.purge(key);
        self.holders.invalidate(key);
        if let Some(directory) = &self.directory {
            let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            purged::write(directory, self.ledger.dead())?;
        }
        Ok(was_live)
    }
}

/// Whether `text` has the form of a callback principal's id.
pub(super) fn is_callback_id(text: &str) -> bool {
    let digits = text.strip_prefix(PREFIX).unwrap_or_default();
    digits.len() == 2 * SHOWN && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The ids of an identity, from its first generation on. There are always more.
fn generations(tenant: &TenantId, name: &str) -> impl Iterator<Item = KeyId> {
    let mut named = Sha256::new_with_prefix(b"coppice-gateway callback principal 1");
    for field in [tenant.as_str(), name] {
        named.update((field.len() as u64).to_be_bytes());
        named.update(field);
    }
    (0_u64..).map(move |generation| {
        let hash = named.clone().chain_update(generation.to_be_bytes()).finalize();
        let nibbles = hash.iter().take(SHOWN).flat_map(|byte| [byte >> 4, byte & 0xf]);
        let digits = nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16));
        let mut id = String::with_capacity(PREFIX.len() + 2 * SHOWN);
        id.push_str(PREFIX);
        id.extend(digits);
        KeyId::new(&id)
    })
}

fn principal(identity: Identity, key: KeyId, notice: Arc<Notice>) -> Principal {
    let Identity { tenant, name, scopes, max_sandboxes, expires } = identity;
    Principal {
        tenant,
        name: Some(name),
        key,
        scopes,
        not_before: None,
        expires,
        max_sandboxes,
        source: Source::Callback,
        revocation: Revocation::Notice(notice),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::Scope;

    fn identity(tenant: &str, name: &str) -> Identity {
        let tenant = TenantId::parse(tenant).unwrap();
        let (name, scopes) = (name.into(), Scopes::ALL);
        Identity { tenant, name, scopes, max_sandboxes: None, expires: None }
    }

    fn admit(principals: &Principals, tenant: &str, name: &str) -> Arc<Principal> {
        principals.admit(principals.begin(), identity(tenant, name)).unwrap()
    }

    #[test]
    fn ids_are_stable_and_each_their_own() {
        let [one, other] = [(); 2].map(|()| Principals::new(None).unwrap());
        let ada = admit(&one, "team-a", "ada");
        assert_eq!(ada.key, admit(&other, "team-a", "ada").key);
        assert_eq!(ada.key.as_str(), "cb125e54bd42b38cf1");
        assert!(is_callback_id(ada.key.as_str()));
        for (tenant, name) in [("team-a", "bob"), ("team-b", "ada"), ("team-aa", "da")] {
            assert_ne!(admit(&one, tenant, name).key, ada.key);
        }
    }

    #[test]
    fn principals_of_one_id_are_revoked_together_and_alone() {
        let principals = Principals::new(None).unwrap();
        let [one, other] = [(); 2].map(|()| admit(&principals, "team-a", "ada"));
        let bob = admit(&principals, "team-a", "bob");
        assert!(principals.purge(&one.key).unwrap());
        assert!(one.revocation.is_revoked() && other.revocation.is_revoked());
        assert!(!bob.revocation.is_revoked());
        let next = admit(&principals, "team-a", "ada");
        assert!(next.key != one.key && !next.revocation.is_revoked());
        assert!(!principals.purge(&one.key).unwrap());
    }

    #[test]
    fn a_call_that_began_before_a_purge_names_nobody() {
        let principals = Principals::new(None).unwrap();
        let began = principals.begin();
        principals.purge(&admit(&principals, "team-a", "ada").key).unwrap();
        assert!(principals.admit(began, identity("team-a", "ada")).is_none());
        assert!(principals.admit(began, identity("team-a", "bob")).is_some());
        principals.flush();
        assert!(principals.admit(began, identity("team-a", "bob")).is_none());
    }

    #[test]
    fn a_token_is_held_by_whom_it_names_until_the_purge() {
        let principals = Principals::new(None).unwrap();
        let ada = admit(&principals, "team-a", "ada");
        let scopes = Scopes::default().with(Scope::Exec);
        let holder = |tenant, name, key| {
            principals.holder(&TenantId::parse(tenant).unwrap(), name, key, scopes)
        };
        for _ in 0..2 {
            let held = holder("team-a", "ada", &ada.key).unwrap();
            assert!(!held.revocation.is_revoked());
            assert!(held.scopes.allows(Scope::Exec) && !held.scopes.allows(Scope::Owner));
            assert!(holder("team-a", "bob", &ada.key).is_none());
            assert!(holder("team-b", "ada", &ada.key).is_none());
        }
        principals.flush();
        assert!(holder("team-a", "ada", &ada.key).is_some());
        principals.purge(&ada.key).unwrap();
        assert!(holder("team-a", "ada", &ada.key).is_none());
        let next = admit(&principals, "team-a", "ada");
        assert!(holder("team-a", "ada", &next.key).is_some());
    }

    #[test]
    fn a_purge_outlives_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Principals::new(Some(directory.path().to_owned())).unwrap();
        let first = open();
        let ada = admit(&first, "team-a", "ada");
        assert!(first.purge(&ada.key).unwrap());
        // Nobody is live here, but it is dead all the same.
        let unseen = generations(&TenantId::parse("team-b").unwrap(), "eve").next().unwrap();
        assert!(!first.purge(&unseen).unwrap());
        assert!(!first.purge(&KeyId::new("0123456789abcdef")).unwrap());
        let second = open();
        assert_ne!(admit(&second, "team-a", "ada").key, ada.key);
        assert_ne!(admit(&second, "team-b", "eve").key, unseen);
        assert_eq!(purged::read(directory.path()).unwrap().len(), 2);
    }

    #[test]
    fn a_record_that_cannot_be_written_is_an_error_and_a_purge() {
        let directory = tempfile::tempdir().unwrap();
        let (file, gone) = (directory.path().join("file"), directory.path().join("a/b"));
        let principals = Principals::new(Some(file.clone())).unwrap();
        std::fs::write(file, "").unwrap();
        let ada = admit(&principals, "team-a", "ada");
        assert!(principals.purge(&ada.key).is_err());
        assert!(ada.revocation.is_revoked());
        // A directory that is not there yet is no such thing.
        let principals = Principals::new(Some(gone.clone())).unwrap();
        let ada = admit(&principals, "team-a", "ada");
        assert!(principals.purge(&ada.key).unwrap());
        assert_eq!(purged::read(&gone).unwrap(), std::slice::from_ref(&ada.key));
    }

    #[test]
    fn replicas_that_share_a_record_lose_no_purge() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Principals::new(Some(directory.path().to_owned())).unwrap();
        let (one, other) = (open(), open());
        let (ada, bob) = (admit(&one, "team-a", "ada"), admit(&other, "team-a", "bob"));
        assert!(one.purge(&ada.key).unwrap() && other.purge(&bob.key).unwrap());
        let third = open();
        assert_ne!(admit(&third, "team-a", "ada").key, ada.key);
        assert_ne!(admit(&third, "team-a", "bob").key, bob.key);
    }
}
