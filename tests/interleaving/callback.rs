//! Callback answers against flushes and purges, and flights against those who leave them.

/// Stands in for the gateway's own `callback::sync`.
mod sync {
    pub(super) use shuttle::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic};
}

#[path = "../../src/callback/flight.rs"]
mod flight;
#[path = "../../src/callback/ledger.rs"]
mod ledger;

use std::hash::RandomState;

use shuttle::thread;

use flight::{Abandon, Flights, Seat};
use ledger::{Epoch, Ledger, Revoke};
use sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use sync::{Arc, Mutex};

/// Schedules tried of each test.
const SCHEDULES: usize = 5_000;

/// Half of them as they come, half with few switches at odd places.
fn try_schedules(test: impl Fn() + Copy + Send + Sync + 'static) {
    shuttle::check_random(test, SCHEDULES / 2);
    shuttle::check_pct(test, SCHEDULES / 2, 3);
}

#[derive(Default, Debug)]
struct Revocation(AtomicBool);

impl Revoke for Revocation {
    fn revoke(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What the gateway remembers of one answer.
#[derive(Clone)]
struct Entry {
    began: Epoch,
    id: u32,
    shared: Arc<Revocation>,
}

/// A service's answers about one identity, and the place where they are remembered.
struct World {
    ledger: Ledger<u32, Revocation>,
    remembered: Mutex<Option<Entry>>,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self { ledger: Ledger::new([]), remembered: Mutex::new(None) })
    }

    /// A whole call: begins, and much later remembers what it brought.
    fn fill(&self) {
        let began = self.ledger.begin();
        thread::yield_now();
        if let Some((id, shared)) = self.ledger.admit(began, 1..) {
            thread::yield_now();
            *self.remembered.lock().unwrap() = Some(Entry { began, id, shared });
        }
    }

    /// A look-up, as every request makes it.
    fn find(&self) -> Option<Entry> {
        let entry = self.remembered.lock().unwrap().clone()?;
        let counts = self.ledger.is_current(entry.began);
        (counts && !entry.shared.0.load(Ordering::SeqCst)).then_some(entry)
    }
}

#[test]
fn a_purged_id_is_never_found_again() {
    try_schedules(|| {
        let world = World::new();
        let fills: Vec<_> = (0..2)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.fill())
            })
            .collect();
        let purge = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.ledger.purge(&1);
                assert!(world.find().is_none_or(|entry| entry.id != 1));
            })
        };
        purge.join().unwrap();
        assert!(world.find().is_none_or(|entry| entry.id != 1));
        fills.into_iter().for_each(|fill| fill.join().unwrap());
        assert!(world.find().is_none_or(|entry| entry.id != 1));
        assert_ne!(world.ledger.current(1..).unwrap().0, 1);
        assert_eq!(world.ledger.dead(), [1]);
    });
}

#[test]
fn a_call_from_before_a_purge_does_not_admit_under_the_next_id() {
    try_schedules(|| {
        let world = World::new();
        let began = world.ledger.begin();
        let purge = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.ledger.purge(&1))
        };
        if let Some((id, _)) = world.ledger.admit(began, 1..) {
            assert_eq!(id, 1);
        }
        purge.join().unwrap();
        assert!(world.ledger.admit(began, 1..).is_none());
        let (id, shared) = world.ledger.admit(world.ledger.begin(), 1..).unwrap();
        assert!(id == 2 && !shared.0.load(Ordering::SeqCst));
    });
}

#[test]
fn nothing_from_before_a_flush_is_found_after_it() {
    try_schedules(|| {
        let world = World::new();
        let fill = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.fill())
        };
        let flush = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let before = world.ledger.begin();
                world.ledger.flush();
                assert!(world.find().is_none_or(|entry| entry.began > before));
                before
            })
        };
        fill.join().unwrap();
        let before = flush.join().unwrap();
        assert!(world.find().is_none_or(|entry| entry.began > before));
        world.fill();
        assert!(world.find().is_some());
    });
}

#[test]
fn whoever_is_live_under_one_id_is_revoked_together() {
    try_schedules(|| {
        let world = World::new();
        let admitted: Vec<_> = (0..3)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.ledger.admit(world.ledger.begin(), 1..))
            })
            .collect();
        let purge = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.ledger.purge(&1))
        };
        purge.join().unwrap();
        for admitted in admitted {
            if let Some((id, shared)) = admitted.join().unwrap() {
                assert_eq!(shared.0.load(Ordering::SeqCst), id == 1);
            }
        }
    });
}

/// A flight that counts how often it was called off.
#[derive(Default)]
struct Counted {
    abandoned: AtomicUsize,
}

impl Abandon for Counted {
    fn abandon(&self) {
        self.abandoned.fetch_add(1, Ordering::SeqCst);
    }

