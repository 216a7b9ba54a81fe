//! How two processes share a journal while one takes the other's place: by never writing at the same time.
//!
//! The chain has one writer. The old process finishes what it has begun, syncs it and closes the file; with that its lock
//! goes, without which the new one could not open it. From then on the old one sends its events to the new one, which
//! numbers them and writes them among its own, in the order in which they come. In between, which lasts as long as a start
//! does, events wait in the queue. If the new process does not come up, the old one opens the file again and goes on from
//! its head, wherever that has come to. Should the new process end first, what the old one still has to tell is lost, and
//! it says so: another process may have the file by then.

use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use super::super::batch::Batch;
use super::super::file::{LetGo, Opened};
use super::super::resume::{Resumed, resume};
use super::super::{Item, Order, Pass};
use super::{Failing, LOOK, REST, Writer};

/// Who writes the file.
pub(super) enum Whose {
    Ours,
    /// Somebody else may have opened it.
    Nobodys,
    Anothers(Pass),
}

impl Writer {
    /// Does what was ordered about the file.
    pub(super) fn obey(&mut self) {
        let order = self.shared.order.lock().unwrap_or_else(PoisonError::into_inner).take();
        match order {
            Some(Order::Pause) => {
                let let_go = self.write().and_then(|()| self.sync());
                match let_go {
                    Ok(()) => {
                        self.medium = Box::new(LetGo);
                        self.whose = Whose::Nobodys;
                    }
                    Err(error) => tracing::error!(%error, "the audit journal cannot be let go of"),
                }
            }
            Some(Order::Resume) => {
                if !matches!(self.whose, Whose::Ours) {
                    let result = self.take_up();
                    Failing::note(&mut self.fails.open, "taken up", &result);
                    if result.is_err() {
                        self.resume_later();
                        return;
                    }
                }
                self.whose = Whose::Ours;
            }
            Some(Order::Pass(pass)) => self.whose = Whose::Anothers(pass),
            None => return,
        }
        *self.shared.is_away() = !matches!(self.whose, Whose::Ours);
        self.shared.away.notify_all();
    }

    /// Goes on where the file has come to.
    fn take_up(&mut self) -> io::Result<()> {
        let Resumed { opened, head, link, needs_newline, .. } = resume(&self.settings.path)?;
        let Opened { file, identity, size } = opened;
        self.medium = (self.wrap)(file);
        (self.identity, self.size, self.needs_newline) = (identity, size, needs_newline);
        (self.first, self.written, self.synced) = (head.first, link, head.link);
        self.batch = Batch::after(link);
        Ok(())
    }

    /// Has the file taken up a little later, unless something else is ordered: events wait meanwhile.
    fn resume_later(&mut self) {
        std::thread::sleep(REST);
        let mut order = self.shared.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.get_or_insert(Order::Resume);
    }

    /// Sends what waits to whoever writes.
    pub(super) fn pass(&mut self) {
        let is_closing = self.shared.closing.load(Ordering::Acquire);
        let patience = if is_closing { Duration::ZERO } else { LOOK };
        let item = match self.events.recv_timeout(patience) {
            Ok(item) => item,
            Err(RecvTimeoutError::Timeout) => {
                self.is_over = is_closing;
                Item::Wake
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.is_over = true;
                Item::Wake
            }
        };
        let gap = std::mem::take(&mut *self.shared.gap());
        let Whose::Anothers(pass) = &mut self.whose else { return };
        if let Item::Event(event) = item {
            let mut object = Vec::new();
            self.shared.queued.fetch_sub(1, Ordering::Relaxed);
            self.shared.room.notify_waiters();
            match event.write(&mut object) {
                Ok(()) => pass(object),
                Err(_) => self.shared.lose(),
            }
        }
        if gap.events > 0
            && let Ok(object) = serde_json::to_vec(&gap.record())
        {
            pass(object);
        }
    }
}
