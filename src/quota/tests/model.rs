//! Random schedules against an upstream that is played: it acts late or never, its answers get lost, sandboxes are
//! killed and expire, and the gateway is killed and started again. There is never more than the limit allows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;

/// What the upstream makes of a request.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Decision {
    Undecided,
    Started(u32),
    Refused,
}

struct Request {
    /// None once the gateway lost sight of it.
    held: Option<Reservation>,
    /// When it did, among the events.
    lost: u64,
    /// When the first listing answered since then was begun.
    answered: Option<Instant>,
    key: Option<u8>,
    /// One for each sandbox wanted.
    decisions: Vec<Decision>,
}

struct Listing {
    mark: Mark,
    begun: u64,
    first_page: BTreeSet<u32>,
}

struct World {
    path: PathBuf,
    ledger: MemoryLedger,
    limit: u32,
    now: Instant,
    events: u64,
    made: u32,
    real: BTreeSet<u32>,
    by_key: BTreeMap<u8, u32>,
    requests: Vec<Request>,
    listings: Vec<Listing>,
    unconfirmed_kills: Vec<u32>,
    _directory: tempfile::TempDir,
}

#[derive(Clone, Debug)]
enum Step {
    Create(Option<u8>),
    Fork(u32),
    Connect(usize),
    Decide(usize, usize, bool),
    Answer(usize),
    Lose(usize),
    Kill(usize),
    ConfirmKill,
    Expire(usize),
    BeginListing,
    EndListing(usize),
    List,
    Wait(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::option::weighted(0.3, 0..3_u8).prop_map(Step::Create),
        1 => (0..4_u32).prop_map(Step::Fork),
        1 => any::<usize>().prop_map(Step::Connect),
        6 => (any::<usize>(), any::<usize>(), proptest::bool::weighted(0.8))
            .prop_map(|(request, part, starts)| Step::Decide(request, part, starts)),
        3 => any::<usize>().prop_map(Step::Answer),
        2 => any::<usize>().prop_map(Step::Lose),
        2 => any::<usize>().prop_map(Step::Kill),
        2 => Just(Step::ConfirmKill),
        1 => any::<usize>().prop_map(Step::Expire),
        2 => Just(Step::BeginListing),
        2 => any::<usize>().prop_map(Step::EndListing),
        2 => Just(Step::List),
        2 => (0..15_u64).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

fn name(number: u32) -> SandboxId {
    id(&format!("i{number}"))
}

/// Some item, if there is any.
fn pick<T>(items: impl IntoIterator<Item = T>, index: usize) -> Option<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    if items.is_empty() { None } else { Some(items.swap_remove(index % items.len())) }
}

/// The ledger in memory never makes anybody wait.
fn told<T>(answered: Answered<'_, T>) -> T {
    answered.now_or_never().unwrap().unwrap()
}

impl World {
    fn new(limit: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quota");
        Self {
            ledger: Self::start(&path),
            path,
            limit,
            now: tokio::time::Instant::now().into_std(),
            events: 0,
            made: 0,
            real: BTreeSet::new(),
            by_key: BTreeMap::new(),
            requests: Vec::new(),
            listings: Vec::new(),
            unconfirmed_kills: Vec::new(),
            _directory: directory,
        }
    }

    fn start(path: &Path) -> MemoryLedger {
        MemoryLedger::open(Policy { grace: GRACE, honours_keys: true }, path).unwrap()
    }

    fn run(&mut self, step: &Step) {
        self.events += 1;
        match step {
            Step::Create(key) => {
                let text = key.map(|key| key.to_string());
                let held = self.ask(Start::One(text.as_deref()));
                self.send(held, *key, 1);
            }
            Step::Fork(count) => {
                let held = self.ask(Start::Several(*count));
                self.send(held, None, *count);
            }
            Step::Connect(index) => self.connect(*index),
            Step::Decide(index, part, starts) => {
                if let Some(request) = pick(0..self.requests.len(), *index)
                    && let Some(part) = pick(0..self.requests[request].decisions.len(), *part)
                {
                    self.decide(request, part, *starts);
                }
            }
            Step::Answer(index) => self.answer(*index),
            Step::Lose(index) => {
                let open = self.requests.iter_mut().filter(|request| request.held.is_some());
                if let Some(request) = pick(open, *index) {
                    (request.held, request.lost) = (None, self.events);
                }
            }
            Step::Kill(index) => {
                if let Some(victim) = pick(self.real.clone(), *index) {
                    self.real.remove(&victim);
                    self.unconfirmed_kills.push(victim);
                }
            }
            Step::ConfirmKill => {
                if let Some(victim) = self.unconfirmed_kills.pop() {
                    told(self.ledger.ended(&tenant(), &name(victim)));
                }
            }
            Step::Expire(index) => {
                if let Some(victim) = pick(self.real.clone(), *index) {
                    self.real.remove(&victim);
                }
            }
            Step::BeginListing => self.begin(),
            Step::EndListing(index) => {
                if let Some(index) = pick(0..self.listings.len(), *index) {
                    let listing = self.listings.swap_remove(index);
                    self.end(listing);
                }
            }
            Step::List => {
                self.begin();
                let listing = self.listings.pop().unwrap();
                self.end(listing);
            }
            Step::Wait(seconds) => self.now += Duration::from_secs(*seconds),
            Step::Restart => {
                self.listings.clear();
                self.ledger = Self::start(&self.path);
                for request in &mut self.requests {
                    if request.held.take().is_some() {
                        request.lost = self.events;
                    }
                    request.answered = None;
                }
            }
        }
        assert!(self.real.len() <= self.limit as usize, "{} above {}", self.real.len(), self.limit);
    }

