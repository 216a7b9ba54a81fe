//! Events as they happen, for one listener.
//!
//! A follower is a place in the ring and no queue of its own: one that is slow costs nobody anything. When the ring
//! overtakes it, it is told so and goes on with the oldest event that is left.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{BATCH, Event, EventId, Trail, View};

/// What a follower is told.
#[derive(Clone, Debug)]
pub enum Told {
    /// An event.
    Event(Arc<Event>),
    /// Before the next event, others may be missing.
    Gap(Gap),
}

/// Why events may be missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gap {
    /// The one to go on after is not in memory any more, or never was.
    Forgotten,
    /// They went out of memory before they were asked for.
    Overtaken,
}

impl Gap {
    /// The name used in streams.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forgotten => "forgotten",
            Self::Overtaken => "overtaken",
        }
    }
}

/// A place in the trail.
#[derive(Debug)]
pub struct Follower {
    trail: Arc<Trail>,
    view: View,
    next: u64,
    ready: VecDeque<Told>,
}

impl Follower {
    pub(super) fn new(trail: Arc<Trail>, view: View, last: Option<&str>) -> Self {
        let numbers = trail.ring().numbers();
        let mut ready = VecDeque::new();
        let next = match last {
            None => numbers.end,
            Some(id) => find(&trail, &view, id).map_or_else(
                || {
                    ready.push_back(Told::Gap(Gap::Forgotten));
                    numbers.start
                },
                |number| number + 1,
            ),
        };
        Self { trail, view, next, ready }
    }

    /// The next event, whenever it comes. Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Told {
        loop {
            if let Some(told) = self.ready.pop_front() {
                return told;
            }
            let trail = Arc::clone(&self.trail);
            // Before looking, so that what comes meanwhile wakes it.
            let grown = trail.grown.notified();
            let (numbers, events) = {
                let ring = trail.ring();
                let numbers = ring.numbers();
                let from = self.next.max(numbers.start);
                (numbers, ring.among(from..from + BATCH))
            };
            if numbers.start > self.next {
                self.ready.push_back(Told::Gap(Gap::Overtaken));
                self.next = numbers.start;
            }
            self.next += events.len() as u64;
            if events.is_empty() {
                grown.await;
                continue;
            }
            let shown = events.into_iter().filter(|event| self.view.shows(event));
            self.ready.extend(shown.map(Told::Event));
            tokio::task::yield_now().await;
        }
    }
}

/// The number of the event with this id, if the viewer may see it. The newest are looked at first: who comes back has
/// not been away for long.
fn find(trail: &Trail, view: &View, id: &str) -> Option<u64> {
    let id: EventId = id.parse().ok()?;
    let mut left = trail.ring().numbers();
    while !left.is_empty() {
        let start = left.start.max(left.end.saturating_sub(BATCH));
        // What was pushed out meanwhile is missing at the start, so that counting is done from the end.
        let events = trail.ring().among(start..left.end);
        let found = events.iter().rev().zip((start..left.end).rev());
        for (event, number) in found {
            if event.id == id && view.may_see(event) {
                return Some(number);
            }
        }
        left.end = start;
    }
    None
}
