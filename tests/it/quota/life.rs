//! What counts while sandboxes live, sleep and end: through the gateway, and behind its back.

use std::collections::BTreeMap;
use std::time::Duration;

use coppice_gateway::simulator::{Lists, Metadata, Options};
use serde_json::json;

use super::{
    MARKER, assert_refused, count, create, created, creating, kill, limited, limited_before, post,
    starts, with_limits,
};
use crate::support::wait::eventually;
use crate::support::{Ask, Wire, World};

/// Long enough for a listing that is not a second old yet to become so.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_paused_sandbox_counts_and_may_always_wake() {
    let world = limited("team-a=2");
    let (paused, running) = (created(&world, "exec"), created(&world, "exec"));
    assert_eq!(post(&world, "exec", &paused, "pause").status, 204);
    assert_refused(&create(&world, "exec"), "team-a", 2);
    world.simulator.answer_lists(Lists::Failed);
    for (action, status) in [("resume", 201), ("connect", 200), ("pause", 204), ("connect", 201)] {
        assert_eq!(post(&world, "exec", &paused, action).status, status, "{action}");
    }
    assert_eq!(post(&world, "exec", &running, "connect").status, 200);
    assert_eq!(post(&world, "exec", &running, "resume").status, 409);
    assert_refused(&create(&world, "exec"), "team-a", 2);
}

#[test]
fn an_own_sandbox_may_wake_at_the_cap_after_a_restart() {
    let world = limited("team-a=2");
    let (paused, _) = (created(&world, "exec"), created(&world, "exec"));
    assert_eq!(post(&world, "exec", &paused, "pause").status, 204);
    let again = world.sibling(|setup| with_limits(setup, "team-a=1"));
    let world = World { gateway: again, simulator: world.simulator };
    assert_eq!(post(&world, "exec", &paused, "resume").status, 201);
    assert_refused(&create(&world, "exec"), "team-a", 1);
}

#[test]
fn a_kill_frees_its_room_at_once() {
    for isolation in ["on", "off"] {
        for killer in ["exec", "admin"] {
            let world = World::with(Options::default(), |setup| {
                with_limits(setup, "team-a=1").env("COPPICE_TENANT_ISOLATION", isolation)
            });
            let id = created(&world, "exec");
            world.simulator.answer_lists(Lists::Failed);
            assert_refused(&create(&world, "exec"), "team-a", 1);
            assert_eq!(kill(&world, killer, &id), 204);
            let id = created(&world, "exec");
            assert_refused(&create(&world, "exec"), "team-a", 1);
            // As does one that turns out to be dead already.
            assert!(world.simulator.kill(&id));
            assert_refused(&create(&world, "exec"), "team-a", 1);
            assert_eq!(kill(&world, killer, &id), 404);
            assert_eq!(create(&world, "exec").status, 201, "isolation {isolation}, by {killer}");
        }
    }
}

#[test]
fn a_kill_frees_its_room_also_where_another_gateway_created() {
    let world = limited("team-a=1");
    let id = created(&world, "exec");
    let replica = world.sibling(|setup| with_limits(setup, "team-a=1"));
    let world = World { gateway: replica, simulator: world.simulator };
    assert_refused(&create(&world, "exec"), "team-a", 1);
    world.simulator.answer_lists(Lists::Failed);
    assert_eq!(kill(&world, "admin", &id), 204);
    created(&world, "exec");
}

#[test]
fn what_ended_by_itself_or_behind_the_gateways_back_is_noticed_before_refusing() {
    let world = limited("team-a=1");
    let short = r#"{"templateID":"base","timeout":1}"#;
    assert_eq!(world.ask("exec", Ask::post("/sandboxes", short)).status, 201);
    let mut id = String::new();
    eventually("the expired one is replaced", SOON, || {
        let answer = create(&world, "exec");
        if answer.status == 201 {
            id = super::id_of(&answer);
            return true;
        }
        assert_refused(&answer, "team-a", 1);
        false
    });
    assert!(world.simulator.kill(&id));
    eventually("the deleted one is replaced", SOON, || create(&world, "exec").status == 201);
    assert_eq!(count(&world.simulator, "team-a"), (1, 1));
}

#[test]
fn what_was_created_at_the_upstream_counts_if_it_is_marked() {
    let world = limited("team-a=3,team-b=3");
    let marked = |tenant: &str| BTreeMap::from([(MARKER.to_owned(), tenant.to_owned())]);
    world.simulator.seed([marked("team-a"), marked("team-a"), marked("team-b"), BTreeMap::new()]);
    created(&world, "exec");
    assert_refused(&create(&world, "exec"), "team-a", 3);
    for _ in 0..2 {
        created(&world, "other");
    }
    assert_refused(&create(&world, "other"), "team-b", 3);
}

#[test]
fn one_that_is_gone_is_not_found_even_at_the_cap() {
    let world = limited("team-a=1");
    let gone = created(&world, "exec");
    assert!(world.simulator.kill(&gone));
    eventually("it is replaced", SOON, || create(&world, "exec").status == 201);
    for action in ["connect", "resume"] {
        let answer = post(&world, "exec", &gone, action);
        assert_eq!(answer.status, 404, "{action}: {}", answer.text());
    }
}

#[test]
fn every_kind_of_upstream_counts_once() {
    for options in [
        Options { v1_only: true, ..Options::default() },
        Options { ignore_filters: true, ..Options::default() },
        Options { metadata: Metadata::Dropped, ..Options::default() },
        Options { metadata: Metadata::KeptButNotForked, ..Options::default() },
    ] {
        let kind = format!("{options:?}");
        let world = limited_before(options, "team-a=3,team-b=1");
        created(&world, "other");
        let mut ids: Vec<String> = (0..3).map(|_| created(&world, "exec")).collect();
        let before = starts(&world.simulator).len();
        for path in ["/sandboxes", "/v2/sandboxes"] {
            let refused = world.ask("exec", Ask::post(path, r#"{"templateID":"base"}"#));
            assert_refused(&refused, "team-a", 3);
        }
        assert_eq!(starts(&world.simulator).len(), before, "{kind}");
        assert_eq!(post(&world, "exec", &ids[0], "pause").status, 204);
        assert_eq!(post(&world, "exec", &ids[0], "connect").status, 201);
        // Once freed, once taken again, by a fork.
        assert_eq!(kill(&world, "exec", &ids.pop().unwrap()), 204);
        let fork = Ask::post(&format!("/sandboxes/{}/fork", ids[0]), "{}");
        assert_eq!(world.ask("exec", fork).status, 201, "{kind}");
        assert_refused(&create(&world, "exec"), "team-a", 3);
    }
}

#[test]
fn a_slow_create_whose_client_left_is_seen_through() {
    let state = tempfile::tempdir().unwrap();
    let setup = |setup| with_limits(setup, "team-a=2").state_dir(state.path());
    let mut world = World::with(Options::default(), setup);
    let slow = creating(&json!({ "simulator-delay-ms": "300" })).key(&world.key("exec"));
    let mut wire = Wire::open(world.control());
    wire.send(&slow.kept_bytes(world.control()));
    eventually("it is sent", SOON, || count(&world.simulator, "team-a").0 == 1);
    wire.reset();
    world.gateway.signal("TERM");
    assert!(world.gateway.wait().success());
    world.gateway = world.sibling(setup);
    // Were its outcome in doubt, it would take room beside the sandbox that it made.
    created(&world, "exec");
    assert_refused(&create(&world, "exec"), "team-a", 2);
    let listed = world.ask("exec", Ask::get("/v2/sandboxes")).json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(count(&world.simulator, "team-a"), (2, 2));
}
