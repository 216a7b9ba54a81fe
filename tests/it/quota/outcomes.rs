//! What the end of one create means for the next: a refusal frees its room at once, and nothing else does.

use std::time::Duration;

use coppice_gateway::simulator::{Lists, Options};
use serde_json::{Value, json};

use super::{assert_refused, count, create, created, creating, with_limits};
use crate::support::World;
use crate::support::gateway::Setup;
use crate::support::wait::eventually;

/// Within which everything is settled once the upstream answers again.
const SETTLED: Duration = Duration::from_secs(30);

fn world(change: impl FnOnce(Setup) -> Setup) -> World {
    World::with(Options::default(), |setup| change(with_limits(setup, "team-a=1")))
}

#[test]
fn what_the_upstream_refused_holds_nothing() {
    let world = world(|setup| setup);
    // So that the tenant is known.
    let id = created(&world, "exec");
    assert_eq!(super::kill(&world, "exec", &id), 204);
    world.simulator.answer_lists(Lists::Failed);
    for status in ["400", "401", "402", "403", "404", "409", "422", "429"] {
        let answer = world.ask("exec", creating(&json!({ "simulator-fail": status })));
        assert_eq!(answer.status.to_string(), status);
    }
    created(&world, "exec");
}

#[test]
fn what_was_never_sent_holds_nothing() {
    let world = world(|setup| setup);
    let id = created(&world, "exec");
    assert_eq!(super::kill(&world, "exec", &id), 204);
    let World { gateway, simulator } = world;
    drop(simulator);
    for _ in 0..3 {
        let answer = super::create_at(gateway.control(), "exec");
        assert_eq!(answer.status, 502, "{}", answer.text());
    }
}

#[test]
fn whatever_may_have_acted_holds_its_room_until_a_listing_tells() {
    // Each beside the others, for it takes time.
    std::thread::scope(|scope| {
        for (fault, status, made) in [
            (json!({ "simulator-fail": "500" }), 500, false),
            (json!({ "simulator-fail-after": "500" }), 500, true),
            (json!({ "simulator-fail-after": "503" }), 503, true),
            // As Cube and other servers answer what took them too long.
            (json!({ "simulator-fail-after": "408" }), 408, true),
            (json!({ "simulator-fault": "reset" }), 502, false),
            (json!({ "simulator-fault": "reset-after" }), 502, true),
            (json!({ "simulator-fault": "garbled" }), 502, true),
            (json!({ "simulator-fault": "stall" }), 502, false),
            (json!({ "simulator-fault": "stall-after" }), 502, true),
            (json!({ "simulator-fault": "late" }), 502, true),
        ] {
            scope.spawn(move || holds(&fault, status, made));
        }
        scope.spawn(holds_while_no_listing_comes);
    });
}

fn holds(fault: &Value, status: u16, made: bool) {
    let world = world(|setup| setup.without("--workers=").flag("--workers=1"));
    let answer = world.ask("exec", creating(fault));
    assert_eq!(answer.status, status, "{fault}");
    if answer.code() != "" {
        assert_eq!(answer.header("should-retry"), Some("false"), "{fault}");
    }
    assert_refused(&create(&world, "exec"), "team-a", 1);
    let mut replaced = None;
    eventually(&format!("{fault} is settled"), SETTLED, || {
        if made && count(&world.simulator, "team-a").0 == 1 && replaced.is_none() {
            // It is the tenant's, as any other.
            let listed = world.ask("exec", crate::support::Ask::get("/v2/sandboxes")).json();
            let id = listed[0]["sandboxID"].as_str().unwrap().to_owned();
            assert_eq!(super::kill(&world, "exec", &id), 204);
            replaced = Some(id);
        }
        let answer = create(&world, "exec");
        if answer.status != 201 {
            assert_refused(&answer, "team-a", 1);
        }
        answer.status == 201
    });
    assert_eq!(replaced.is_some(), made, "{fault}");
    assert_eq!(count(&world.simulator, "team-a"), (1, 1), "{fault}");
}

/// An upstream that hung is soon asked anew, though what it was asked before is never answered.
fn holds_while_no_listing_comes() {
    let world = world(|setup| setup);
    let lost = world.ask("exec", creating(&json!({ "simulator-fault": "reset" })));
    assert_eq!(lost.status, 502);
    world.simulator.clear_requests();
    world.simulator.answer_lists(Lists::Stalled);
    eventually("it is asked for a list", SETTLED, || {
        world.simulator.requests().iter().any(|request| request.path.contains("/v2/sandboxes"))
    });
    world.simulator.answer_lists(Lists::Right);
    eventually("a hung listing is settled", SETTLED, || create(&world, "exec").status == 201);
}
