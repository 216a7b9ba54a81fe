//! A disk that is full or stalled for as long as a test wants it to be.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Condvar, Mutex};

use super::super::file::{Medium, Wrap};

/// The disk, for the test and for every file on it.
#[derive(Clone, Debug)]
pub(super) struct Disk(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug)]
struct State {
    /// Bytes that can still be written; none: any number.
    room: Option<usize>,
    is_stalled: bool,
    has_refused: bool,
}

impl Disk {
    fn new(room: Option<usize>, is_stalled: bool) -> Self {
        let state = State { room, is_stalled, has_refused: false };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    /// It takes so many bytes more.
    pub(super) fn with_room(bytes: usize) -> Self {
        Self::new(Some(bytes), false)
    }

    /// Writing to it does not return.
    pub(super) fn stalled() -> Self {
        Self::new(None, true)
    }

    /// All is well again.
    pub(super) fn clear(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        (state.room, state.is_stalled) = (None, false);
        changed.notify_all();
    }

    /// Whether it was ever too full.
    pub(super) fn has_refused(&self) -> bool {
        self.0.0.lock().unwrap().has_refused
    }

    pub(super) fn wrap(&self) -> Wrap {
        let disk = self.clone();
        Box::new(move |file| Box::new(OnDisk { file, disk: disk.clone() }))
    }
}

#[derive(Debug)]
struct OnDisk {
    file: File,
    disk: Disk,
}

impl Medium for OnDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (state, changed) = &*self.disk.0;
        let state = state.lock().unwrap();
        let mut state = changed.wait_while(state, |state| state.is_stalled).unwrap();
        let count = state.room.map_or(bytes.len(), |room| room.min(bytes.len()));
        if count == 0 {
            state.has_refused = true;
            return Err(ErrorKind::StorageFull.into());
        }
        state.room = state.room.map(|room| room - count);
        Medium::write(&mut self.file, &bytes[..count])
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}
