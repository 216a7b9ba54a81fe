//! `audit verify`: holds journal files against their chain and their heads, and names what does not fit.
//!
//! Reads only, also while a gateway writes. What a crash or a full disk can do to a journal is told as a remark; what
//! only a hand can do, as a fault.

mod walk;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::chain::Line;
use super::file::MAX_LINE;
use super::head::Head;
use walk::{Lines, Walk};

/// What was found in all files, in the order of their lines.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether there is no fault.
    pub intact: bool,
    /// The files.
    pub files: Vec<FileReport>,
}

/// What was found in one file.
#[derive(Debug, Serialize)]
pub struct FileReport {
    /// Its path, as it was given.
    pub path: PathBuf,
    /// Whole lines in it.
    pub lines: u64,
    /// The number that its first line has in the chain.
    pub first: Option<u64>,
    /// The number that its last line has.
    pub last: Option<u64>,
    /// Events that are missing by the journal's own account.
    pub lost: u64,
    /// What is worth knowing, and no fault.
    pub remarks: Vec<Finding>,
    /// What is wrong; [`FileReport::MAX_FAULTS`] at most.
    pub faults: Vec<Finding>,
    /// Further faults, beyond those.
    pub more_faults: u64,
}

/// Something found.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The line, from 1; none where it is about the file as a whole.
    pub line: Option<u64>,
    /// What.
    pub text: String,
}

impl FileReport {
    /// Faults of one file that are told; one place can make many.
    pub const MAX_FAULTS: usize = 20;

    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            lines: 0,
            first: None,
            last: None,
            lost: 0,
            remarks: Vec::new(),
            faults: Vec::new(),
            more_faults: 0,
        }
    }

    fn remark(&mut self, line: Option<u64>, text: impl Into<String>) {
        self.remarks.push(Finding { line, text: text.into() });
    }

    fn fault(&mut self, line: Option<u64>, text: impl Into<String>) {
        if self.faults.len() < Self::MAX_FAULTS {
            self.faults.push(Finding { line, text: text.into() });
        } else {
            self.more_faults += 1;
        }
    }
}

/// A file and its head, as they were at one moment.
struct Snapshot<'a> {
    path: &'a Path,
    file: File,
    head: io::Result<Option<Head>>,
}

impl<'a> Snapshot<'a> {
    /// Opens a file that a gateway may be about to rotate.
    fn open(path: &'a Path) -> io::Result<Self> {
        loop {
            // The head first: what it names was in the file before.
            let head = Head::read(path);
            let file = File::open(path)?;
            let first =
                |head: &io::Result<Option<Head>>| head.as_ref().ok()?.map(|head| head.first);
            if first(&head) == first(&Head::read(path)) {
                return Ok(Self { path, file, head });
            }
        }
    }

    /// Where in the chain it seems to begin.
    fn position(&self) -> io::Result<u64> {
        let mut lines = Lines::new(&self.file)?;
        while let Some(text) = lines.next()? {
            if let Some(line) = Line::parse(text.strip_suffix(b"\n").unwrap_or(text)) {
                return Ok(line.link.seq);
            }
        }
        let head = self.head.as_ref().ok().and_then(Option::as_ref);
        Ok(head.map_or(u64::MAX, |head| head.first))
    }
}

/// Verifies files of one journal, given in any order.
///
/// # Errors
/// One cannot be read; which, and why.
pub fn verify(paths: &[PathBuf]) -> Result<Report, (PathBuf, io::Error)> {
    let mut snapshots = Vec::with_capacity(paths.len());
    for path in paths {
        let named = |error| (path.clone(), error);
        let snapshot = Snapshot::open(path).map_err(named)?;
        let position = snapshot.position().map_err(named)?;
        snapshots.push((position, snapshot));
    }
    snapshots.sort_by_key(|(position, _)| *position);
    let mut walk = Walk::default();
    let mut files = Vec::with_capacity(snapshots.len());
    let mut rest = snapshots.iter().map(|(_, snapshot)| snapshot).peekable();
    while let Some(Snapshot { path, file, head }) = rest.next() {
        let mut report = FileReport::new(path);
        let is_last = rest.peek().is_none();
        let head = match head {
            Ok(head) => *head,
            Err(error) => {
                report.fault(None, error.to_string());
                None
            }
        };
        if head.is_none() && report.faults.is_empty() && is_last && !is_empty(file) {
            let missing = Head::path(path);
            let text = format!(
                "{} is missing, so that nobody can tell whether lines were cut off at the end",
                missing.display()
            );
            report.fault(None, text);
        }
        walk.file(file, head.as_ref(), &mut report).map_err(|error| (path.to_path_buf(), error))?;
        files.push(report);
    }
    let intact = files.iter().all(|file| file.faults.is_empty());
    Ok(Report { intact, files })
}

fn is_empty(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.len() == 0)
}

#[cfg(test)]
mod tests;
