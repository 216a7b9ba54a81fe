//! How the open streams of a key learn that it is gone.
//!
//! Either somebody gives notice of this one, or it is on a roll of many, which changes as a whole: then nothing is kept
//! for those who never came, and those who are here look themselves up when the roll has changed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::sync::Notify;

/// A list of keys that is replaced as a whole.
pub trait Roll: Send + Sync {
    /// Tells one list from the next.
    fn edition(&self) -> u32;
    /// Whether the key of this digest is on the list, and has been, unchanged, since that edition.
    fn holds(&self, digest: &[u8; 32], since: u32) -> bool;
    /// Wakes those who wait, this key's among them, whenever there is another list.
    fn changed(&self, digest: &[u8; 32]) -> &Notify;
}

/// Tells the open streams of a key that it is gone.
pub enum Revocation {
    /// When somebody says so.
    Notice(Arc<Notice>),
    /// When a roll does not hold it any more.
    Roll(Membership),
}

impl Revocation {
    /// Whether it happened.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        match self {
            Self::Notice(notice) => notice.given.load(Ordering::Acquire),
            Self::Roll(membership) => membership.has_ended(),
        }
    }

    /// Resolves when it happens, or at once if it did.
    pub async fn revoked(&self) {
        loop {
            let notified = self.changed().notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.is_revoked() {
                return;
            }
            notified.await;
        }
    }

    fn changed(&self) -> &Notify {
        match self {
            Self::Notice(notice) => &notice.changed,
            Self::Roll(membership) => membership.roll.changed(&membership.digest),
        }
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revocation({})", self.is_revoked())
    }
}

/// What is said to every principal of one id at once.
#[derive(Default, Debug)]
pub struct Notice {
    given: AtomicBool,
    changed: Notify,
}

impl Notice {
    /// Gives it, once and for good, and wakes everyone who waits.
    pub fn give(&self) {
        self.given.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }
}

/// A place on a roll.
pub struct Membership {
    roll: Arc<dyn Roll>,
    digest: [u8; 32],
    since: u32,
    /// The last edition in which it was found.
    seen: AtomicU32,
    /// Whether it once was not. Whoever comes back is somebody else.
    ended: AtomicBool,
}

impl Membership {
    /// For a key that `roll` held in its edition `seen`, unchanged from edition `since` on.
    #[must_use]
    pub fn new(roll: Arc<dyn Roll>, digest: [u8; 32], since: u32, seen: u32) -> Self {
        Self { roll, digest, since, seen: AtomicU32::new(seen), ended: AtomicBool::default() }
    }

    /// Whether the roll does not hold it any more. It is looked up once in each edition.
    fn has_ended(&self) -> bool {
        if self.ended.load(Ordering::Acquire) {
            return true;
        }
        let edition = self.roll.edition();
        if edition == self.seen.load(Ordering::Relaxed) {
            return false;
        }
        if self.roll.holds(&self.digest, self.since) {
            self.seen.store(edition, Ordering::Relaxed);
            return false;
        }
        self.ended.store(true, Ordering::Release);
        true
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Membership(since {})", self.since)
    }
}
