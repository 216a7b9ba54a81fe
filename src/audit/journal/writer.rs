//! The thread that writes: takes what was offered, seals it, appends it, and sees to syncing, rotating and reopening.
//!
//! It never gives up: what cannot be written now is kept and tried again, while the queue fills behind it. Nobody waits
//! for this thread but [`super::Journal::close`].

mod sharing;

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::chain::Link;
use super::file::{self, Identity, Medium, Opened, Wrap};
use super::gap::Record;
use super::head::{Head, beside};
use super::resume::{Resumed, resume};
use super::{Item, Settings, Shared, Syncing};
use crate::clock::{self, UnixTime};
use sharing::Whose;

/// Bytes that are sealed before they are written.
const BATCH: usize = 256 << 10;
/// How long events gather before they are written, unless each is to be synced at once. To wake this thread and write for
/// every single one takes more time than all else about it, and takes that time from requests where cores are few.
const GATHER: Duration = Duration::from_millis(2);
/// How often it is looked whether the file still has its name.
const LOOK: Duration = Duration::from_secs(1);
/// How long the thread rests after the disk refused.
const REST: Duration = Duration::from_millis(100);

/// See the module.
pub(super) struct Writer {
    settings: Settings,
    wrap: Wrap,
    events: Receiver<Item>,
    shared: Arc<Shared>,
    batch: Batch,
    medium: Box<dyn Medium>,
    identity: Identity,
    /// Of the file, in bytes.
    size: u64,
    needs_newline: bool,
    /// The number of the file's first line.
    first: u64,
    /// The last whole line in the file.
    written: Link,
    /// The last line that is known to be on the disk, as the head says.
    synced: Link,
    sync_at: Option<Instant>,
    look_at: Instant,
    fails: Failing,
    whose: Whose,
    is_over: bool,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What does not work at the moment: each is logged when it begins, and when it is over.
#[derive(Default)]
struct Failing {
    write: bool,
    sync: bool,
    open: bool,
    shrunk: bool,
}

impl Failing {
    fn note(flag: &mut bool, what: &str, result: &io::Result<()>) {
        match result {
            Err(error) if !*flag => {
                tracing::error!(%error, "the audit journal cannot be {what}; trying again");
            }
            Ok(()) if *flag => tracing::info!("the audit journal is {what} again"),
            Ok(()) | Err(_) => {}
        }
        *flag = result.is_err();
    }
}

impl Writer {
    /// Opens the file and finds its end.
    pub(super) fn open(
        settings: Settings,
        wrap: Wrap,
        events: Receiver<Item>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let Resumed { opened, head, link, needs_newline, torn } = resume(&settings.path)?;
        tracing::info!(
            file = %settings.path.display(), seq = link.seq, hash = link.hash.as_str(),
            "the audit journal goes on"
        );
        let mut batch = Batch::after(link);
        if let Some(torn) = torn {
            batch.record(&Record::unfinished(torn.as_str(), UnixTime::now()));
        }
        Ok(Self {
            medium: wrap(opened.file),
            identity: opened.identity,
            size: opened.size,
            needs_newline,
            first: head.first,
            written: link,
            synced: head.link,
            sync_at: None,
            look_at: clock::instant() + LOOK,
            fails: Failing::default(),
            whose: Whose::Ours,
            is_over: false,
            settings,
            wrap,
            events,
            shared,
            batch,
        })
    }

    /// Writes until the journal is closed and everything is written.
    pub(super) fn run(mut self) {
        while !self.is_over {
            self.obey();
            match self.whose {
                Whose::Ours => {}
                Whose::Nobodys => {
                    self.is_over = self.shared.closing.load(Ordering::Acquire);
                    std::thread::sleep(GATHER);
                    continue;
                }
                Whose::Anothers(_) => {
                    self.pass();
                    continue;
                }
            }
            if self.shared.reopen.swap(false, Ordering::AcqRel) || clock::instant() >= self.look_at
            {
                self.look();
            }
            self.fill();
            let result = self.write();
            Failing::note(&mut self.fails.write, "written", &result);
            if result.is_err() {
                std::thread::sleep(REST);
            }
            self.keep_in_sync();
            if self.is_full() {
                self.rotate();
            }
        }
        tracing::info!(
            seq = self.written.seq,
            hash = self.written.hash.as_str(),
            "the audit journal ends"
        );
        let shared = Arc::clone(&self.shared);
        // Whoever waits for the end may open the file next, which is locked until it is closed.
        drop(self);
        *shared.ended() = true;
        shared.end.notify_all();
    }

    /// Seals what waits. Waits itself when there is nothing, until something else has to be done.
    fn fill(&mut self) {
        if !self.batch.is_empty() {
            return;
        }
        let until = self.sync_at.map_or(self.look_at, |at| at.min(self.look_at));
        let patience = until.saturating_duration_since(clock::instant());
        let is_closing = self.shared.closing.load(Ordering::Acquire);
        let patience = if is_closing { Duration::ZERO } else { patience };
        match self.events.recv_timeout(patience) {
            Ok(item) => {
                let is_event = matches!(item, Item::Event(_));
                self.take(item);
                if is_event && !is_closing && self.settings.sync != Syncing::Each {
                    std::thread::sleep(GATHER);
                }
            }
            Err(RecvTimeoutError::Timeout) => self.is_over = is_closing,
            Err(RecvTimeoutError::Disconnected) => self.is_over = true,
        }
        while self.batch.rest().len() < BATCH && !self.is_full() {
            match self.events.try_recv() {
                Ok(item) => self.take(item),
                Err(_) => {
                    // All that came before it is in the batch.
                    self.record_gap();
                    break;
                }
            }
        }
        self.is_over &= self.batch.is_empty();
    }

