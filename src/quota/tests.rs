//! What is admitted, and what counts.

mod listings;
mod model;

use super::*;

fn tenant() -> TenantId {
    TenantId::parse("team-a").unwrap()
}

fn id(name: &str) -> SandboxId {
    SandboxId::parse(name).unwrap()
}

fn ids(names: &[&str]) -> HashSet<SandboxId> {
    names.iter().map(|name| id(name)).collect()
}

/// A ledger with one tenant under one limit, and a clock that is moved by hand.
struct Bench {
    ledger: MemoryLedger,
    limit: Option<u32>,
    now: Instant,
}

impl Bench {
    /// A tenant of whom nothing was listed.
    fn unlisted(limit: u32) -> Self {
        let ledger = MemoryLedger::new(Policy { grace: GRACE, honours_keys: true });
        Self { ledger, limit: Some(limit), now: tokio::time::Instant::now().into_std() }
    }

    /// A tenant who has these sandboxes.
    async fn with(limit: u32, names: &[&str]) -> Self {
        let bench = Self::unlisted(limit);
        assert!(matches!(bench.ask(Start::One(None)).await, Admission::Unlisted));
        assert!(bench.list(names).await);
        bench
    }

    async fn ask(&self, start: Start<'_>) -> Admission {
        let ask = Ask { tenant: &tenant(), limit: self.limit, start, now: self.now };
        self.ledger.reserve(ask).await.unwrap()
    }

    #[track_caller]
    fn admit(&self, start: Start<'_>) -> Reservation {
        match futures_util::FutureExt::now_or_never(self.ask(start)) {
            Some(Admission::Admitted(reservation)) => reservation,
            other => panic!("{start:?}: {other:?}"),
        }
    }

    fn one(&self) -> Reservation {
        self.admit(Start::One(None))
    }

    /// How many more single sandboxes are let in, without keeping any.
    async fn room(&self) -> usize {
        let mut held = Vec::new();
        while let Admission::Admitted(reservation) = self.ask(Start::One(None)).await {
            held.push(reservation);
        }
        let room = held.len();
        for reservation in held {
            reservation.release().await.unwrap();
        }
        room
    }

    async fn begin(&self) -> Mark {
        self.ledger.begin_listing(self.now).await.unwrap()
    }

    async fn end(&self, mark: Mark, names: &[&str]) -> bool {
        self.ledger.apply_listing(&tenant(), mark, &ids(names)).await.unwrap()
    }

    async fn list(&self, names: &[&str]) -> bool {
        self.end(self.begin().await, names).await
    }

    async fn kill(&self, name: &str) {
        self.ledger.ended(&tenant(), &id(name)).await.unwrap();
    }

    /// Active and pending.
    async fn usage(&self) -> (usize, usize) {
        let standing = self.ledger.standing(&tenant()).await.unwrap();
        (standing.active, standing.pending)
    }
}

#[tokio::test]
async fn the_cap_is_reached_and_never_passed() {
    let bench = Bench::with(2, &[]).await;
    let (a, b) = (bench.one(), bench.one());
    let Admission::AtLimit(at) = bench.ask(Start::One(None)).await else { panic!() };
    assert_eq!((at.limit, at.count), (2, 2));
    assert_eq!(bench.usage().await, (0, 2));
    a.bind(&[id("a")]).await.unwrap();
    assert_eq!(bench.room().await, 0);
    b.release().await.unwrap();
    assert_eq!((bench.room().await, bench.usage().await), (1, (1, 0)));
    bench.kill("a").await;
    assert_eq!(bench.room().await, 2);
}

#[tokio::test]
async fn zero_means_none_and_asks_nobody() {
    let bench = Bench::unlisted(0);
    assert!(matches!(bench.ask(Start::One(None)).await, Admission::AtLimit(_)));
    assert!(matches!(bench.ask(Start::Several(2)).await, Admission::AtLimit(_)));
}

