//! Notices that a file was changed or replaced, by looking at it now and then.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::pem;

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

/// Notices that files which belong together are not what they were when they were read.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// As they were at the last look.
    seen: Vec<Option<pem::Stamp>>,
    /// As they were when they were found to have changed; so they are told of once, taken or not.
    told: Vec<Option<pem::Stamp>>,
}

impl Files {
    /// Whether they have changed and come to rest: a certificate and its key are replaced one after the other, and fit
    /// each other again when both are there.
    pub(super) fn have_changed(&mut self, sources: &[pem::Source]) -> bool {
        let now: Vec<_> = sources.iter().map(|source| pem::Stamp::of(&source.path)).collect();
        let is_at_rest = now == self.seen;
        let have_changed = is_at_rest
            && now != self.told
            && sources.iter().zip(&now).any(|(source, now)| source.stamp != *now);
        if have_changed {
            self.told.clone_from(&now);
        }
        self.seen = now;
        have_changed
    }
}
