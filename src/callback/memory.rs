//! What is remembered of answers: who credentials belong to, and for a moment which are nobody's.
//!
//! Two caches, so that guesses push out no good entry. What is used of them depends on the entry alone: when its call
//! began, when it ends, and whether its principal was revoked; nothing has to be taken out in time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::freshness::Freshness;
use super::key::{AnswerKey, AsItIs};
use super::ledger::Epoch;
use super::now::Now;
use super::{Refusal, Verdict};
use crate::principal::Principal;
use crate::shelf::Shelf;

/// Identities kept.
const ALLOWED: usize = 100_000;
/// Refusals kept.
const DENIED: usize = 10_000;
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
    allowed: Shelf<AnswerKey, Entry<Arc<Principal>>, AsItIs>,
    denied: Shelf<AnswerKey, Entry<Refusal>, AsItIs>,
    /// What is pushed out may pass into sandboxes.
    admitted: Shelf<AnswerKey, (), AsItIs>,
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
}

impl Memory {
    /// Nothing yet. `default` is how long answers are believed that do not say, `stale` how much longer an identity is
    /// kept.
    pub(super) fn new(default: Duration, stale: Duration) -> Self {
        Self {
            allowed: Shelf::new(ALLOWED, AsItIs::default()),
            denied: Shelf::new(DENIED, AsItIs::default()),
            admitted: Shelf::for_newcomers(ALLOWED, AsItIs::default()),
            default,
            stale,
        }
    }

    /// What is known of `key`, from calls that began when `is_current` says they count.
    pub(super) fn find(
        &self,
        key: &AnswerKey,
        Now { instant, time: now }: Now,
        is_current: impl Fn(Epoch) -> bool,
    ) -> Option<Verdict> {
        if let Some(entry) = self.allowed.get(key, instant.into_std()) {
            let counts = instant < entry.fresh_until && is_current(entry.began);
            if counts && entry.what.is_valid_at(now) {
                return Some(Verdict::Known(entry.what));
            }
        }
        let entry = self.denied.get(key, instant.into_std())?;
        let counts = instant < entry.fresh_until && is_current(entry.began);
        counts.then_some(Verdict::Refused(entry.what))
    }

    /// Who `key` belonged to when it could still be asked.
    pub(super) fn stale(
        &self,
        key: &AnswerKey,
        now: Now,
        is_current: impl Fn(Epoch) -> bool,
    ) -> Option<Arc<Principal>> {
        let entry = self.allowed.get(key, now.instant.into_std())?;
        (is_current(entry.began) && entry.what.is_valid_at(now.time)).then_some(entry.what)
    }

    /// Takes an identity over that came `now`, in place of what was known.
    pub(super) fn allow(
        &self,
        key: AnswerKey,
        began: Epoch,
        principal: &Arc<Principal>,
        freshness: Freshness,
        now: Instant,
    ) {
        let Some(lifetime) = freshness.lifetime(self.default, ALLOWED_CEILING) else {
            return self.forget(&key);
        };
        let fresh_until = now + lifetime;
        let kept_until = fresh_until.checked_add(self.stale).unwrap_or(fresh_until);
        let entry = Entry { what: Arc::clone(principal), began, fresh_until };
        self.allowed.put(key, entry, kept_until.into_std(), now.into_std());
    }

    /// Takes a definite refusal over that came `now`, in place of what was known.
    pub(super) fn deny(
        &self,
        key: AnswerKey,
        began: Epoch,
        refusal: &Refusal,
        freshness: Freshness,
        now: Instant,
    ) {
        self.forget(&key);
        if let Some(lifetime) = freshness.lifetime(self.default, DENIED_CEILING) {
            let fresh_until = now + lifetime;
            let entry = Entry { what: refusal.clone(), began, fresh_until };
            self.denied.put(key, entry, fresh_until.into_std(), now.into_std());
        }
    }

    /// What was known holds no more, not even when the service cannot be asked.
    pub(super) fn forget(&self, key: &AnswerKey) {
        self.allowed.remove(key);
    }

    /// Notes that a credential with this text is good.
    pub(super) fn note_admitted(&self, text: AnswerKey, now: Instant) {
        let now = now.into_std();
        let noted = self.admitted.get_until(&text, now);
        if noted.is_none_or(|((), until)| until <= now + ADMITTED_FOR) {
            self.admitted.put(text, (), now + ADMITTED_FOR + NOTED_FOR, now);
        }
    }

    /// Whether one was, within the last hour.
    pub(super) fn has_admitted(&self, text: &AnswerKey) -> bool {
        self.admitted.get(text, Instant::now().into_std()).is_some()
    }
}
