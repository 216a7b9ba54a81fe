//! The newest events, numbered in the order in which they came.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

use super::Event;

/// So many events, of which each new one takes the place of the oldest.
#[derive(Debug)]
pub(super) struct Ring {
    events: VecDeque<Arc<Event>>,
    cap: usize,
    /// The number of the event to come.
    next: u64,
}

impl Ring {
    pub(super) fn new(cap: NonZeroUsize) -> Self {
        Self { events: VecDeque::new(), cap: cap.get(), next: 0 }
    }

    /// Adds one, and gives back the one that had to go.
    pub(super) fn push(&mut self, event: Arc<Event>) -> Option<Arc<Event>> {
        let oldest = if self.events.len() >= self.cap { self.events.pop_front() } else { None };
        self.events.push_back(event);
        self.next += 1;
        oldest
    }

    /// The numbers of the events that are here.
    pub(super) fn numbers(&self) -> Range<u64> {
        self.next - self.events.len() as u64..self.next
    }

    /// Those of these events that are still here, the oldest first.
    pub(super) fn among(&self, numbers: Range<u64>) -> Vec<Arc<Event>> {
        let here = self.numbers();
        let index = |number: u64| {
            let from_start = number.clamp(here.start, here.end) - here.start;
            // No more than there are events, which are in memory.
            usize::try_from(from_start).unwrap_or(usize::MAX).min(self.events.len())
        };
        let (start, end) = (index(numbers.start), index(numbers.end));
        self.events.range(start..end.max(start)).cloned().collect()
    }
}
