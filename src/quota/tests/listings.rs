//! What a listing settles, and what it can't.

use super::*;

#[tokio::test]
async fn an_outcome_in_doubt_counts_until_a_listing_decides_it() {
    for (listed, usage) in [(&[][..], (0, 0)), (&["a"], (1, 0))] {
        let mut bench = Bench::with(1, &[]).await;
        drop(bench.one());
        assert_eq!(bench.room().await, 0);
        // However long nothing answers.
        bench.now += 100 * GRACE;
        assert_eq!((bench.room().await, bench.usage().await), (0, (0, 1)));
        bench.list(listed).await;
        assert_eq!(bench.room().await, 0);
        bench.now += GRACE;
        bench.list(listed).await;
        assert_eq!(bench.usage().await, usage);
        assert_eq!(bench.room().await, 1 - usage.0);
    }
}

#[tokio::test]
async fn a_listing_begun_before_a_doubt_decides_nothing() {
    let mut bench = Bench::with(1, &[]).await;
    let reservation = bench.one();
    bench.list(&[]).await;
    bench.now += GRACE;
    let mark = bench.begin().await;
    drop(reservation);
    bench.end(mark, &[]).await;
    bench.now += GRACE - Duration::from_millis(1);
    bench.list(&[]).await;
    assert_eq!(bench.room().await, 0, "the first listing since");
    bench.now += GRACE;
    bench.list(&[]).await;
    assert_eq!(bench.room().await, 1);
}

#[tokio::test]
async fn a_listing_frees_only_what_was_there_before_it_began() {
    let bench = Bench::with(2, &["a"]).await;
    let new = bench.one();
    let mark = bench.begin().await;
    new.bind(&[id("b")]).await.unwrap();
    bench.end(mark, &[]).await;
    assert_eq!(bench.usage().await, (1, 0), "a ended by itself, b is newer than the listing");
    bench.list(&[]).await;
    assert_eq!(bench.room().await, 2);
}

#[tokio::test]
async fn an_older_listing_than_the_last_tells_nothing() {
    let bench = Bench::with(2, &["a"]).await;
    let old = bench.begin().await;
    bench.list(&["a", "b"]).await;
    assert!(!bench.end(old, &["a", "b", "c"]).await);
    assert!(!bench.end(old, &[]).await);
    assert_eq!(bench.usage().await, (2, 0));
}

#[tokio::test]
async fn a_listing_begun_before_a_kill_does_not_bring_the_killed_back() {
    let bench = Bench::with(1, &["a"]).await;
    let mark = bench.begin().await;
    bench.kill("a").await;
    assert_eq!(bench.room().await, 1);
    bench.end(mark, &["a"]).await;
    assert_eq!(bench.room().await, 1);
    bench.list(&["a"]).await;
    assert_eq!(bench.room().await, 0, "it lives after all");
}

#[tokio::test]
async fn a_listing_amid_a_burst_costs_no_room() {
    let bench = Bench::with(7, &[]).await;
    let names = ["a", "b", "c", "d", "e"];
    let held: Vec<_> = names.iter().map(|_| bench.one()).collect();
    bench.list(&["b", "c", "e"]).await;
    assert_eq!((bench.usage().await, bench.room().await), ((3, 2), 2));
    for (reservation, name) in held.into_iter().zip(names) {
        reservation.bind(&[id(name)]).await.unwrap();
        assert!(bench.room().await <= 2);
    }
    assert_eq!((bench.usage().await, bench.room().await), ((5, 0), 2));
}

#[tokio::test]
async fn a_doubt_decided_amid_another_request_frees_no_room() {
    let mut bench = Bench::with(2, &[]).await;
    let (lost, slow) = (bench.one(), bench.one());
    drop(lost);
    for _ in 0..2 {
        bench.list(&["a"]).await;
        assert_eq!(bench.room().await, 0, "a is of the one or the other");
        bench.now += GRACE;
    }
    slow.bind(&[id("b")]).await.unwrap();
    assert_eq!((bench.usage().await, bench.room().await), ((2, 0), 0));
}

#[tokio::test]
async fn a_stranger_found_amid_a_request_counts_once_that_is_over() {
    for is_released in [true, false] {
        let bench = Bench::with(3, &[]).await;
        let reservation = bench.one();
        bench.list(&["elsewhere"]).await;
        let later = bench.one();
        if is_released {
            reservation.release().await.unwrap();
        } else {
            reservation.bind(&[id("a")]).await.unwrap();
        }
        assert_eq!(bench.room().await, if is_released { 1 } else { 0 });
        later.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_stranger_killed_amid_a_request_takes_no_room_with_it() {
    let bench = Bench::with(2, &[]).await;
    let reservation = bench.one();
    bench.list(&["elsewhere"]).await;
    bench.kill("elsewhere").await;
    assert_eq!(bench.room().await, 1);
    reservation.bind(&[id("a")]).await.unwrap();
    assert_eq!((bench.usage().await, bench.room().await), ((1, 0), 1));
}

#[tokio::test]
async fn what_comes_back_overlaps_nothing() {
    let bench = Bench::with(3, &["a"]).await;
    bench.list(&[]).await;
    let held = bench.one();
    bench.list(&["a"]).await;
    assert_eq!((bench.usage().await, bench.room().await), ((1, 1), 1));
    drop(held);
}

#[test]
fn listings_are_due_while_there_is_something_to_learn() {
    let cadence = Cadence::default();
    let now = tokio::time::Instant::now().into_std();
    let nothing = Standing { is_limited: true, ..Standing::default() };
    let routine = Standing { active: 1, ..nothing };
    let in_doubt = Standing { pending: 1, in_doubt: 1, ..nothing };
    for (standing, next) in [
        (nothing, None),
        (Standing { pending: 1, ..nothing }, None),
        (routine, Some(cadence.routine)),
        (in_doubt, Some(cadence.in_doubt)),
        (Standing { active: 1, ..in_doubt }, Some(cadence.in_doubt)),
        (Standing { is_limited: false, ..routine }, None),
    ] {
        assert_eq!(cadence.next(&standing, Some(now), now), next.map(|next| now + next));
        assert_eq!(cadence.next(&standing, None, now), next.map(|_| now));
    }
    // A doubt settles in time, even if it arises right after a listing.
    assert!(cadence.in_doubt + GRACE + cadence.in_doubt < Duration::from_secs(30));
    assert!(cadence.before_refusing(None, now));
    assert!(!cadence.before_refusing(Some(now), now));
    assert!(cadence.before_refusing(Some(now), now + cadence.refusal));
}

#[test]
fn who_waits_longest_is_listed_first() {
    let (cadence, start) = (Cadence::default(), tokio::time::Instant::now().into_std());
    let named = |name: &str| TenantId::parse(name).unwrap();
    let doubtful = |listed: u64| Standing {
        in_doubt: 1,
        listed: Some(start + Duration::from_secs(listed)),
        ..Standing::default()
    };
    let standings = vec![
        (named("fresh"), doubtful(10)),
        (named("late"), doubtful(5)),
        (named("later"), doubtful(2)),
        (named("failed"), doubtful(0)),
        (named("idle"), Standing::default()),
    ];
    let begun = [(named("failed"), start + Duration::from_secs(9))].into();
    let due = cadence.due(standings, &begun, start + Duration::from_secs(10));
    assert_eq!(due, [named("later"), named("late")]);
}
