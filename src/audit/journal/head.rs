//! `FILE.head`: the last line of a journal that is known to have reached the disk, and the first one of its file.
//!
//! It is replaced as a whole, so that there is always one that can be read. Against it a cut is seen at either end.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::chain::{Hash, Link};

/// What the file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    /// The number of the first line of the journal file, there or still to come.
    pub(super) first: u64,
    /// The last line that was synced, in this file or one before it.
    pub(super) link: Link,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<'a> {
    first: u64,
    seq: u64,
    hash: &'a str,
}

impl Head {
    /// Where the head of the journal at `path` is.
    pub(super) fn path(path: &Path) -> PathBuf {
        beside(path, ".head")
    }

    /// Reads the head of the journal at `path`; none when there is no such file.
    ///
    /// # Errors
    /// It cannot be read, or is no head ([`io::ErrorKind::InvalidData`]).
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read(Self::path(path)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let head = Self::parse(&text).ok_or_else(|| {
            let name = Self::path(path).display().to_string();
            io::Error::new(io::ErrorKind::InvalidData, format!("{name} is damaged"))
        })?;
        Ok(Some(head))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let form: Form<'_> = serde_json::from_slice(text).ok()?;
        let link = Link { seq: form.seq, hash: Hash::parse(form.hash.as_bytes())? };
        (form.first > 0 && link.next() >= form.first).then_some(Self { first: form.first, link })
    }

    /// Replaces the head of the journal at `path`, so that a crash leaves the old one or this.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let Self { first, link } = self;
        let text =
            serde_json::to_vec(&Form { first: *first, seq: link.seq, hash: link.hash.as_str() })?;
        let next = beside(path, ".head.new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(&text)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(next, Self::path(path))
    }
}

/// The path with something behind its name.
pub(super) fn beside(path: &Path, behind: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(behind);
    name.into()
}
