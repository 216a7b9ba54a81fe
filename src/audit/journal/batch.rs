//! Lines on their way to the file: sealed, and not yet all written.
//!
//! A write may end anywhere. What was not written stays, and goes on from there; in another file it begins again with
//! the line that was cut.

use std::collections::VecDeque;

use super::Entry;
use super::chain::Link;
use super::gap::Record;

/// See the module.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// How many of the bytes were written.
    done: usize,
    /// Where the line begins that is being written.
    line: usize,
    ends: VecDeque<End>,
    last: Link,
}

#[derive(Debug)]
struct End {
    at: usize,
    link: Link,
    is_event: bool,
}

/// What a write came to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Progress {
    /// The last line that is whole in the file now.
    pub(super) link: Option<Link>,
    /// How many events that made.
    pub(super) events: u64,
}

impl Batch {
    /// Nothing yet; what comes follows `last`.
    pub(super) const fn after(last: Link) -> Self {
        Self { bytes: Vec::new(), done: 0, line: 0, ends: VecDeque::new(), last }
    }

    /// Adds an event. False when it cannot be written down.
    pub(super) fn event(&mut self, event: &dyn Entry) -> bool {
        let start = self.bytes.len();
        let is_written = event.write(&mut self.bytes).is_ok();
        is_written && self.seal(start, true) || {
            self.bytes.truncate(start);
            false
        }
    }

    /// Adds a record of what is missing.
    pub(super) fn record(&mut self, record: &Record) {
        let start = self.bytes.len();
        if serde_json::to_writer(&mut self.bytes, record).is_ok() {
            self.seal(start, false);
        }
    }

    fn seal(&mut self, start: usize, is_event: bool) -> bool {
        let Some(link) = self.last.seal(&mut self.bytes, start) else { return false };
        self.last = link;
        self.ends.push_back(End { at: self.bytes.len(), link, is_event });
        true
    }

    /// What is still to be written.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.done..).unwrap_or_default()
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// So many more bytes were written.
    pub(super) fn advance(&mut self, bytes: usize) -> Progress {
        self.done += bytes;
        let mut progress = Progress::default();
        while let Some(end) = self.ends.pop_front_if(|end| end.at <= self.done) {
            progress.link = Some(end.link);
            progress.events += u64::from(end.is_event);
            self.line = end.at;
        }
        if self.is_empty() {
            self.bytes.clear();
            (self.done, self.line) = (0, 0);
        }
        progress
    }

    /// What follows goes to another file, which begins with a whole line.
    pub(super) const fn rewind(&mut self) {
        self.done = self.line;
    }
}