#[tokio::test]
async fn nothing_is_admitted_before_a_listing_told_what_there_is() {
    let bench = Bench::unlisted(2);
    let early = bench.begin().await;
    assert!(matches!(bench.ask(Start::One(None)).await, Admission::Unlisted));
    assert!(!bench.end(early, &[]).await, "begun before anybody watched");
    assert!(matches!(bench.ask(Start::One(None)).await, Admission::Unlisted));
    assert!(bench.list(&["a"]).await);
    assert_eq!(bench.room().await, 1);
}

#[tokio::test]
async fn an_unlimited_tenant_is_admitted_and_not_remembered() {
    let mut bench = Bench::unlisted(0);
    bench.limit = None;
    let (a, b) = (bench.one(), bench.admit(Start::Existing(&id("x"))));
    assert_eq!(bench.usage().await, (0, 1));
    a.bind(&[id("a")]).await.unwrap();
    b.bind(&[id("x")]).await.unwrap();
    drop(bench.one());
    assert_eq!(bench.ledger.standings(bench.now).await.unwrap(), []);
}

#[tokio::test]
async fn what_an_unlimited_key_starts_counts_for_a_limited_one() {
    let mut bench = Bench::unlisted(0);
    bench.limit = None;
    let unlimited = bench.one();
    bench.limit = Some(2);
    assert!(matches!(bench.ask(Start::One(None)).await, Admission::Unlisted));
    bench.list(&[]).await;
    assert_eq!(bench.room().await, 1);
    unlimited.bind(&[id("a")]).await.unwrap();
    assert_eq!((bench.room().await, bench.usage().await), (1, (1, 0)));
}

#[tokio::test]
async fn a_fork_needs_room_for_all_and_gives_back_what_failed() {
    let bench = Bench::with(4, &["a"]).await;
    let Admission::AtLimit(at) = bench.ask(Start::Several(4)).await else { panic!() };
    assert_eq!(at.count, 1);
    let fork = bench.admit(Start::Several(3));
    assert_eq!(bench.room().await, 0);
    fork.bind(&[id("b"), id("c")]).await.unwrap();
    assert_eq!((bench.usage().await, bench.room().await), ((3, 0), 1));
    drop(bench.admit(Start::Several(1)));
    assert_eq!(bench.usage().await, (3, 1));
}

#[tokio::test]
async fn an_answer_may_name_more_than_was_asked_for() {
    let bench = Bench::with(2, &[]).await;
    bench.one().bind(&[id("a"), id("b")]).await.unwrap();
    assert_eq!((bench.usage().await, bench.room().await), ((2, 0), 0));
}

#[tokio::test]
async fn starting_what_counts_already_is_free() {
    let bench = Bench::with(1, &["paused"]).await;
    let paused = id("paused");
    let (first, second) =
        (bench.admit(Start::Existing(&paused)), bench.admit(Start::Existing(&paused)));
    bench.list(&[]).await;
    assert_eq!(bench.room().await, 0, "it may be about to run");
    first.bind(&[paused]).await.unwrap();
    second.release().await.unwrap();
    assert_eq!((bench.usage().await, bench.room().await), ((1, 0), 0));
    bench.list(&[]).await;
    assert_eq!(bench.room().await, 1);
}

#[tokio::test]
async fn what_is_killed_while_it_is_started_may_live_all_the_same() {
    let bench = Bench::with(1, &["paused"]).await;
    let paused = id("paused");
    let start = || bench.admit(Start::Existing(&paused));
    let connect = start();
    bench.kill("paused").await;
    assert_eq!(bench.room().await, 0);
    connect.bind(std::slice::from_ref(&paused)).await.unwrap();
    assert_eq!((bench.usage().await, bench.room().await), ((1, 0), 0));
    let connect = start();
    bench.kill("paused").await;
    connect.release().await.unwrap();
    assert_eq!(bench.room().await, 1);
    drop(start());
    bench.kill("paused").await;
    assert_eq!(bench.room().await, 0, "nobody knows how that ended");
}

