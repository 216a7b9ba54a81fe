//! What is remembered of answers: who credentials belong to, and for a moment which are nobody's.
//!
//! Two caches, so that guesses push out no good entry. What is used of them depends on the entry alone: when its call
//! began, when it ends, and whether its principal was revoked; nothing has to be taken out in time.

use std::sync::Arc;
use std::time::Duration;

use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::time::Instant;

use super::freshness::Freshness;
use super::key::{AnswerKey, AsItIs};
use super::ledger::Epoch;
use super::{Refusal, Verdict};
use crate::clock::UnixTime;
use crate::principal::Principal;

/// Identities kept.
const ALLOWED: u64 = 100_000;
/// Refusals kept.
const DENIED: u64 = 10_000;
/// Longest that an identity is believed, whatever the service says.
const ALLOWED_CEILING: Duration = Duration::from_secs(60);
/// Longest that a refusal is believed.
const DENIED_CEILING: Duration = Duration::from_secs(5);
/// How long a credential that was once good is kept away from sandboxes, at least.
const ADMITTED_FOR: Duration = Duration::from_secs(3600);
/// How much longer it may be, so that what is good all the time is not noted all the time.
const NOTED_FOR: Duration = Duration::from_secs(60);

/// Everything remembered.
#[derive(Debug)]
pub(super) struct Memory {
    allowed: Cache<AnswerKey, Entry<Arc<Principal>>, AsItIs>,
    denied: Cache<AnswerKey, Entry<Refusal>, AsItIs>,
    /// When each was noted.
    admitted: Cache<AnswerKey, Instant, AsItIs>,
    default: Duration,
    /// How much longer an identity is kept for when the service cannot be asked.
    stale: Duration,
}

/// One answer.
#[derive(Clone, Debug)]
struct Entry<T> {
    what: T,
    began: Epoch,
    fresh_until: Instant,
    kept_until: Instant,
}

/// Only bounds what is held: entries are judged by their own dates.
struct Lifetimes;

impl<T> Expiry<AnswerKey, Entry<T>> for Lifetimes {
    fn expire_after_create(
        &self,
        _: &AnswerKey,
        entry: &Entry<T>,
        _: std::time::Instant,
    ) -> Option<Duration> {
        Some(entry.kept_until.saturating_duration_since(Instant::now()))
    }

    fn expire_after_update(
        &self,
        key: &AnswerKey,
        entry: &Entry<T>,
        now: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, entry, now)
    }
}

impl Memory {
    /// Nothing yet. `default` is how long answers are believed that do not say, `stale` how much longer an identity is
    /// kept.
    pub(super) fn new(default: Duration, stale: Duration) -> Self {
        // The least used goes first: a policy that rather turns newcomers away would have them asked at every request,
        // and let their credentials pass into sandboxes.
        let lru = EvictionPolicy::lru;
        let admitted = Cache::builder().max_capacity(ALLOWED);
        let admitted = admitted.time_to_live(ADMITTED_FOR + NOTED_FOR);
        Self {
            allowed: Cache::builder()
                .max_capacity(ALLOWED)
                .eviction_policy(lru())
                .expire_after(Lifetimes)
                .build_with_hasher(AsItIs::default()),
            denied: Cache::builder()
                .max_capacity(DENIED)
                .eviction_policy(lru())
                .expire_after(Lifetimes)
                .build_with_hasher(AsItIs::default()),
            admitted: admitted.eviction_policy(lru()).build_with_hasher(AsItIs::default()),
            default,
            stale,
        }
    }

    /// What is known of `key`, from calls that began when `is_current` says they count.
    pub(super) fn find(
        &self,
        key: &AnswerKey,
        now: UnixTime,
        is_current: impl Fn(Epoch) -> bool,
    ) -> Option<Verdict> {
        let instant = Instant::now();
        if let Some(entry) = self.allowed.get(key) {
            let counts = instant < entry.fresh_until && is_current(entry.began);
            if counts && entry.what.is_valid_at(now) {
                return Some(Verdict::Known(entry.what));
            }
        }
        let entry = self.denied.get(key)?;
        let counts = instant < entry.fresh_until && is_current(entry.began);
        counts.then_some(Verdict::Refused(entry.what))
    }

    /// Who `key` belonged to when it could still be asked.
    pub(super) fn stale(
        &self,
        key: &AnswerKey,
        now: UnixTime,
        is_current: impl Fn(Epoch) -> bool,
    ) -> Option<Arc<Principal>> {
        let entry = self.allowed.get(key)?;
        let counts = Instant::now() < entry.kept_until && is_current(entry.began);
        (counts && entry.what.is_valid_at(now)).then_some(entry.what)
    }

    /// Takes an identity over, in place of what was known.
    pub(super) fn allow(
        &self,
        key: AnswerKey,
        began: Epoch,
        principal: &Arc<Principal>,
        freshness: Freshness,
    ) {
        let Some(lifetime) = freshness.lifetime(self.default, ALLOWED_CEILING) else {
            return self.forget(&key);
        };
        let fresh_until = Instant::now() + lifetime;
        let kept_until = fresh_until.checked_add(self.stale).unwrap_or(fresh_until);
        let what = Arc::clone(principal);
        self.allowed.insert(key, Entry { what, began, fresh_until, kept_until });
    }

    /// Takes a definite refusal over, in place of what was known.
    pub(super) fn deny(
        &self,
        key: AnswerKey,
        began: Epoch,
        refusal: &Refusal,
        freshness: Freshness,
    ) {
        self.forget(&key);
        if let Some(lifetime) = freshness.lifetime(self.default, DENIED_CEILING) {
            let until = Instant::now() + lifetime;
            let (fresh_until, kept_until) = (until, until);
            self.denied
                .insert(key, Entry { what: refusal.clone(), began, fresh_until, kept_until });
        }
    }

    /// What was known holds no more, not even when the service cannot be asked.
    pub(super) fn forget(&self, key: &AnswerKey) {
        self.allowed.invalidate(key);
    }

    /// Notes that a credential with this text is good.
    pub(super) fn note_admitted(&self, text: AnswerKey) {
        let now = Instant::now();
        let is_noted = |noted| now.saturating_duration_since(noted) < NOTED_FOR;
        if !self.admitted.get(&text).is_some_and(is_noted) {
            self.admitted.insert(text, now);
        }
    }

    /// Whether one was, within the last hour.
    pub(super) fn has_admitted(&self, text: &AnswerKey) -> bool {
        self.admitted.contains_key(text)
    }
}
