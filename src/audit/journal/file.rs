//! The journal's file: opening it, and noticing that it is another one by now.
//!
//! What is written goes through [`Medium`], so that tests can have a disk that is full, slow or broken.

use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Longest line that is read back, in bytes. An event is far below it.
pub(super) const MAX_LINE: usize = 1 << 20;

/// Where lines go.
pub(super) trait Medium: fmt::Debug + Send {
    /// Appends some of the bytes, and says how many.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Returns when everything written is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl Medium for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// In place of a file that somebody else may write.
#[derive(Debug)]
pub(super) struct LetGo;

impl Medium for LetGo {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::NotConnected.into())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes the medium of a file.
pub(super) type Wrap = Box<dyn Fn(File) -> Box<dyn Medium> + Send>;

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// The file that has this name now, and its size in bytes; none when there is none.
    pub(super) fn at(path: &Path) -> Option<(Self, u64)> {
        let metadata = fs::metadata(path).ok()?;
        Some((Self::of(&metadata), metadata.len()))
    }
}

/// A file to append to, locked against other processes.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) identity: Identity,
    /// In bytes.
    pub(super) size: u64,
}

impl Opened {
    /// Whether something written now would go on in a line that is there.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn needs_newline(&self) -> io::Result<bool> {
        let Some(last) = self.size.checked_sub(1) else { return Ok(false) };
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, last)?;
        Ok(byte != *b"\n")
    }
}

/// Makes the directories above a journal's file, for the owner alone.
///
/// # Errors
/// The system says no.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(directory) => DirBuilder::new().recursive(true).mode(0o700).create(directory),
        None => Ok(()),
    }
}

/// Opens a journal's file, and makes it for the owner alone when there is none.
///
/// # Errors
/// The system says no, it is no regular file, or another process writes it.
pub(super) fn open(path: &Path) -> io::Result<Opened> {
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).create(true).mode(0o600).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(io::Error::new(ErrorKind::ResourceBusy, "another process writes to it"));
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    sync_directory(path)?;
    Ok(Opened { file, identity: Identity::of(&metadata), size: metadata.len() })
}

/// Returns when the names in the directory of `path` are on the disk.
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// The last line of a file of this size in bytes, without its newline; none when it has no newline, or there is no line.
///
/// # Errors
/// It cannot be read.
pub(super) fn last_line(file: &File, size: u64) -> io::Result<Option<Vec<u8>>> {
    let mut length = size.min(8 << 10);
    loop {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        file.read_exact_at(&mut bytes, size - length)?;
        let Some(whole) = bytes.strip_suffix(b"\n") else { return Ok(None) };
        let start = whole.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        if start.is_some() || length == size || bytes.len() > MAX_LINE {
            return Ok(whole.get(start.unwrap_or(0)..).map(<[u8]>::to_vec));
        }
        length = size.min(length * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_found_whatever_its_size() {
        let long = "x".repeat(20_000);
        for (text, last) in [
            (String::new(), None),
            ("a".into(), None),
            ("a\nb".into(), None),
            ("a\n".into(), Some("a")),
            ("\n".into(), Some("")),
            ("a\nb\n".into(), Some("b")),
            (format!("a\n{long}\n"), Some(long.as_str())),
            (format!("{long}\n{long}\n"), Some(&long)),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), &text).unwrap();
            let found = last_line(file.as_file(), text.len() as u64).unwrap();
            assert_eq!(found.as_deref(), last.map(str::as_bytes), "{text:.20}");
        }
    }

    #[test]
    fn only_one_may_write_and_only_to_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/audit.jsonl");
        make_directory(&path).unwrap();
        let first = open(&path).unwrap();
        assert_eq!(open(&path).unwrap_err().kind(), ErrorKind::ResourceBusy);
        drop(first);
        assert_eq!(open(&path).unwrap().size, 0);
        for (path, mode) in [(path.as_path(), 0o600), (path.parent().unwrap(), 0o700)] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, mode, "{}", path.display());
        }
        assert!(open(Path::new("/dev/null")).is_err());
        assert!(open(directory.path()).is_err());
    }
}