    fn is_over(&self) -> bool {
        // So that every schedule looks at the board.
        false
    }
}

type Table = Flights<u8, Counted, RandomState>;

fn join(flights: &Arc<Table>) -> Seat<u8, Counted, RandomState> {
    Flights::join(flights, 0, || Some(Counted::default())).unwrap()
}

#[test]
fn the_last_one_out_calls_a_flight_off_once() {
    try_schedules(|| {
        let flights = Arc::new(Table::new());
        let seat = join(&flights);
        let flight = Arc::clone(&seat.flight);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (flights, flight) = (Arc::clone(&flights), Arc::clone(&flight));
                thread::spawn(move || {
                    let seat = join(&flights);
                    if Arc::ptr_eq(&seat.flight, &flight) {
                        // Somebody is aboard.
                        assert_eq!(flight.abandoned.load(Ordering::SeqCst), 0);
                        assert!(!seat.led);
                    } else {
                        // It had been called off before.
                        assert_eq!(seat.flight.abandoned.load(Ordering::SeqCst), 0);
                    }
                })
            })
            .collect();
        drop(seat);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(flight.abandoned.load(Ordering::SeqCst), 1);
        assert!(join(&flights).led);
    });
}

#[test]
fn a_leader_that_leaves_takes_nobody_along() {
    try_schedules(|| {
        let flights = Arc::new(Table::new());
        let (leader, follower) = (join(&flights), join(&flights));
        let leaves = thread::spawn(move || drop(leader));
        assert_eq!(follower.flight.abandoned.load(Ordering::SeqCst), 0);
        leaves.join().unwrap();
        assert_eq!(follower.flight.abandoned.load(Ordering::SeqCst), 0);
        let late = join(&flights);
        assert!(!late.led && Arc::ptr_eq(&late.flight, &follower.flight));
    });
}

#[test]
fn whoever_is_aboard_has_somebody_who_flies() {
    try_schedules(|| {
        let flights = Arc::new(Table::new());
        let leader = join(&flights);
        let first = Arc::clone(&leader.flight);
        let follows = {
            let flights = Arc::clone(&flights);
            thread::spawn(move || join(&flights))
        };
        let leaves = thread::spawn(move || {
            let hands_on = !leader.leave_last();
            assert_eq!(leader.flight.abandoned.load(Ordering::SeqCst), 0);
            hands_on
        });
        let (follower, hands_on) = (follows.join().unwrap(), leaves.join().unwrap());
        assert_eq!(Arc::ptr_eq(&follower.flight, &first), hands_on);
        assert_eq!(follower.led, !hands_on);
        drop(follower);
        // What was handed on is called off by the last one, and only that.
        assert_eq!(first.abandoned.load(Ordering::SeqCst), usize::from(hands_on));
        assert!(join(&flights).led);
    });
}

#[test]
fn a_flight_lands_or_is_called_off_and_never_takes_the_next_one_down() {
    try_schedules(|| {
        let flights = Arc::new(Table::new());
        let seat = join(&flights);
        let (flight, landing) = (Arc::clone(&seat.flight), seat.landing());
        let landed = Arc::new(AtomicBool::new(false));
        let lands = {
            let landed = Arc::clone(&landed);
            thread::spawn(move || {
                drop(landing);
                landed.store(true, Ordering::SeqCst);
            })
        };
        let next = {
            let (flights, first) = (Arc::clone(&flights), Arc::clone(&flight));
            thread::spawn(move || {
                let has_landed = landed.load(Ordering::SeqCst);
                let seat = join(&flights);
                assert!(!has_landed || !Arc::ptr_eq(&seat.flight, &first));
                seat
            })
        };
        drop(seat);
        lands.join().unwrap();
        let next = next.join().unwrap();
        assert!(flight.abandoned.load(Ordering::SeqCst) <= 1);
        if !Arc::ptr_eq(&next.flight, &flight) {
            assert_eq!(next.flight.abandoned.load(Ordering::SeqCst), 0);
            assert!(!join(&flights).led);
        }
    });
}

#[test]
fn only_one_leads() {
    try_schedules(|| {
        let flights = Arc::new(Table::new());
        let started = Arc::new(AtomicUsize::new(0));
        let seats: Vec<_> = (0..3)
            .map(|_| {
                let (flights, started) = (Arc::clone(&flights), Arc::clone(&started));
                thread::spawn(move || {
                    let lead = || {
                        started.fetch_add(1, Ordering::SeqCst);
                        Some(Counted::default())
                    };
                    Flights::join(&flights, 0, lead).unwrap()
                })
            })
            .collect();
        let seats: Vec<_> = seats.into_iter().map(|seat| seat.join().unwrap()).collect();
        assert_eq!(started.load(Ordering::SeqCst), 1);
        assert_eq!(seats.iter().filter(|seat| seat.led).count(), 1);
    });
}