    fn ask(&self, start: Start<'_>) -> Option<Reservation> {
        let ask = Ask { tenant: &tenant(), limit: Some(self.limit), start, now: self.now };
        let admission = self.ledger.reserve(ask).now_or_never().unwrap().unwrap();
        match admission {
            Admission::Admitted(reservation) => Some(reservation),
            Admission::AtLimit(_) | Admission::Unlisted | Admission::Busy | Admission::Moved => {
                None
            }
        }
    }

    fn send(&mut self, held: Option<Reservation>, key: Option<u8>, count: u32) {
        if held.is_some() {
            let decisions = vec![Decision::Undecided; count as usize];
            self.requests.push(Request { held, lost: 0, answered: None, key, decisions });
        }
    }

    /// Connects to a sandbox, and may never hear of it.
    fn connect(&mut self, index: usize) {
        let Some(number) = pick(1..=self.made, index) else { return };
        let Some(held) = self.ask(Start::Existing(&name(number))) else { return };
        match index % 3 {
            0 => drop(held),
            _ if self.real.contains(&number) => {
                held.bind(&[name(number)]).now_or_never().unwrap().unwrap();
            }
            _ => held.release().now_or_never().unwrap().unwrap(),
        }
    }

    fn decide(&mut self, request: usize, part: usize, starts: bool) {
        let request = &mut self.requests[request];
        if request.decisions[part] != Decision::Undecided {
            return;
        }
        request.decisions[part] = match request.key.and_then(|key| self.by_key.get(&key)) {
            Some(made) => Decision::Started(*made),
            None if starts => {
                self.made += 1;
                self.real.insert(self.made);
                if let Some(key) = request.key {
                    self.by_key.insert(key, self.made);
                }
                Decision::Started(self.made)
            }
            None => Decision::Refused,
        };
    }

    /// Delivers an answer, if the upstream has one.
    fn answer(&mut self, index: usize) {
        let is_ready = |index: &usize| {
            let request = &self.requests[*index];
            request.held.is_some() && !request.decisions.contains(&Decision::Undecided)
        };
        let Some(index) = pick((0..self.requests.len()).filter(is_ready), index) else { return };
        let request = self.requests.swap_remove(index);
        let mut started = Vec::new();
        for decision in request.decisions {
            if let Decision::Started(number) = decision {
                started.push(name(number));
            }
        }
        let held = request.held.unwrap();
        if started.is_empty() {
            held.release().now_or_never().unwrap().unwrap();
        } else {
            held.bind(&started).now_or_never().unwrap().unwrap();
        }
    }

    /// Begins a listing and reads its first page: the even numbers.
    fn begin(&mut self) {
        self.events += 1;
        // By now the upstream is done with what was lost long ago.
        let now = self.now;
        self.requests.retain(|request| request.answered.is_none_or(|at| now < at + GRACE));
        let mark = told(self.ledger.begin_listing(self.now));
        let first_page = self.real.iter().copied().filter(|number| number % 2 == 0).collect();
        self.listings.push(Listing { mark, begun: self.events, first_page });
    }

    /// Reads the second page.
    fn end(&mut self, listing: Listing) {
        let second_page = self.real.iter().copied().filter(|number| number % 2 == 1);
        let ids = listing.first_page.into_iter().chain(second_page).map(name).collect();
        if told(self.ledger.apply_listing(&tenant(), listing.mark, &ids)) {
            for request in &mut self.requests {
                if request.held.is_none() && request.lost < listing.begun {
                    request.answered.get_or_insert(listing.mark.at);
                }
            }
        }
    }

    /// Everything comes to rest. What counts then is what there is, and the rest of the room can be had.
    fn settle(&mut self) {
        for request in &mut self.requests {
            if request.held.take().is_some() {
                request.lost = self.events;
            }
        }
        // Makes sure that the tenant is watched, as any request does.
        drop(self.ask(Start::Several(0)));
        for _ in 0..3 {
            self.run(&Step::List);
            self.now += GRACE;
        }
        let standing = told(self.ledger.standing(&tenant()));
        assert_eq!((standing.active, standing.pending, standing.in_doubt), (self.real.len(), 0, 0));
        let mut held = Vec::new();
        while let Some(reservation) = self.ask(Start::One(None)) {
            held.push(reservation);
        }
        assert_eq!(held.len() + self.real.len(), self.limit as usize);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_schedule_passes_the_limit_or_loses_room(
        limit in 1..5_u32,
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new(limit);
        for step in &steps {
            world.run(step);
        }
        world.settle();
    }
}
