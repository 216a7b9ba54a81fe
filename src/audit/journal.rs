//! The audit journal: one JSON object a line, in a file that shows what was done to it.
//!
//! Each line is an event's object with three members more at its end, `"seq":N,"prev":"P","hash":"H"}`. `seq` counts
//! from 1 without a hole; `prev` is the `hash` of the line before, 64 zeros for the first; `hash` is the SHA-256, in
//! lower-case hexadecimal digits, over the 64 digits of `prev` followed by the bytes of the line without
//! `,"hash":"H"` and without its newline. `FILE.head` is `{"first":F,"seq":N,"hash":"H"}`: the number of the file's first
//! line, and the last line that is known to be on the disk. A file that was rotated away, `FILE.<first seq>`, keeps a
//! head of its own, and the chain goes on in the next. Lines `{"gap":n,…}` say that `n` events are missing there.
//!
//! One thread writes. A request hands its event over and never waits for the disk; what waits is bounded.

mod batch;
mod chain;
mod file;
mod gap;
mod head;
mod resume;
pub mod verify;
mod writer;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;

use crate::clock::UnixTime;
use file::Wrap;
use gap::Gap;
use writer::Writer;

/// What is written down: anything that serialises to a JSON object.
pub trait Entry: Send + Sync {
    /// Appends the object.
    ///
    /// # Errors
    /// It has no JSON.
    fn write(&self, to: &mut Vec<u8>) -> serde_json::Result<()>;
}

impl<T: Serialize + Send + Sync> Entry for T {
    fn write(&self, to: &mut Vec<u8>) -> serde_json::Result<()> {
        serde_json::to_writer(to, self)
    }
}

/// What happens when the disk does not keep up.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Policy {
    /// Events that find no place are counted, and the gap is recorded.
    #[default]
    Drop,
    /// Requests that matter wait for a place, and are refused when there is none in time.
    Block,
}

/// When what was written is made to reach the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Syncing {
    /// At once.
    Each,
    /// After this time at the latest.
    Every(Duration),
    /// When the system likes, and at the end of a file.
    Never,
}

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its file.
    pub path: PathBuf,
    /// What happens when the disk does not keep up.
    pub policy: Policy,
    /// When what was written is made to reach the disk.
    pub sync: Syncing,
    /// The size in bytes at which a file is put aside; none: never.
    pub rotate_size: Option<u64>,
    /// Events that may wait to be written.
    pub queue: usize,
    /// How long [`Journal::room`] waits.
    pub patience: Duration,
}

impl Settings {
    /// Events that wait when nothing else is said.
    pub const QUEUE: usize = 16_384;
    /// How long [`Journal::room`] waits when nothing else is said.
    pub const PATIENCE: Duration = Duration::from_secs(2);

    /// A journal in this file, and the rest as it is by default.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self {
            path,
            policy: Policy::Drop,
            sync: Syncing::Every(Duration::from_secs(1)),
            rotate_size: None,
            queue: Self::QUEUE,
            patience: Self::PATIENCE,
        }
    }
}

/// The journal has no place for another event, and got none in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the audit journal cannot take another event")]
pub struct Full;

/// What the writer is told.
enum Item {
    Event(Arc<dyn Entry>),
    /// Look at the flags.
    Wake,
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Wake) { "Wake" } else { "Event" })
    }
}

/// A journal that is being written. Dropping it lets the writer finish what it was handed, without waiting for it.
#[derive(Debug)]
pub struct Journal {
    queue: SyncSender<Item>,
    shared: Arc<Shared>,
    policy: Policy,
    patience: Duration,
    /// How many may wait before requests that matter are held back. The other half of the queue is for those that were
    /// let through and have not ended.
    limit: usize,
}

/// What journal and writer both see.
#[derive(Debug, Default)]
struct Shared {
    queued: AtomicUsize,
    written: AtomicU64,
    dropped: AtomicU64,
    gap: Mutex<Gap>,
    room: Notify,
    reopen: AtomicBool,
    closing: AtomicBool,
    ended: Mutex<bool>,
    end: Condvar,
    order: Mutex<Option<Order>>,
    is_away: Mutex<bool>,
    away: Condvar,
}

/// Whose the file is from now on.
enum Order {
    /// Nobody's: it is finished and let go of, and what comes waits.
    Pause,
    /// This process's again.
    Resume,
    /// Another one's, which is sent the objects.
    Pass(Pass),
}

