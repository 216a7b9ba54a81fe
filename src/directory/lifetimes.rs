//! How long what is known of a sandbox is used before the upstream is asked again.

use std::time::Duration;

use super::{Entry, Slot};
use crate::clock::UnixTime;
use crate::sandbox::{Sandbox, State};

/// How long a record is used before the upstream is asked again.
pub(super) const KNOWN_FOR: Duration = Duration::from_secs(300);
/// How long a record is used at least, even where its sandbox should have ended: clocks differ, lives are extended.
const KNOWN_AT_LEAST: Duration = Duration::from_secs(5);
/// How long an absent sandbox is taken as absent: long enough to blunt a flood, short enough for one made elsewhere.
pub(super) const ABSENT_FOR: Duration = Duration::from_secs(2);

impl Slot {
    /// How long it is used from now on.
    pub(super) fn lifetime(&self) -> Duration {
        match &self.entry {
            Entry::Known(sandbox) => known_for(sandbox, UnixTime::now()),
            Entry::Absent => ABSENT_FOR,
        }
    }
}

/// A running sandbox is asked about again when its time is over.
pub(super) fn known_for(sandbox: &Sandbox, now: UnixTime) -> Duration {
    match sandbox.ends.filter(|_| sandbox.state == State::Running) {
        Some(ends) => {
            Duration::from_secs(ends.0.saturating_sub(now.0)).clamp(KNOWN_AT_LEAST, KNOWN_FOR)
        }
        None => KNOWN_FOR,
    }
}
