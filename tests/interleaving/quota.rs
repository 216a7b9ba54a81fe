//! The quota ledger: threads that start, lose, kill and list sandboxes at an upstream that is played.
//!
//! At no time does the upstream hold more than the limit, and when everything is over the ledger says what it holds.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use shuttle::rand::{Rng as _, thread_rng};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use account::End;
use book::{Answer, Ask, Book, Policy, Start, Ticket};

use crate::principal::TenantId;
use crate::target::SandboxId;

#[path = "../../src/quota/account.rs"]
mod account;
#[expect(dead_code, unreachable_pub, reason = "parts of it serve the ledger's asynchronous face")]
#[path = "../../src/quota/book.rs"]
mod book;
#[expect(unreachable_pub, reason = "in the library it is public")]
#[path = "../../src/quota/listing.rs"]
mod listing;
#[path = "../../src/quota/repeats.rs"]
mod repeats;

/// The primitives that the book locks with.
mod sync {
    pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(super) use shuttle::sync::{Mutex, MutexGuard};
}

const LIMIT: u32 = 2;
const GRACE: Duration = Duration::from_secs(20);

/// The ledger, the upstream, and the time at which listings begin.
struct World {
    book: Book,
    upstream: Mutex<Upstream>,
    now: Mutex<Instant>,
}

#[derive(Default)]
struct Upstream {
    made: usize,
    real: HashSet<SandboxId>,
}

impl World {
    /// A tenant known to have nothing.
    fn new() -> Arc<Self> {
        let policy = Policy { grace: GRACE, honours_keys: true };
        let world = Self {
            book: Book::new(policy, None, &HashMap::new()),
            upstream: Mutex::default(),
            now: Mutex::new(tokio::time::Instant::now().into_std()),
        };
        assert!(world.reserve(Start::One(None)).is_none(), "nothing is known yet");
        world.list();
        Arc::new(world)
    }

    fn reserve(&self, start: Start<'_>) -> Option<Ticket> {
        let now = *self.now.lock().unwrap();
        let ask = Ask { tenant: &tenant(), limit: Some(LIMIT), start, now };
        match self.book.reserve(&ask).unwrap() {
            Answer::Admitted(ticket) => Some(ticket),
            Answer::AtLimit(_) | Answer::Unlisted | Answer::Busy => None,
        }
    }

    /// The upstream starts a sandbox.
    fn start(&self) -> SandboxId {
        let mut upstream = self.upstream.lock().unwrap();
        upstream.made += 1;
        let id = SandboxId::parse(&format!("i{}", upstream.made)).unwrap();
        upstream.real.insert(id.clone());
        assert!(upstream.real.len() <= LIMIT as usize, "{:?}", upstream.real);
        id
    }

    /// Sends a request with any end: answered, refused, or lost, and then heeded before or after that or never. What
    /// the upstream will do behind everybody's back is given back.
    fn create(self: &Arc<Self>, count: u32) -> Vec<thread::JoinHandle<()>> {
        let start = if count == 1 { Start::One(None) } else { Start::Several(count) };
        let Some(ticket) = self.reserve(start) else { return Vec::new() };
        thread::yield_now();
        let mut late = Vec::new();
        match thread_rng().gen_range(0..5) {
            0 => self.book.settle(ticket, End::Released),
            1 => {
                let started = thread_rng().gen_range(1..=count);
                let ids: Vec<_> = (0..started).map(|_| self.start()).collect();
                thread::yield_now();
                self.book.settle(ticket, End::Bound(&ids));
            }
            2 => {
                self.start();
                self.book.settle(ticket, End::Doubted);
            }
            3 => self.book.settle(ticket, End::Doubted),
            _ => {
                let world = self.clone();
                late.push(thread::spawn(move || {
                    world.start();
                }));
                self.book.settle(ticket, End::Doubted);
            }
        }
        late
    }

    /// Sends it again under the same key, as often as it gets lost. The upstream acts once.
    fn create_with_key(&self) {
        let mut started: Option<SandboxId> = None;
        for _ in 0..3 {
            let Some(ticket) = self.reserve(Start::One(Some("k"))) else { return };
            thread::yield_now();
            if started.is_some() || thread_rng().gen_range(0..2) == 0 {
                let id = started.get_or_insert_with(|| self.start()).clone();
                if thread_rng().gen_range(0..2) == 0 {
                    self.book.settle(ticket, End::Bound(&[id]));
                    continue;
                }
            }
            self.book.settle(ticket, End::Doubted);
        }
    }

