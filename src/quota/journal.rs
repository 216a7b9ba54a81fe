//! A file that tells the next process which slots were open when this one was killed.
//!
//! Lines of text: `+TENANT SLOT…` when slots open, `-SLOT…` when they close. A kill can cut only the last line short, and
//! what that one announced was not sent yet. Nothing waits for the disk: the file outlives the process, not the machine.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::book::Journal;
use crate::principal::TenantId;

/// Lines after which the file is written anew.
const LINES: usize = 10_000;

/// The slots that are open, and whose.
pub(super) type Open = HashMap<u64, TenantId>;

/// The journal in a file.
#[derive(Debug)]
pub(super) struct FileJournal {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    lines: usize,
    open: Open,
    /// Whether the last line may be cut short, so that none may follow it.
    is_torn: bool,
    /// Whether another process has the file now.
    is_away: bool,
}

impl FileJournal {
    /// Opens the journal, and gives the slots that it tells of as open.
    ///
    /// # Errors
    /// When the file can't be read or written.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Open)> {
        let open = match fs::read(path) {
            Ok(text) => read(&String::from_utf8_lossy(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Open::new(),
            Err(error) => return Err(error),
        };
        Ok((Self::begin(path, open.clone())?, open))
    }

    /// A new journal, in which these slots are open, whatever one that is there may tell.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(super) fn begin(path: &Path, open: Open) -> io::Result<Self> {
        let (file, lines) = write_anew(path, &open)?;
        let state = State { file, lines, open, is_torn: false, is_away: false };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// Leaves the file to another process, which knows what is open.
    pub(super) fn let_go(&self) {
        self.state().is_away = true;
    }

    /// Goes on with the file after [`let_go`](Self::let_go).
    ///
    /// # Errors
    /// When it can't be written; the next slot tries again.
    pub(super) fn take_back(&self) -> io::Result<()> {
        let mut state = self.state();
        (state.is_away, state.is_torn) = (false, true);
        (state.file, state.lines) = write_anew(&self.path, &state.open)?;
        state.is_torn = false;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, state: &mut State, line: &str) -> io::Result<()> {
        if state.is_away {
            return Ok(());
        }
        if state.is_torn || state.lines >= LINES.max(2 * state.open.len()) {
            (state.file, state.lines) = write_anew(&self.path, &state.open)?;
            state.is_torn = false;
        }
        state.is_torn = true;
        state.file.write_all(line.as_bytes())?;
        state.is_torn = false;
        state.lines += 1;
        Ok(())
    }
}

impl Journal for Arc<FileJournal> {
    fn opened(&self, tenant: &TenantId, slots: &[u64]) -> io::Result<()> {
        let mut state = self.state();
        self.append(&mut state, &opening(tenant, slots))?;
        state.open.extend(slots.iter().map(|slot| (*slot, tenant.clone())));
        Ok(())
    }

    fn closed(&self, slots: &[u64]) {
        let mut state = self.state();
        let mut line = String::from("-");
        for slot in slots {
            if state.open.remove(slot).is_some() {
                let _ = write!(line, "{slot} ");
            }
        }
        if line.len() == 1 {
            return;
        }
        line.push('\n');
        if let Err(error) = self.append(&mut state, &line) {
            tracing::warn!(%error, "the quota journal can't be written; after a restart, listings will tell");
        }
    }
}

fn opening(tenant: &TenantId, slots: &[u64]) -> String {
    let mut line = format!("+{tenant}");
    for slot in slots {
        let _ = write!(line, " {slot}");
    }
    line.push('\n');
    line
}

/// Replaces the file by one that tells of nothing but what is open.
fn write_anew(path: &Path, open: &Open) -> io::Result<(File, usize)> {
    let next = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    let mut text = String::new();
    for (slot, tenant) in open {
        text += &opening(tenant, &[*slot]);
    }
    file.write_all(text.as_bytes())?;
    fs::rename(&next, path)?;
    Ok((file, open.len()))
}

/// The slots that a file's whole lines leave open. A line that makes no sense is passed over.
fn read(text: &str) -> Open {
    let mut open = Open::new();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for line in whole.split('\n') {
        if let Some(line) = line.strip_prefix('+') {
            let mut words = line.split(' ');
            let Some(Ok(tenant)) = words.next().map(TenantId::parse) else { continue };
            let slots = words.filter_map(|word| word.parse().ok());
            open.extend(slots.map(|slot| (slot, tenant.clone())));
        } else if let Some(line) = line.strip_prefix('-') {
            for slot in line.split(' ').filter_map(|word| word.parse::<u64>().ok()) {
                open.remove(&slot);
            }
        }
    }
    open
}

#[cfg(test)]
mod tests;
