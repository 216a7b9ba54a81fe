//! Whether the upstream keeps the metadata that creates give it.
//!
//! Found out once: by any sandbox that shows a marker, or by a look at a sandbox that was just made with one.

use std::sync::atomic::{AtomicU8, Ordering};

/// Whether the upstream keeps markers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keeping {
    /// Nothing was seen yet.
    Unknown,
    /// It does.
    Keeps,
    /// It does not: ownership lives in the gateway's own record.
    Drops,
}

const UNKNOWN: u8 = 0;
const PROBED: u8 = 1;
const KEEPS: u8 = 2;
const DROPS: u8 = 3;

#[derive(Debug, Default)]
pub(super) struct Verdict(AtomicU8);

/// The right to find out. Dropped without a result, somebody else may try.
#[derive(Debug)]
pub struct Probe<'v>(&'v Verdict);

impl Verdict {
    pub(super) fn get(&self) -> Keeping {
        match self.0.load(Ordering::Relaxed) {
            KEEPS => Keeping::Keeps,
            DROPS => Keeping::Drops,
            _ => Keeping::Unknown,
        }
    }

    /// A marker was seen, which settles it for good.
    pub(super) fn keeps(&self) {
        if self.0.load(Ordering::Relaxed) != KEEPS && self.0.swap(KEEPS, Ordering::Relaxed) == DROPS
        {
            tracing::info!("the upstream keeps metadata after all");
        }
    }

    pub(super) fn probe(&self) -> Option<Probe<'_>> {
        let taken =
            self.0.compare_exchange(UNKNOWN, PROBED, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        taken.then(|| Probe(self))
    }
}

impl Probe<'_> {
    pub(super) fn drops(self) {
        self.leave(DROPS);
    }

    fn leave(&self, verdict: u8) {
        // A marker that was seen meanwhile stays seen.
        let _ = self.0.0.compare_exchange(PROBED, verdict, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.leave(UNKNOWN);
    }
}
