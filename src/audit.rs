//! The audit trail: what was refused, what failed, and what was allowed to change something.
//!
//! The newest events are kept in memory, in a [`Trail`], from which pages and streams are read; each is also offered to a
//! [`Sink`] that keeps it for longer. An [`Event`] is built from the record of a request that ended, never from the
//! request: what is not in its type cannot leak. Nothing here waits on the way of a request.

pub mod journal;

mod event;
mod follow;
mod query;
mod ring;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

pub use self::event::{Event, EventId};
pub use self::follow::{Follower, Gap, Told};
use self::journal::Journal;
pub use self::query::{Filter, Page, Query, View};
use self::ring::Ring;
use crate::record::{Observer, Outcome, Record};

/// How many events are looked at before others get their turn.
const BATCH: u64 = 512;

/// Keeps events for longer than memory does. Must not wait.
pub trait Sink: fmt::Debug + Send + Sync {
    /// Here is one more.
    fn offer(&self, event: Arc<Event>);
}

impl Sink for Journal {
    fn offer(&self, event: Arc<Event>) {
        Self::offer(self, event);
    }
}

/// The newest events.
#[derive(Debug)]
pub struct Trail {
    ring: Mutex<Ring>,
    grown: Notify,
    sink: Option<Arc<dyn Sink>>,
    /// By outcome, so that nobody who counts needs the lock.
    counts: [AtomicU64; Outcome::ALL.len()],
}

impl Trail {
    /// An empty trail of at most `cap` events, each of which goes to `sink` too.
    #[must_use]
    pub fn new(cap: NonZeroUsize, sink: Option<Arc<dyn Sink>>) -> Self {
        Self {
            ring: Mutex::new(Ring::new(cap)),
            grown: Notify::new(),
            sink,
            counts: Default::default(),
        }
    }

    /// Adds an event.
    pub fn add(&self, event: Arc<Event>) {
        if let Some(count) = self.counts.get(event.outcome() as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        // The oldest one is let go of when the lock is free again.
        let oldest = self.ring().push(Arc::clone(&event));
        self.grown.notify_waiters();
        if let Some(sink) = &self.sink {
            sink.offer(event);
        }
        drop(oldest);
    }

    /// A page of those events that the view shows.
    pub async fn page(&self, view: &View, page: &Page) -> Vec<Arc<Event>> {
        let mut found = Vec::new();
        let mut skip = page.offset;
        let mut left = self.ring().numbers();
        while !left.is_empty() && found.len() < page.limit {
            let part = if page.oldest_first {
                left.start..left.end.min(left.start + BATCH)
            } else {
                left.start.max(left.end.saturating_sub(BATCH))..left.end
            };
            let mut events = self.ring().among(part.clone());
            if page.oldest_first {
                left.start = part.end;
            } else {
                left.end = part.start;
                events.reverse();
            }
            for event in events.into_iter().filter(|event| view.shows(event)) {
                if skip > 0 {
                    skip -= 1;
                } else if found.len() < page.limit {
                    found.push(event);
                }
            }
            tokio::task::yield_now().await;
        }
        found
    }

    /// Those events that the view shows, as they happen; or from the one after `last` on, if that is an event's id.
    #[must_use]
    pub fn follow(self: &Arc<Self>, view: View, last: Option<&str>) -> Follower {
        Follower::new(Arc::clone(self), view, last)
    }

    /// Events so far, by what became of the request.
    pub fn counts(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Outcome::ALL.into_iter().zip(self.counts.iter().map(read))
    }

    /// Every event in it is whole, so a poisoned lock is as good as any.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Trail {
    fn ended(&self, record: &Record) {
        if let Some(event) = Event::of(record) {
            self.add(Arc::new(event));
        }
    }
}

#[cfg(test)]
mod tests;
