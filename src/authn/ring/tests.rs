//! Who is let in before and after a set of keys takes the place of another, and who hears of it.

use std::pin::pin;
use std::task::{Context, Waker};

use super::*;
use crate::credential::Kind;
use crate::keys::{KeyDraft, KeyFile, read_list};

fn set(text: &str, previous: Option<&KeySet>) -> KeySet {
    let mut draft = KeyDraft::default();
    read_list(&mut draft, "KEYS", text);
    draft.finish(previous).unwrap()
}

fn find(ring: &KeyRing, key: &str) -> Option<Arc<Principal>> {
    ring.find(&Credential::new(Kind::ApiKey, key))
}

fn reload(ring: &KeyRing, text: &str) -> usize {
    ring.install(set(text, Some(&ring.snapshot())))
}

#[test]
fn a_reload_revokes_what_changed_and_nothing_else() {
    let ring = KeyRing::new(set("a:kept:read,a:gone:read,a:raised:read,a:moved:read", None));
    let before = |key| find(&ring, key).unwrap();
    let kept = before("kept");
    let changed = ["gone", "raised", "moved"].map(before);
    assert_eq!(reload(&ring, "b:moved:read,a:raised:admin,a:kept:read,a:new:read"), 3);
    assert!(!kept.revocation.is_revoked());
    assert!(changed.iter().all(|principal| principal.revocation.is_revoked()));
    assert!(find(&ring, "gone").is_none());
    for (key, tenant) in [("kept", "a"), ("raised", "a"), ("moved", "b"), ("new", "a")] {
        let principal = find(&ring, key).unwrap();
        assert_eq!(principal.tenant.as_str(), tenant);
        assert!(!principal.revocation.is_revoked());
    }
}

#[test]
fn a_key_that_returns_is_a_new_one_even_for_those_who_missed_it() {
    let ring = KeyRing::new(set("a:k:read,a:kept:read", None));
    let (first, kept) = (find(&ring, "k").unwrap(), find(&ring, "kept").unwrap());
    reload(&ring, "a:kept:read");
    reload(&ring, "a:k:read,a:kept:read");
    assert!(first.revocation.is_revoked(), "it was gone in between, when nobody looked");
    assert!(!find(&ring, "k").unwrap().revocation.is_revoked());
    assert!(!kept.revocation.is_revoked());
}

#[test]
fn a_set_that_was_made_after_another_revokes_all() {
    let ring = KeyRing::new(set("a:k:read,a:l:read", None));
    let old = find(&ring, "k").unwrap();
    assert_eq!(ring.install(set("a:k:read", None)), 2);
    assert!(old.revocation.is_revoked());
}

#[tokio::test]
async fn those_who_wait_hear_of_their_own_key_only() {
    let ring = KeyRing::new(set("a:k:read,a:kept:read", None));
    let (gone, kept) = (find(&ring, "k").unwrap(), find(&ring, "kept").unwrap());
    let waits = {
        let gone = Arc::clone(&gone);
        tokio::spawn(async move { gone.revocation.revoked().await })
    };
    let mut stays = pin!(kept.revocation.revoked());
    let mut is_over = || stays.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    assert!(!is_over(), "nothing happened yet");
    tokio::task::yield_now().await;
    reload(&ring, "a:kept:read");
    waits.await.unwrap();
    gone.revocation.revoked().await;
    assert!(!is_over(), "its key is still there");
    reload(&ring, "a:other:read");
    assert!(is_over(), "and now it is not");
}

#[test]
fn one_key_is_found_by_itself_and_by_its_id() {
    let text: String = (0..100).map(|key| format!("t{}:k{key}:read\n", key % 7)).collect();
    let ring = KeyRing::new(set(&text, None));
    for key in 0..100 {
        let principal = find(&ring, &format!("k{key}")).unwrap();
        assert_eq!(principal.tenant.as_str(), format!("t{}", key % 7));
        assert_eq!(principal.key, ring.by_id(&principal.key).unwrap().key);
    }
    assert_eq!(reload(&ring, &text.replace("k7:read", "k7:exec")), 1);
    assert_eq!(find(&ring, "k7").unwrap().scopes.label(), "exec");
}

#[test]
fn numbers_that_shift_with_a_reload_mislead_nobody() {
    let ring = KeyRing::new(set("a:gone:read,b:kept:exec", None));
    assert_eq!(find(&ring, "gone").unwrap().tenant.as_str(), "a");
    reload(&ring, "b:kept:exec");
    assert_eq!(find(&ring, "kept").unwrap().tenant.as_str(), "b");
    assert!(!find(&ring, "kept").unwrap().revocation.is_revoked());
}

#[test]
fn a_search_passes_over_keys_that_may_not() {
    let json = r#"[{"tenantID":"a","key":"old","scopes":["exec"],"expiresAt":"2020-01-01T00:00:00Z"},
        {"tenantID":"a","key":"reads","scopes":["read"]},
        {"tenantID":"b","key":"others","scopes":["exec"]},
        {"tenantID":"b","key":"admin","scopes":["admin"]},
        {"tenantID":"a","key":"first","scopes":["exec"]},
        {"tenantID":"a","key":"second","scopes":["owner"]}]"#;
    let mut draft = KeyDraft::default();
    let mut file = KeyFile::new(&mut draft, "keys", json.len());
    file.take(json.as_bytes()).unwrap();
    file.end().unwrap();
    let ring = KeyRing::new(draft.finish(None).unwrap());
    let seen = std::cell::RefCell::new(Vec::new());
    let tenant = TenantId::parse("a").unwrap();
    let none = |principal: &Arc<Principal>| {
        seen.borrow_mut().push(principal.scopes.to_string());
        false
    };
    let now = UnixTime(1_800_000_000);
    assert!(ring.search(Some(&tenant), now, Scope::Exec, none).is_none());
    assert_eq!(seen.take(), ["exec", "owner", "admin"]);
    assert!(ring.search(None, now, Scope::Exec, none).is_none());
    assert_eq!(seen.take(), ["admin"]);
}
