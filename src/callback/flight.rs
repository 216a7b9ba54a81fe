//! Calls under way, by what is asked: whoever asks the same comes aboard instead of making a call of their own.
//!
//! Hand-written because a flight outlives the client that caused it but not the last one that waits for it, serves
//! several runtimes, and must be left in any order; a cache that coalesces its look-ups ties them to one caller's
//! future. Locks come from [`super::sync`] alone, nothing here waits, and `tests/interleaving.rs` tries its schedules.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash};

use super::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What can be called off.
pub(super) trait Abandon {
    /// Nobody waits for it any more.
    fn abandon(&self);

    /// Whether it has landed and is on no board any more. To say so too seldom costs a look at the board.
    fn is_over(&self) -> bool;
}

/// The flights that can be joined.
#[derive(Debug)]
pub(super) struct Flights<K, F, S> {
    board: Mutex<Board<K, F, S>>,
}

#[derive(Debug)]
struct Board<K, F, S> {
    /// Tells a flight from a later one of the same key.
    next: u64,
    open: HashMap<K, Open<F>, S>,
}

#[derive(Debug)]
struct Open<F> {
    number: u64,
    aboard: usize,
    flight: Arc<F>,
}

impl<K: Copy + Eq + Hash, F: Abandon, S: BuildHasher + Default> Flights<K, F, S> {
    /// None under way.
    pub(super) fn new() -> Self {
        Self { board: Mutex::new(Board { next: 0, open: HashMap::default() }) }
    }

    /// Comes aboard the flight of `key`. Where there is none, `lead` makes one or says that it must not be made.
    /// `lead` runs under the lock, and must start nothing.
    pub(super) fn join(
        flights: &Arc<Self>,
        key: K,
        lead: impl FnOnce() -> Option<F>,
    ) -> Option<Seat<K, F, S>> {
        let mut board = flights.lock();
        let Board { next, open } = &mut *board;
        let (led, number, flight) = match open.entry(key) {
            Entry::Occupied(open) => {
                let open = open.into_mut();
                open.aboard += 1;
                (false, open.number, Arc::clone(&open.flight))
            }
            Entry::Vacant(place) => {
                let flight = Arc::new(lead()?);
                let number = *next;
                *next += 1;
                place.insert(Open { number, aboard: 1, flight: Arc::clone(&flight) });
                (true, number, flight)
            }
        };
        drop(board);
        let ticket = Ticket { flights: Arc::clone(flights), key, number };
        Some(Seat { ticket, led, flight })
    }

    fn lock(&self) -> MutexGuard<'_, Board<K, F, S>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Ticket<K, F, S> {
    flights: Arc<Flights<K, F, S>>,
    key: K,
    number: u64,
}

/// A place aboard. Whoever drops the last one of a flight that has not landed calls it off.
pub(super) struct Seat<K, F, S>
where
    K: Copy + Eq + Hash,
    F: Abandon,
    S: BuildHasher + Default,
{
    ticket: Ticket<K, F, S>,
    /// Whether this one caused the flight.
    pub(super) led: bool,
    /// The flight.
    pub(super) flight: Arc<F>,
}

impl<K: Copy + Eq + Hash, F: Abandon, S: BuildHasher + Default> Seat<K, F, S> {
    /// For the flight itself to hold while it lasts.
    pub(super) fn landing(&self) -> Landing<K, F, S> {
        let Ticket { flights, key, number } = &self.ticket;
        Landing(Ticket { flights: Arc::clone(flights), key: *key, number: *number })
    }

    /// Leaves a flight that nobody else is aboard of, so that nobody comes aboard any more. Whether that was so, or it had
    /// landed.
    pub(super) fn leave_last(&self) -> bool {
        let Ticket { flights, key, number } = &self.ticket;
        let mut board = flights.lock();
        let Some(open) = board.open.get(key).filter(|open| open.number == *number) else {
            return true;
        };
        let is_last = open.aboard == 1;
        if is_last {
            let left = board.open.remove(key);
            drop(board);
            drop(left);
        }
        is_last
    }
}

impl<K: Copy + Eq + Hash, F: Abandon, S: BuildHasher + Default> Drop for Seat<K, F, S> {
    fn drop(&mut self) {
        if self.flight.is_over() {
            return;
        }
        let Ticket { flights, key, number } = &self.ticket;
        let mut board = flights.lock();
        let Some(open) = board.open.get_mut(key).filter(|open| open.number == *number) else {
            return;
        };
        open.aboard -= 1;
        if open.aboard == 0 {
            board.open.remove(key);
            drop(board);
            self.flight.abandon();
        }
    }
}

/// Takes the flight off the board when dropped: it has landed, was called off, or its runtime ended under it.
pub(super) struct Landing<K, F, S>(Ticket<K, F, S>)
where
    K: Copy + Eq + Hash,
    F: Abandon,
    S: BuildHasher + Default;

impl<K: Copy + Eq + Hash, F: Abandon, S: BuildHasher + Default> Drop for Landing<K, F, S> {
    fn drop(&mut self) {
        let Ticket { flights, key, number } = &self.0;
        let mut board = flights.lock();
        if let Entry::Occupied(open) = board.open.entry(*key)
            && open.get().number == *number
        {
            let landed = open.remove();
            drop(board);
            drop(landed);
        }
    }
}
