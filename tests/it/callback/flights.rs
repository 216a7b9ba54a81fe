//! Requests that are alike and come at once make one call, and nobody's leaving harms anybody else.

use super::{at_once, credentials, fence, one_worker, world, world_with};
use crate::support::callback::{Reply, Scripted};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::{Ask, Wire, World};

const MANY: usize = 20;

/// Sends a request that the test does not wait for.
fn send(world: &World, credential: &str) -> Wire {
    let mut wire = Wire::open(world.control());
    wire.send(&Ask::get("/sandboxes").key(credential).kept_bytes(world.control()));
    wire
}

#[test]
fn a_thousand_requests_with_a_new_credential_make_one_call() {
    let service = Scripted::always(Reply::allow().max_age(60));
    let world = world(&service);
    let statuses = at_once(&world, &vec!["key".to_owned(); 1000]);
    assert!(statuses.iter().all(|status| *status == 200));
    assert_eq!(service.count(), 1);
}

#[test]
fn a_thousand_credentials_keep_to_the_calls_that_may_be_under_way() {
    let service = Scripted::always(Reply::allow());
    let world = world_with(&service, |setup| {
        setup.env("AUTH_CALLBACK_MAX_CALLS", "8").env("AUTH_CALLBACK_TIMEOUT", "30s")
    });
    let statuses = at_once(&world, &credentials("key", 1000));
    assert!(statuses.iter().all(|status| *status == 200));
    assert_eq!(service.count(), 1000);
    assert!(service.most_at_once() <= 8, "{}", service.most_at_once());
}

#[test]
fn those_who_wait_for_a_place_have_a_deadline() {
    let service = Scripted::always(Reply::allow());
    service.hold();
    let world = world_with(&service, |setup| {
        setup.env("AUTH_CALLBACK_MAX_CALLS", "2").env("AUTH_CALLBACK_TIMEOUT", "1s")
    });
    let statuses = at_once(&world, &credentials("key", MANY));
    assert!(statuses.iter().all(|status| *status == 500), "{statuses:?}");
    assert!(service.most_at_once() <= 2);
    service.release();
    eventually("places are free again", PATIENCE, || super::status(&world, "key") == 200);
}

#[test]
fn what_is_shared_is_the_call_even_where_nothing_is_remembered() {
    for (reply, calls) in [
        (Reply::allow(), 1),
        (Reply::allow().with("Cache-Control", "max-age=0"), 1),
        (Reply::allow().with("Cache-Control", "no-store"), MANY),
        (Reply::status(401), 1),
        (Reply::Reset, 1),
    ] {
        let service = Scripted::always(reply.clone());
        let world = world_with(&service, one_worker);
        service.hold();
        let mut wires: Vec<Wire> = (0..MANY).map(|_| send(&world, "key")).collect();
        service.wait_for(1);
        fence(&world);
        service.release();
        let expected = reply.number().unwrap_or(500);
        for wire in &mut wires {
            assert_eq!(wire.answer_to("GET").status, expected, "{reply:?}");
        }
        assert_eq!(service.count(), calls, "{reply:?}");
        // And the next one is a call of its own.
        super::status(&world, "key");
        assert_eq!(service.count(), calls + 1, "{reply:?}");
    }
}

#[test]
fn those_who_wait_are_served_when_the_first_one_leaves() {
    let service = Scripted::always(Reply::allow());
    let world = world_with(&service, one_worker);
    service.hold();
    let first = send(&world, "key");
    service.wait_for(1);
    let mut wires: Vec<Wire> = (0..MANY).map(|_| send(&world, "key")).collect();
    fence(&world);
    drop(first);
    // And some of the others too.
    wires.truncate(MANY / 2);
    fence(&world);
    service.release();
    for wire in &mut wires {
        assert_eq!(wire.answer_to("GET").status, 200);
    }
    assert_eq!((service.count(), service.abandoned()), (1, 0));
}

#[test]
fn a_call_that_nobody_waits_for_is_given_up() {
    let service = Scripted::always(Reply::allow());
    let world = world_with(&service, |setup| setup.env("AUTH_CALLBACK_TIMEOUT", "60s"));
    service.hold();
    let first = send(&world, "key");
    service.wait_for(1);
    drop(first);
    eventually("its connection is closed", PATIENCE, || service.abandoned() == 1);
    service.release();
    assert_eq!(super::status(&world, "key"), 200);
    assert_eq!(service.count(), 2);
}
