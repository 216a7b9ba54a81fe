//! What is missing from a journal, and the line that says so. Pure.

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;

/// Events that found no place in the queue.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Gap {
    /// How many.
    pub(super) events: u64,
    since: Option<UnixTime>,
    until: Option<UnixTime>,
}

impl Gap {
    /// One more. Whether it is the first.
    pub(super) fn widen(&mut self, now: UnixTime) -> bool {
        self.events += 1;
        self.until = Some(now);
        self.since.replace(self.since.unwrap_or(now)).is_none()
    }

    /// The line about it.
    pub(super) fn record(&self) -> Record {
        Record {
            gap: self.events,
            since: self.since.map(|time| time.to_string()),
            until: self.until.map(|time| time.to_string()),
            why: OVERFLOW.to_owned(),
            torn: None,
        }
    }
}

const OVERFLOW: &str = "the disk did not keep up";
const UNFINISHED: &str = "the line before was not finished";

/// A line of the journal that is no event: `{"gap":n,"since":…,"until":…,"why":…}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct Record {
    /// How many events are missing.
    pub(super) gap: u64,
    /// When the first one was lost, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
    /// When the last one was, or when it was noticed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<String>,
    /// What happened.
    pub(super) why: String,
    /// The hash of the unfinished line before this one, where that is what happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) torn: Option<String>,
}

impl Record {
    /// About a line that was not finished, and its hash.
    pub(super) fn unfinished(torn: &str, now: UnixTime) -> Self {
        Self {
            gap: 1,
            since: None,
            until: Some(now.to_string()),
            why: UNFINISHED.to_owned(),
            torn: Some(torn.to_owned()),
        }
    }

    /// Reads a line that is one.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        line.starts_with(b"{\"gap\":").then(|| serde_json::from_slice(line).ok()).flatten()
    }
}
