//! A service that keeps failing is left alone, tried again with one call, and used again when that works.

use std::time::{Duration, Instant};

use super::{as_admin, at_once, credentials, identity, status, world_with};
use crate::support::callback::{Reply, Scripted};
use crate::support::gateway::Setup;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::key;
use crate::support::{Ask, Wire, World};

const FAILURES: usize = 3;
/// As many as the gateway of a [`World`] has.
const WORKERS: usize = 2;

fn breaking(setup: Setup, pause: &str) -> Setup {
    setup
        .without("AUTH_CALLBACK_BREAKER_FAILURES")
        .env("AUTH_CALLBACK_BREAKER_FAILURES", FAILURES.to_string())
        .env("AUTH_CALLBACK_BREAKER_PAUSE", pause)
}

/// Lets the service fail until it is left alone.
fn break_it(service: &Scripted, world: &World) {
    service.now(Reply::Reset);
    let before = service.count();
    for _ in 0..FAILURES {
        assert_eq!(status(world, "failing"), 500);
    }
    // A worker that had an answer before cannot tell at first whether only an old connection failed, and asks again.
    let calls = before + FAILURES..=before + FAILURES + WORKERS;
    assert!(calls.contains(&service.count()), "{calls:?}: {}", service.count());
}

#[test]
fn after_some_failures_in_a_row_nobody_is_asked() {
    let service = Scripted::always(Reply::allow());
    let world = world_with(&service, |setup| breaking(setup, "60s"));
    // Not in a row; and an answer that refuses is no failure.
    for number in 0..3 * FAILURES {
        let fails = number % FAILURES != 0;
        service.now(if fails { Reply::Reset } else { Reply::status(500) });
        assert_eq!(status(&world, "key"), if fails { 500 } else { 401 });
    }
    service.now(Reply::allow());
    assert_eq!(status(&world, "key"), 200);

    break_it(&service, &world);
    let (calls, since) = (service.count(), Instant::now());
    service.now(Reply::allow());
    for credential in credentials("key", 20) {
        let answer = Ask::get("/sandboxes").key(&credential).send(world.control());
        assert_eq!((answer.status, &*answer.code()), (500, "callback_unavailable"));
    }
    assert_eq!(service.count(), calls);
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    // Static keys have nothing to do with it.
    assert_eq!(world.ask("read", Ask::get("/sandboxes")).status, 200);
}

#[test]
fn one_call_finds_out_whether_it_works_again() {
    let service = Scripted::always(Reply::allow());
    let world = world_with(&service, |setup| breaking(setup, "300ms"));
    for comes_back in [false, true] {
        break_it(&service, &world);
        let calls = service.count();
        service.hold();
        // Whoever comes first after the pause makes the call; those before it are refused.
        let mut probe = None;
        eventually("it is tried again", PATIENCE, || {
            let mut wire = Wire::open(world.control());
            let ask = Ask::get("/sandboxes").key("probing");
            wire.send(&ask.kept_bytes(world.control()));
            eventually("a call or an answer", PATIENCE, || {
                service.count() > calls || wire.has_something()
            });
            probe = (service.count() > calls).then_some(wire);
            probe.is_some()
        });
        // While it is on its way, all others are refused at once, and make no call.
        let statuses = at_once(&world, &credentials("meanwhile", 50));
        assert!(statuses.iter().all(|status| *status == 500), "{statuses:?}");
        assert_eq!(service.count(), calls + 1);
        if comes_back {
            service.now(Reply::allow());
        }
        service.release();
        let probed = probe.unwrap().answer_to("GET").status;
        assert_eq!(probed, if comes_back { 200 } else { 500 });
        if comes_back {
            let statuses = at_once(&world, &credentials("after", 50));
            assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        } else {
            // A failed probe starts another pause; then the next round begins with a working service.
            service.now(Reply::allow());
            eventually("it is tried once more", PATIENCE, || status(&world, "later") == 200);
        }
    }
}

#[test]
fn those_it_vouched_for_may_carry_on_meanwhile() {
    let service = Scripted::always(identity("team-x", "ada", "read").max_age(1));
    let world = world_with(&service, |setup| {
        setup.env("AUTH_CALLBACK_STALE_IF_ERROR", "60s").env("AUTH_CALLBACK_CACHE_BY", "credential")
    });
    assert_eq!(status(&world, "ada"), 200);
    service.now(Reply::Reset);
    let mut seen = Vec::new();
    eventually("it is asked again, in vain", PATIENCE, || {
        seen.push(status(&world, "ada"));
        service.count() >= 3
    });
    assert!(seen.iter().all(|status| *status == 200), "{seen:?}");
    // Not what they may do, and nobody else.
    let create = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).key("ada");
    let refused = create.send(world.control());
    assert_eq!(refused.json()["message"], "API key lacks required scope: exec");
    assert_eq!(status(&world, "bob"), 500);
    // Nor against what the service says.
    service.now(Reply::status(401));
    assert_eq!(status(&world, "ada"), 401);
    service.now(Reply::Reset);
    assert_eq!(status(&world, "ada"), 500);
}

#[test]
fn without_that_setting_nobody_carries_on() {
    let service = Scripted::always(Reply::allow().max_age(1));
    let world = world_with(&service, |setup| setup);
    assert_eq!(status(&world, "ada"), 200);
    service.now(Reply::Reset);
    eventually("what was remembered has lapsed", PATIENCE, || status(&world, "ada") == 500);
}

#[test]
fn what_was_forgotten_does_not_come_back_as_stale() {
    let service = Scripted::always(identity("team-x", "ada", "exec").max_age(60));
    let world = world_with(&service, |setup| setup.env("AUTH_CALLBACK_STALE_IF_ERROR", "60s"));
    assert_eq!(status(&world, "ada"), 200);
    assert_eq!(as_admin(&world, "DELETE", "/auth/callback/cache").status, 204);
    service.now(Reply::Reset);
    assert_eq!(status(&world, "ada"), 500);
    assert_eq!(status(&world, &key("read")), 200);
}
