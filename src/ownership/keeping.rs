//! Whether the upstream keeps the metadata that creates give it.
//!
//! Settled by what the upstream tells of sandboxes anyway: by any that shows a marker, or by one that was made with a
//! marker and shows none.

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
const KEEPS: u8 = 1;
const DROPS: u8 = 2;

#[derive(Debug, Default)]
pub(super) struct Verdict(AtomicU8);

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

    /// A marker was missed. Whether that settled it just now.
    pub(super) fn drops(&self) -> bool {
        self.0.compare_exchange(UNKNOWN, DROPS, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
