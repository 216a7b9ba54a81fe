//! Where settings come from. The only place that reads the environment, and the files that settings name.
//!
//! Kept for the life of the process, so that a reload reads the same flags and variables, and the files anew.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Take};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::pem::{Source, Stamp};

/// Largest file read as a whole, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// Largest file read in pieces, in bytes: a million keys as JSON, with digest, name and dates, and some to spare.
const MAX_LONG_FILE: u64 = 256 << 20;

/// Bytes of a piece; of files that are shorter, or of unknown length, less.
const PIECE: usize = 128 << 10;
const SHORT: usize = 8 << 10;

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
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        Ok((bytes, is_public(&metadata)))
    };
    let (bytes, is_public) = read().map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err("is larger than 64 MiB".to_owned());
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
    Ok(FileText { text: Zeroizing::new(text.to_owned()), is_public })
}

/// A file to be read in pieces.
pub(super) struct LongFile {
    file: Take<File>,
    /// Which one it is, and as which it was opened.
    pub(super) source: Source,
    /// How many bytes it has, as far as that is known.
    pub(super) size: usize,
    /// Whether users beyond its owner and group may read it.
    pub(super) is_public: bool,
}

impl LongFile {
    /// Opens a file.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let open = || -> io::Result<(File, Metadata)> {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        let (file, metadata) = open().map_err(unreadable)?;
        if metadata.len() > MAX_LONG_FILE {
            return Err(too_long());
        }
        let size = usize::try_from(metadata.len()).unwrap_or_default();
        let source = Source { path: path.to_owned(), stamp: Stamp::of_opened(&metadata) };
        let is_public = is_public(&metadata);
        Ok(Self { file: file.take(MAX_LONG_FILE + 1), source, size, is_public })
    }

    /// Reads it, piece by piece, until the end or until a piece is not taken.
    pub(super) fn read<E: ToString>(
        mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), String> {
        let mut buffer = Zeroizing::new(vec![0; PIECE.min(self.size.max(SHORT) + 1)]);
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) if self.file.limit() == 0 => return Err(too_long()),
                Ok(0) => return Ok(()),
                Ok(length) => {
                    take(buffer.get(..length).unwrap_or_default())
                        .map_err(|why| why.to_string())?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
    }
}

fn is_public(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.permissions().mode() & 0o004 != 0
}

fn too_long() -> String {
    "is larger than 256 MiB".to_owned()
}

fn unreadable(error: io::Error) -> String {
    format!("cannot be read: {error}")
}