    fn kill(&self) {
        let victim = {
            let mut upstream = self.upstream.lock().unwrap();
            let victim = upstream.real.iter().min().cloned();
            victim.inspect(|victim| {
                upstream.real.remove(victim);
            })
        };
        if let Some(victim) = victim {
            thread::yield_now();
            self.book.ended(&tenant(), &victim);
        }
    }

    /// Connects to a sandbox that may be gone by then.
    fn connect(&self) {
        let Some(id) = self.upstream.lock().unwrap().real.iter().max().cloned() else { return };
        let Some(ticket) = self.reserve(Start::Existing(&id)) else { return };
        thread::yield_now();
        let is_there = self.upstream.lock().unwrap().real.contains(&id);
        let ids = [id];
        self.book.settle(ticket, if is_there { End::Bound(&ids) } else { End::Released });
    }

    /// Lists in two pages.
    fn list(&self) {
        let mark = self.book.begin_listing(*self.now.lock().unwrap());
        let mut ids = HashSet::new();
        for page in [true, false] {
            thread::yield_now();
            let upstream = self.upstream.lock().unwrap();
            let is_here =
                |id: &&SandboxId| id.as_str().ends_with(['0', '2', '4', '6', '8']) == page;
            ids.extend(upstream.real.iter().filter(is_here).cloned());
        }
        self.book.apply_listing(&tenant(), mark, &ids);
    }

    fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }
}

fn tenant() -> TenantId {
    TenantId::parse("team-a").unwrap()
}

fn on(
    world: &Arc<World>,
    work: impl FnOnce(&Arc<World>) + Send + 'static,
) -> thread::JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || work(&world))
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Requests that get lost beside listings; then, after the upstream is done with those, more requests while listings
/// decide what became of the lost ones.
fn a_day() {
    let world = World::new();
    let late = Arc::new(Mutex::new(Vec::new()));
    let lossy = |count| {
        let late = late.clone();
        on(&world, move |world| {
            let threads = world.create(count);
            late.lock().unwrap().extend(threads);
        })
    };
    join([
        lossy(1),
        lossy(1),
        lossy(2),
        on(&world, |world| world.list()),
        on(&world, |world| world.kill()),
    ]);
    world.list();
    let late = std::mem::take(&mut *late.lock().unwrap());
    join(late);
    world.pass(GRACE);
    join([
        on(&world, |world| {
            world.list();
            world.list();
        }),
        on(&world, |world| world.list()),
        on(&world, |world| world.create_with_key()),
        on(&world, |world| world.connect()),
        on(&world, |world| world.kill()),
    ]);
    for _ in 0..2 {
        world.list();
        world.pass(GRACE);
    }
    world.list();
    let real = world.upstream.lock().unwrap().real.len();
    let standing = world.book.standing(&tenant());
    assert_eq!((standing.active, standing.pending, standing.in_doubt), (real, 0, 0));
    let room = std::iter::from_fn(|| world.reserve(Start::One(None))).count();
    assert_eq!(room + real, LIMIT as usize);
}

#[test]
fn no_interleaving_passes_the_limit_or_loses_room() {
    shuttle::check_random(a_day, 8_000);
}

#[test]
fn no_rare_interleaving_does_either() {
    shuttle::check_pct(a_day, 4_000, 3);
}

/// Many at once meet the limit exactly.
#[test]
fn a_burst_fills_the_room_and_no_more() {
    let burst = || {
        let world = World::new();
        let admitted = Arc::new(Mutex::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let admitted = admitted.clone();
                on(&world, move |world| {
                    if let Some(ticket) = world.reserve(Start::One(None)) {
                        *admitted.lock().unwrap() += 1;
                        let id = world.start();
                        world.book.settle(ticket, End::Bound(&[id]));
                    }
                })
            })
            .collect();
        world.list();
        join(threads);
        assert_eq!(*admitted.lock().unwrap(), LIMIT);
        assert_eq!(world.book.standing(&tenant()).active, LIMIT as usize);
    };
    shuttle::check_random(burst, 2_000);
}