    fn take(&mut self, item: Item) {
        let Item::Event(event) = item else { return };
        if !self.batch.event(&*event) {
            self.shared.queued.fetch_sub(1, Ordering::Relaxed);
            self.shared.lose();
        }
    }

    fn record_gap(&mut self) {
        let gap = std::mem::take(&mut *self.shared.gap());
        if gap.events > 0 {
            tracing::info!(lost = gap.events, "the audit journal keeps up again");
            self.batch.record(&gap.record());
        }
    }

    /// Writes the batch, as far as the disk takes it.
    fn write(&mut self) -> io::Result<()> {
        while !self.batch.is_empty() {
            let bytes = if self.needs_newline { b"\n" } else { self.batch.rest() };
            match self.medium.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) if self.needs_newline => {
                    self.needs_newline = false;
                    self.size += 1;
                }
                Ok(count) => self.advance(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn advance(&mut self, count: usize) {
        self.size += count as u64;
        let progress = self.batch.advance(count);
        if let Some(link) = progress.link {
            self.written = link;
            let now = clock::instant();
            self.sync_at = match self.settings.sync {
                Syncing::Each => Some(now),
                Syncing::Every(interval) => self.sync_at.or_else(|| now.checked_add(interval)),
                Syncing::Never => None,
            };
        }
        self.shared.written.fetch_add(progress.events, Ordering::Relaxed);
        let events = usize::try_from(progress.events).unwrap_or(usize::MAX);
        self.shared.queued.fetch_sub(events, Ordering::Relaxed);
        self.shared.room.notify_waiters();
    }

    fn keep_in_sync(&mut self) {
        let is_due = self.sync_at.is_some_and(|at| clock::instant() >= at);
        if (is_due || self.is_over) && self.synced != self.written {
            let result = self.sync();
            Failing::note(&mut self.fails.sync, "synced", &result);
            if result.is_err() {
                self.sync_at = Some(clock::instant() + LOOK);
            }
        }
    }

    /// What the head says must be on the disk before the head is.
    fn sync(&mut self) -> io::Result<()> {
        self.medium.sync()?;
        self.put_head()
    }

    fn put_head(&mut self) -> io::Result<()> {
        Head { first: self.first, link: self.written }.write(&self.settings.path)?;
        self.synced = self.written;
        self.sync_at = None;
        Ok(())
    }

    fn is_full(&self) -> bool {
        let size = self.size + self.batch.rest().len() as u64;
        self.settings.rotate_size.is_some_and(|limit| size >= limit)
    }

    /// Puts a full file aside and goes on in another.
    fn rotate(&mut self) {
        if !self.batch.is_empty() || self.written.seq < self.first {
            return;
        }
        if Identity::at(&self.settings.path).is_none_or(|(found, _)| found != self.identity) {
            // Not to put somebody else's file aside.
            return self.look();
        }
        let result = self.put_aside().and_then(|()| self.change());
        Failing::note(&mut self.fails.open, "rotated", &result);
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let path = &self.settings.path;
        let names = (0..100_u32).map(|n| match n {
            0 => beside(path, &format!(".{:012}", self.first)),
            n => beside(path, &format!(".{:012}.{n}", self.first)),
        });
        let mut free = names.filter(|name: &PathBuf| !name.exists());
        let aside = free.next().ok_or(ErrorKind::AlreadyExists)?;
        self.sync()?;
        Head { first: self.first, link: self.written }.write(&aside)?;
        fs::rename(&self.settings.path, &aside)?;
        tracing::info!(
            file = %aside.display(), seq = self.written.seq, hash = self.written.hash.as_str(),
            "the audit journal was rotated"
        );
        Ok(())
    }

    /// Sees to it that what is written goes to the file of the journal's name.
    fn look(&mut self) {
        self.look_at = clock::instant() + LOOK;
        match Identity::at(&self.settings.path) {
            Some((identity, size)) if identity == self.identity => {
                if size < self.size && !std::mem::replace(&mut self.fails.shrunk, true) {
                    tracing::error!(
                        "the audit journal was cut short; 'audit verify' names the place"
                    );
                }
                return;
            }
            Some(_) | None => {}
        }
        if !self.fails.open {
            tracing::warn!(
                "the audit journal was moved away or deleted; it goes on in another file"
            );
        }
        let result = self.change();
        Failing::note(&mut self.fails.open, "opened", &result);
    }

    /// Goes on in the file that has the journal's name now, or in a new one. Until there is one, the old one serves.
    fn change(&mut self) -> io::Result<()> {
        let _ = self.write();
        let result = self.medium.sync();
        Failing::note(&mut self.fails.sync, "synced", &result);
        // Its head is there before the file is, so that at no moment there is one that cannot vouch for the other.
        self.first = self.written.next();
        self.put_head()?;
        let opened = file::open(&self.settings.path)?;
        self.needs_newline = opened.needs_newline()?;
        let Opened { file, identity, size } = opened;
        self.medium = (self.wrap)(file);
        self.batch.rewind();
        (self.identity, self.size, self.fails.shrunk) = (identity, size, false);
        Ok(())
    }
}