#[tokio::test]
async fn starting_what_does_not_count_takes_room_once() {
    let other = id("other");
    let bench = Bench::with(1, &["a"]).await;
    assert!(matches!(bench.ask(Start::Existing(&other)).await, Admission::AtLimit(_)));
    let mut bench = Bench::with(2, &["a"]).await;
    let held = [(); 3].map(|()| bench.admit(Start::Existing(&other)));
    assert_eq!((bench.usage().await, bench.room().await), ((2, 0), 0));
    let [first, second, third] = held;
    first.release().await.unwrap();
    second.release().await.unwrap();
    assert_eq!(bench.room().await, 0);
    third.release().await.unwrap();
    assert_eq!(bench.room().await, 1);

    drop(bench.admit(Start::Existing(&other)));
    bench.list(&["a"]).await;
    assert_eq!(bench.room().await, 0);
    bench.now += GRACE;
    bench.list(&["a"]).await;
    assert_eq!(bench.room().await, 1);
}

#[tokio::test]
async fn a_lowered_limit_ends_nothing_and_admits_nothing() {
    let mut bench = Bench::with(3, &["a", "b", "c"]).await;
    bench.limit = Some(1);
    assert!(matches!(bench.ask(Start::One(None)).await, Admission::AtLimit(_)));
    assert_eq!(bench.usage().await, (3, 0));
    bench.admit(Start::Existing(&id("b"))).release().await.unwrap();
    bench.kill("a").await;
    bench.kill("b").await;
    assert_eq!(bench.room().await, 0);
    bench.kill("c").await;
    assert_eq!(bench.room().await, 1);
}

#[tokio::test]
async fn repeats_under_one_key_share_a_reservation() {
    let bench = Bench::with(1, &[]).await;
    let keyed = Start::One(Some("k"));
    let first = bench.admit(keyed);
    assert!(matches!(bench.ask(keyed).await, Admission::Busy));
    drop(first);
    assert!(matches!(bench.ask(Start::One(Some("other"))).await, Admission::AtLimit(_)));
    bench.admit(keyed).release().await.unwrap();
    assert_eq!(bench.usage().await, (0, 1), "a refused repeat says nothing of the first");
    bench.admit(keyed).bind(&[id("a")]).await.unwrap();
    assert_eq!(bench.usage().await, (1, 0));
    let again = bench.admit(keyed);
    assert!(matches!(bench.ask(keyed).await, Admission::Busy));
    again.bind(&[id("a")]).await.unwrap();
    assert_eq!(bench.usage().await, (1, 0));
    bench.kill("a").await;
    bench.admit(keyed).bind(&[id("b")]).await.unwrap();
    assert_eq!(bench.usage().await, (1, 0));
    assert!(bench.ledger.shares_keys());
}

#[tokio::test]
async fn an_upstream_that_ignores_keys_is_found_out() {
    let bench = Bench::with(1, &[]).await;
    let keyed = Start::One(Some("k"));
    bench.admit(keyed).bind(&[id("a")]).await.unwrap();
    bench.admit(keyed).bind(&[id("b")]).await.unwrap();
    assert_eq!(bench.usage().await, (2, 0));
    assert!(!bench.ledger.shares_keys());
    assert!(matches!(bench.ask(keyed).await, Admission::AtLimit(_)));
}

#[tokio::test]
async fn an_upstream_that_ignores_keys_passes_a_limit_by_one_at_most() {
    let bench = Bench::with(2, &[]).await;
    let (k, l) = (Start::One(Some("k")), Start::One(Some("l")));
    bench.admit(k).bind(&[id("a")]).await.unwrap();
    bench.admit(l).bind(&[id("b")]).await.unwrap();
    let repeat = bench.admit(k);
    assert!(matches!(bench.ask(l).await, Admission::Busy));
    repeat.bind(&[id("c")]).await.unwrap();
    assert!(matches!(bench.ask(l).await, Admission::AtLimit(_)));

    let bench = Bench::with(1, &[]).await;
    drop(bench.admit(k));
    drop(bench.admit(k));
    bench.list(&["a", "b"]).await;
    assert!(matches!(bench.ask(k).await, Admission::AtLimit(_)), "both started something");
}

