//! What the gateway reads off the upstream's list, and what it does when there is none.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use coppice_gateway::simulator::{Lists, Options};

use super::{
    MARKER, assert_refused, count, create, created, limited, limited_before, starts, with_limits,
};
use crate::support::World;

#[test]
fn more_than_two_pages_are_counted_to_the_last() {
    for ignore_filters in [false, true] {
        let options = Options { ignore_filters, ..Options::default() };
        let world = limited_before(options, "team-a=206");
        let marked = |tenant: &str| BTreeMap::from([(MARKER.to_owned(), tenant.to_owned())]);
        let ours = (0..205).map(|_| marked("team-a"));
        world.simulator.seed((0..130).map(|_| marked("team-b")).chain(ours));
        created(&world, "exec");
        assert_refused(&create(&world, "exec"), "team-a", 206);
        assert_eq!(count(&world.simulator, "team-a").1, 206);
    }
}

#[test]
fn nothing_is_started_before_it_is_known_what_there_is() {
    let world = limited("team-a=2");
    world.simulator.answer_lists(Lists::Failed);
    for role in ["exec", "admin"] {
        let answer = create(&world, role);
        assert_eq!((answer.status, answer.code().as_str()), (503, "quota_unknown"));
    }
    assert!(starts(&world.simulator).is_empty());
    // Who is not limited does not care.
    created(&world, "other");
    world.simulator.answer_lists(Lists::Right);
    created(&world, "exec");
}

#[test]
fn at_the_cap_what_is_known_stands() {
    let world = limited("team-a=1");
    created(&world, "exec");
    world.simulator.answer_lists(Lists::Failed);
    let until = Instant::now() + Duration::from_secs(2);
    // Longer than any listing is good for.
    while Instant::now() < until {
        assert_refused(&create(&world, "exec"), "team-a", 1);
    }
    assert_eq!(starts(&world.simulator).len(), 1);
}

#[test]
fn those_who_wait_for_a_list_that_never_comes_wait_together() {
    let world = World::with(Options::default(), |setup| {
        with_limits(setup, "team-a=1").env("COPPICE_UPSTREAM_LOOKUP_TIMEOUT", "1s")
    });
    world.simulator.answer_lists(Lists::Stalled);
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let answer = create(&world, "exec");
                assert_eq!((answer.status, answer.code().as_str()), (503, "quota_unknown"));
            });
        }
    });
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(starts(&world.simulator).is_empty());
}
