//! How many sandboxes there are, and were at most, by each entry of the metadata they were created with.
//!
//! For tests that have to know of every moment, not only of those at which they look.

use std::collections::BTreeMap;

/// The counts.
#[derive(Default)]
pub(super) struct Tally(BTreeMap<(String, String), Count>);

#[derive(Clone, Copy, Default)]
struct Count {
    live: usize,
    most: usize,
}

impl Tally {
    pub(super) fn began(&mut self, metadata: &BTreeMap<String, String>) {
        for (name, value) in metadata {
            let count = self.0.entry((name.clone(), value.clone())).or_default();
            count.live += 1;
            count.most = count.most.max(count.live);
        }
    }

    pub(super) fn ended(&mut self, metadata: &BTreeMap<String, String>) {
        for (name, value) in metadata {
            if let Some(count) = self.0.get_mut(&(name.clone(), value.clone())) {
                count.live = count.live.saturating_sub(1);
            }
        }
    }

    /// How many there are with this entry, and how many there ever were at once.
    pub(super) fn of(&self, name: &str, value: &str) -> (usize, usize) {
        let count = self.0.get(&(name.to_owned(), value.to_owned())).copied().unwrap_or_default();
        (count.live, count.most)
    }
}
