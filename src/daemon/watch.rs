//! Notices that a file was changed or replaced, by looking at it now and then.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file that is looked at.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    seen: Option<Stamp>,
}

type Stamp = (SystemTime, u64, u64);

impl Watch {
    pub(super) fn new(path: PathBuf) -> Self {
        let seen = stamp(&path);
        Self { path, seen }
    }

    /// Whether it is another one than when this was last asked.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = stamp(&self.path);
        let changed = now != self.seen;
        self.seen = now;
        changed
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