/// Sends an event's object to the process that writes.
type Pass = Box<dyn FnMut(Vec<u8>) + Send>;

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pause => "Pause",
            Self::Resume => "Resume",
            Self::Pass(_) => "Pass",
        })
    }
}

impl Shared {
    fn order(&self, order: Order) {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner) = Some(order);
    }

    fn is_away(&self) -> MutexGuard<'_, bool> {
        self.is_away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gap(&self) -> MutexGuard<'_, Gap> {
        self.gap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> MutexGuard<'_, bool> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an event that will not be written.
    fn lose(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        if self.gap().widen(UnixTime::now()) {
            tracing::error!("the audit journal does not keep up: events are dropped and counted");
        }
    }
}

impl Journal {
    /// Opens the file, finds the end of its chain and starts to write. Without an error the file can be written.
    ///
    /// # Errors
    /// The file cannot be used, which is no reason to go on without one; or there is no thread to be had.
    pub fn open(settings: Settings) -> io::Result<Self> {
        Self::start(settings, Box::new(|file| Box::new(file)))
    }

    fn start(settings: Settings, wrap: Wrap) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (queue, events) = mpsc::sync_channel(settings.queue);
        let Settings { policy, patience, queue: size, .. } = settings;
        let writer = Writer::open(settings, wrap, events, Arc::clone(&shared))?;
        std::thread::Builder::new().name("audit-journal".to_owned()).spawn(|| writer.run())?;
        Ok(Self { queue, shared, policy, patience, limit: (size / 2).max(1) })
    }

    /// Hands an event over. Never waits: without a place for it, it is counted as missing.
    pub fn offer(&self, event: Arc<dyn Entry>) {
        // Counted before it is there, since the writer may be faster than this thread.
        self.shared.queued.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(Item::Event(event)).is_err() {
            self.shared.queued.fetch_sub(1, Ordering::Relaxed);
            self.shared.lose();
        }
    }

    /// Whether a request that matters may be let through without waiting: one load.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.policy == Policy::Drop || self.shared.queued.load(Ordering::Relaxed) < self.limit
    }

    /// Waits until a request that matters may be let through. Under [`Policy::Drop`] that is at once.
    ///
    /// # Errors
    /// [`Full`] when it took too long.
    pub async fn room(&self) -> Result<(), Full> {
        let wait = async {
            loop {
                let told = self.shared.room.notified();
                if self.has_room() {
                    break;
                }
                told.await;
            }
        };
        tokio::time::timeout(self.patience, wait).await.map_err(|_| Full)
    }

    /// Has the writer look for its file by name: it may have been moved away.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.wake();
    }

    /// Has what was written so far synced and lets go of the file, so that another process may open it. What is offered
    /// meanwhile waits. False when that was not done in `patience`; then nothing has changed.
    pub fn pause(&self, patience: Duration) -> bool {
        self.shared.order(Order::Pause);
        self.wake();
        let away =
            self.shared.away.wait_timeout_while(self.shared.is_away(), patience, |away| !*away);
        let is_away = *away.unwrap_or_else(PoisonError::into_inner).0;
        if !is_away {
            self.resume();
        }
        is_away
    }

    /// Goes on with the file after [`pause`](Self::pause), where the chain has come to since.
    pub fn resume(&self) {
        self.shared.order(Order::Resume);
        self.wake();
    }

    /// Sends all that is offered, and waited after [`pause`](Self::pause), to the process that has the file now: a chain has
    /// one writer.
    pub fn pass_on(&self, to: impl FnMut(Vec<u8>) + Send + 'static) {
        self.shared.order(Order::Pass(Box::new(to)));
        self.wake();
    }

    /// Has everything that was offered written and synced, and ends. False when that was not done in `patience`.
    pub fn close(&self, patience: Duration) -> bool {
        self.shared.closing.store(true, Ordering::Release);
        self.wake();
        let ended =
            self.shared.end.wait_timeout_while(self.shared.ended(), patience, |ended| !*ended);
        let is_done = *ended.unwrap_or_else(PoisonError::into_inner).0;
        if !is_done {
            let lost = self.queued();
            tracing::error!(lost, "the audit journal could not be finished in time");
        }
        is_done
    }

    /// Events written to the file since the start.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Events lost since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Events that wait to be written.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared.queued.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        // A full queue means that the writer is awake.
        let _ = self.queue.try_send(Item::Wake);
    }
}

#[cfg(test)]
mod tests;
