//! The record on disk: one line for each sandbox that was made or killed, appended as it happens.
//!
//! `id <tab> tenant <tab> seconds since 1970`, without a tenant for a kill; the last line about an id counts, and a
//! line without its end was torn by a crash and counts for nothing. Lines are not synced one by one: they survive the
//! process, and a crash of the machine may cost the last of them. Every access holds a lock file and opens the path
//! anew, so that a gateway that replaces another may compact the file under it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::clock::UnixTime;
use crate::principal::TenantId;
use crate::target::SandboxId;

/// Lines beside the live ones that make the file worth compacting.
const SLACK: usize = 100_000;

/// A sandbox and whose it is.
type Record = (SandboxId, TenantId);

#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    lock: PathBuf,
    capacity: usize,
    /// Lines added since the file was compacted.
    added: AtomicUsize,
    /// Whether the log says that appending fails.
    failing: AtomicBool,
}

/// One line.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) id: &'a SandboxId,
    /// `None`: it was killed.
    pub(super) tenant: Option<&'a TenantId>,
    pub(super) time: UnixTime,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenant = self.tenant.map_or("", TenantId::as_str);
        writeln!(f, "{}\t{tenant}\t{}", self.id, self.time.0)
    }
}

impl StateFile {
    /// The file in `directory`, compacted, and what it holds, oldest first.
    pub(super) fn open(directory: &Path, capacity: usize) -> io::Result<(Self, Vec<Record>)> {
        fs::create_dir_all(directory)?;
        let file = Self {
            path: directory.join("ownership"),
            lock: directory.join("ownership.lock"),
            capacity,
            added: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
        };
        let records = file.compact()?;
        Ok((file, records))
    }

    /// Adds a line. A failure is logged: the sandbox exists by now, and memory knows whose it is.
    pub(super) fn append(&self, line: &Line<'_>) {
        match self.try_append(line) {
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => {
                tracing::info!("the record of owners is written again");
            }
            Ok(()) => {}
            Err(cause) if !self.failing.swap(true, Ordering::Relaxed) => {
                tracing::error!(path = %self.path.display(), %cause, "cannot write the record of owners");
            }
            Err(_) => {}
        }
    }

    fn try_append(&self, line: &Line<'_>) -> io::Result<()> {
        {
            let _held = self.hold()?;
            let mut file = private().append(true).create(true).open(&self.path)?;
            file.write_all(line.to_string().as_bytes())?;
        }
        if self.added.fetch_add(1, Ordering::Relaxed) >= self.capacity.saturating_add(SLACK) {
            self.compact()?;
        }
        Ok(())
    }

    /// Rewrites the file with what counts, if there is one.
    fn compact(&self) -> io::Result<Vec<Record>> {
        if !self.path.try_exists()? {
            return Ok(Vec::new());
        }
        let _held = self.hold()?;
        self.added.store(0, Ordering::Relaxed);
        let (live, broken) = read(&fs::read(&self.path)?, self.capacity);
        if broken > 0 {
            tracing::warn!(
                lines = broken,
                "the record of owners holds broken lines; they are dropped"
            );
        }
        let partial = self.path.with_extension("partial");
        let mut file = private().write(true).create(true).truncate(true).open(&partial)?;
        let text: String = live
            .iter()
            .map(|((id, tenant), time)| Line { id, tenant: Some(tenant), time: *time }.to_string())
            .collect();
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, &self.path)?;
        Ok(live.into_iter().map(|(record, _)| record).collect())
    }

    /// Keeps others out until dropped.
    fn hold(&self) -> io::Result<File> {
        let lock = private().append(true).create(true).open(&self.lock)?;
        lock.lock()?;
        Ok(lock)
    }
}

/// How files are opened that only the gateway's user may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// What counts in a file, oldest first and the newest `capacity` at most, and how many lines say nothing.
fn read(bytes: &[u8], capacity: usize) -> (Vec<(Record, UnixTime)>, usize) {
    let mut last = std::collections::HashMap::new();
    let mut broken = 0;
    // What follows the last line feed is empty or torn.
    let whole = memchr::memrchr(b'\n', bytes).unwrap_or(0);
    for (number, line) in
        bytes.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n').enumerate()
    {
        match parse(line) {
            Some((id, owned)) => {
                last.insert(id, (number, owned));
            }
            None => broken += usize::from(!line.is_empty()),
        }
    }
    let mut live: Vec<_> = last
        .into_iter()
        .filter_map(|(id, (number, (tenant, time)))| Some((number, ((id, tenant?), time))))
        .collect();
    live.sort_unstable_by_key(|(number, _)| *number);
    let surplus = live.len().saturating_sub(capacity);
    (live.into_iter().skip(surplus).map(|(_, record)| record).collect(), broken)
}

fn parse(line: &[u8]) -> Option<(SandboxId, (Option<TenantId>, UnixTime))> {
    let mut fields = std::str::from_utf8(line).ok()?.split('\t');
    let id = SandboxId::parse(fields.next()?).ok()?;
    let tenant = match fields.next()? {
        "" => None,
        tenant => Some(TenantId::parse(tenant).ok()?),
    };
    let time = UnixTime(fields.next()?.parse().ok()?);
    fields.next().is_none().then_some((id, (tenant, time)))
}
