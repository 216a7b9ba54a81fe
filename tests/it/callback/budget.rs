//! How much one client can make the gateway ask: refused and abandoned calls are counted by address.

use std::time::Instant;

use super::{by_credential, credentials, status, world_with};
use crate::support::callback::{Reply, Scripted};
use crate::support::frames::{Frames, RST_STREAM};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::key;
use crate::support::{Ask, Wire, World};

const BUDGET: usize = 20;

fn world(service: &Scripted) -> World {
    world_with(service, |setup| {
        let setup = setup.without("AUTH_CALLBACK_CLIENT_BUDGET");
        let setup = setup.env("AUTH_CALLBACK_CLIENT_BUDGET", BUDGET.to_string());
        setup.flag("--trusted-proxies=127.0.0.1/32")
    })
}

/// The calls that one address may have caused by now: what it had, and what came back since.
fn allowed(since: Instant) -> usize {
    let refilled = since.elapsed().as_secs_f64() * BUDGET as f64 / 10.0;
    BUDGET + refilled.ceil() as usize + 1
}

fn from(address: &str, credential: &str) -> Ask {
    Ask::get("/sandboxes").key(credential).header("X-Forwarded-For", address)
}

#[test]
fn a_flood_of_bad_keys_stops_at_the_gateway() {
    let service = Scripted::start(|call| by_credential(call).max_age(60));
    let world = world(&service);
    let ask = |credential: &str| from("203.0.113.1", credential).send(world.control());
    let since = Instant::now();
    assert_eq!(ask("team-x.ada.exec").status, 200);
    let mut refused = 0;
    for credential in credentials("bad", 300) {
        let answer = ask(&credential);
        if answer.status == 401 {
            continue;
        }
        assert_eq!((answer.status, &*answer.code()), (429, "too_many_attempts"));
        let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=10).contains(&seconds), "{seconds}");
        refused += 1;
    }
    let asked = service.count() - 1;
    assert!((BUDGET..=allowed(since)).contains(&asked), "{asked}");
    assert!(refused > 0 && refused + asked == 300, "{refused} and {asked}");

    // Those who are known still are, and other addresses are other addresses.
    assert_eq!(ask(&key("read")).status, 200);
    assert_eq!(ask("team-x.ada.exec").status, 200);
    assert_eq!(from("203.0.113.2", "team-x.bob.exec").send(world.control()).status, 200);
    assert_eq!(from("203.0.113.2", "bad").send(world.control()).status, 401);
    assert!(world.simulator.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn it_comes_back() {
    let service = Scripted::always(Reply::status(401));
    let world = world(&service);
    let spent = || status(&world, "bad") == 429;
    while !spent() {}
    service.now(Reply::allow());
    eventually("there is something to spend again", PATIENCE, || status(&world, "good") == 200);
}

#[test]
fn those_who_are_let_in_spend_nothing() {
    let service = Scripted::always(Reply::allow());
    let world = world(&service);
    for credential in credentials("good", 5 * BUDGET) {
        assert_eq!(status(&world, &credential), 200);
    }
    assert_eq!(service.count(), 5 * BUDGET);
}

/// Requests whose client resets the connection as soon as the service was asked.
#[test]
fn requests_that_are_given_up_are_counted_too() {
    let service = Scripted::always(Reply::allow());
    let world = world(&service);
    service.hold();
    let since = Instant::now();
    let mut answered = 0;
    for number in 0..5 * BUDGET {
        let before = service.count();
        let abandoned = service.abandoned();
        let ask = from("203.0.113.1", &format!("key-{number}"));
        let mut wire = Wire::open(world.control());
        wire.send(&ask.kept_bytes(world.control()));
        eventually("a call or an answer", PATIENCE, || {
            service.count() > before || wire.has_something()
        });
        if service.count() == before {
            assert_eq!(wire.answer_to("GET").status, 429);
            answered += 1;
            continue;
        }
        wire.reset();
        eventually("it is given up", PATIENCE, || service.abandoned() > abandoned);
    }
    assert!(answered > 0);
    assert!(service.count() <= allowed(since), "{}", service.count());
    service.release();
    let other = from("203.0.113.2", "key").send(world.control());
    assert_eq!(other.status, 200);
}

/// Streams that are opened and reset right away, on one connection.
#[test]
fn reset_streams_are_no_way_around() {
    let service = Scripted::always(Reply::allow());
    let world = world(&service);
    service.hold();
    let since = Instant::now();
    for round in 0..5 {
        let mut frames = Frames::connect(world.control());
        for number in 0..40 {
            let (stream, credential) = (1 + 2 * number, format!("key-{round}-{number}"));
            let fields = [
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.test"),
                (":path", "/sandboxes"),
                ("x-api-key", credential.as_str()),
                ("x-forwarded-for", "203.0.113.1"),
            ];
            frames.head(stream, &fields, true);
            frames.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        }
        assert_eq!(world.ask("read", Ask::get("/auth/whoami")).status, 200);
    }
    eventually("all are given up", PATIENCE, || service.abandoned() == service.count());
    assert!(service.count() <= allowed(since), "{}", service.count());
}