#[tokio::test]
async fn repeats_wait_for_each_other_only_until_keys_are_seen_to_be_honoured() {
    let bench = Bench::with(2, &[]).await;
    let (k, l) = (Start::One(Some("k")), Start::One(Some("l")));
    bench.admit(k).bind(&[id("a")]).await.unwrap();
    bench.admit(l).bind(&[id("b")]).await.unwrap();
    bench.admit(k).release().await.unwrap();
    drop(bench.admit(l));
    bench.admit(k).bind(&[id("a")]).await.unwrap();
    let both = (bench.admit(k), bench.admit(l));
    assert_eq!((bench.usage().await, bench.room().await), ((2, 0), 0));
    drop(both);
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_while() {
    let mut bench = Bench::with(1, &[]).await;
    let keyed = Start::One(Some("k"));
    bench.admit(keyed).bind(&[id("a")]).await.unwrap();
    bench.now += Duration::from_secs(600);
    assert!(matches!(bench.ask(keyed).await, Admission::AtLimit(_)));
}

#[tokio::test]
async fn tenants_do_not_touch_each_other() {
    let bench = Bench::with(1, &["a"]).await;
    let other = TenantId::parse("team-b").unwrap();
    let ask = Ask { tenant: &other, limit: Some(1), start: Start::One(None), now: bench.now };
    assert!(matches!(bench.ledger.reserve(ask).await, Ok(Admission::Unlisted)));
    let mark = bench.begin().await;
    assert!(bench.ledger.apply_listing(&other, mark, &ids(&[])).await.unwrap());
    let Ok(Admission::Admitted(theirs)) = bench.ledger.reserve(ask).await else { panic!() };
    bench.ledger.ended(&other, &id("a")).await.unwrap();
    assert_eq!((bench.usage().await, bench.room().await), ((1, 0), 0));
    theirs.release().await.unwrap();
}

#[tokio::test]
async fn an_account_in_which_nothing_counts_is_dropped_after_a_while() {
    let mut bench = Bench::with(1, &["a"]).await;
    bench.now += Duration::from_secs(3600);
    assert_eq!(bench.ledger.standings(bench.now).await.unwrap().len(), 1);
    let old = bench.begin().await;
    bench.kill("a").await;
    assert_eq!(bench.ledger.standings(bench.now).await.unwrap(), []);
    assert!(matches!(bench.ask(Start::One(None)).await, Admission::Unlisted));
    assert!(!bench.end(old, &["a"]).await, "it was of an earlier account");
}

#[tokio::test]
async fn a_killed_process_leaves_its_doubts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quota");
    let policy = Policy { grace: GRACE, honours_keys: true };
    let mut bench = Bench::unlisted(4);
    bench.ledger = MemoryLedger::open(policy, &path).unwrap();
    assert!(matches!(bench.ask(Start::One(None)).await, Admission::Unlisted));
    bench.list(&[]).await;
    bench.one().bind(&[id("a")]).await.unwrap();
    bench.one().release().await.unwrap();
    let under_way = (bench.one(), bench.admit(Start::Several(2)));
    for _ in 0..2 {
        bench.ledger = MemoryLedger::open(policy, &path).unwrap();
        assert_eq!(bench.usage().await, (0, 3));
        assert!(matches!(bench.ask(Start::One(None)).await, Admission::Unlisted));
        bench.list(&["a"]).await;
        assert_eq!((bench.room().await, bench.usage().await), (0, (1, 3)));
    }
    bench.now += GRACE;
    bench.list(&["a", "b"]).await;
    assert_eq!((bench.room().await, bench.usage().await), (2, (2, 0)));
    bench.ledger = MemoryLedger::open(policy, &path).unwrap();
    assert_eq!(bench.usage().await, (0, 0));
    drop(under_way);
}
