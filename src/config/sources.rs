//! Where settings come from. The only place that reads the environment, and the files that settings name.
//!
//! Kept for the life of the process, so that a reload reads the same flags and variables, and the files anew.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

/// Largest file read, in bytes: far beyond a hundred thousand keys.
const MAX_FILE: u64 = 64 << 20;

/// Flags and environment.
#[derive(Clone, Default)]
pub struct Sources {
    /// Values of flags, by the flag's name without dashes.
    pub flags: BTreeMap<String, String>,
    /// The environment. Variables whose names are not UTF-8 are not ours.
    pub environment: BTreeMap<String, OsString>,
}

impl Sources {
    /// The process's own environment, and flags.
    #[must_use]
    pub fn of_process(flags: BTreeMap<String, String>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect();
        Self { flags, environment }
    }
}

impl fmt::Debug for Sources {
    /// Names only: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("flags", &self.flags.keys())
            .field("environment", &self.environment.keys())
            .finish()
    }
}

/// What a file holds.
pub(super) struct FileText {
    /// Its text.
    pub(super) text: Zeroizing<String>,
    /// Whether users beyond its owner and group may read it.
    pub(super) is_public: bool,
}

/// Reads a file.
pub(super) fn read_file(path: &Path) -> Result<FileText, String> {
    let read = || -> io::Result<(Zeroizing<Vec<u8>>, bool)> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let is_public = metadata.is_file() && metadata.permissions().mode() & 0o004 != 0;
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        Ok((bytes, is_public))
    };
    let (bytes, is_public) = read().map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err("is larger than 64 MiB".to_owned());
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
    Ok(FileText { text: Zeroizing::new(text.to_owned()), is_public })
}
