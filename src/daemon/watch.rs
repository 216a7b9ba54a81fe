//! Notices that a file was changed or replaced, by looking at it now and then.

use crate::pem;

/// The file that is looked at, if there is one.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// As it was when it was read, or looked at since.
    seen: Option<pem::Source>,
}

impl Watch {
    /// Looks at the file that was `read`, which may be another one than before. Changed since, it has changed.
    pub(super) fn follow(&mut self, read: Option<pem::Source>) {
        self.seen = read;
    }

    /// Whether it is another one than when it was read or when this was last asked.
    pub(super) fn has_changed(&mut self) -> bool {
        let Some(seen) = &mut self.seen else { return false };
        let now = pem::Stamp::of(&seen.path);
        std::mem::replace(&mut seen.stamp, now) != now
    }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Watch;
    use crate::pem::Source;

    #[test]
    fn a_change_counts_from_the_reading_on_and_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let mut watch = Watch::default();
        assert!(!watch.has_changed(), "there is no file");
        fs::write(&path, "one").unwrap();
        let read = Source::of(&path);
        // Between the reading and the first look.
        fs::write(&path, "three").unwrap();
        watch.follow(Some(read));
        assert!(watch.has_changed());
        assert!(!watch.has_changed());
        fs::remove_file(&path).unwrap();
        assert!(watch.has_changed() && !watch.has_changed());
        fs::write(&path, "three").unwrap();
        assert!(watch.has_changed() && !watch.has_changed());
    }
}
