//! How the open streams of a key learn that it is gone.
//!
//! Either somebody says so of this one, or it is on a roll of many, which changes as a whole: then nothing is kept for
//! those who never came, and those who are here look themselves up when the roll has changed.

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
#[derive(Default)]
pub struct Revocation {
    revoked: AtomicBool,
    by: By,
}

enum By {
    /// Whoever calls [`Revocation::revoke`].
    Word(Notify),
    /// A roll that does not hold it any more.
    Roll(Membership),
}

impl Default for By {
    fn default() -> Self {
        Self::Word(Notify::new())
    }
}

struct Membership {
    roll: Arc<dyn Roll>,
    digest: [u8; 32],
    since: u32,
    /// The last edition in which it was found.
    seen: AtomicU32,
}

impl Revocation {
    /// For a key that `roll` held in its edition `seen`, unchanged from edition `since` on.
    #[must_use]
    pub fn by_roll(roll: Arc<dyn Roll>, digest: [u8; 32], since: u32, seen: u32) -> Self {
        let seen = AtomicU32::new(seen);
        Self {
            revoked: AtomicBool::default(),
            by: By::Roll(Membership { roll, digest, since, seen }),
        }
    }

    /// Revokes, once and for good, and wakes everyone who waits.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
        self.changed().notify_waiters();
    }

    /// Whether it happened.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire) || self.has_left()
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
        match &self.by {
            By::Word(changed) => changed,
            By::Roll(member) => member.roll.changed(&member.digest),
        }
    }

    /// Whether there is a roll, and it does not hold the key any more. It is looked up once in each edition.
    fn has_left(&self) -> bool {
        let By::Roll(member) = &self.by else { return false };
        let edition = member.roll.edition();
        if edition == member.seen.load(Ordering::Relaxed) {
            return false;
        }
        if member.roll.holds(&member.digest, member.since) {
            member.seen.store(edition, Ordering::Relaxed);
            return false;
        }
        self.revoked.store(true, Ordering::Release);
        true
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revocation({})", self.is_revoked())
    }
}
