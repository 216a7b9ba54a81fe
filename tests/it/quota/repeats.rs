//! Creates that are sent again under the same `Idempotency-Key`.

use std::thread;

use coppice_gateway::simulator::{Lists, Options};
use serde_json::{Value, json};

use super::{assert_refused, count, creating, id_of, limited, limited_before};
use crate::support::{Answer, World};

fn keyed(world: &World, key: &str, metadata: &Value) -> Answer {
    world.ask("exec", creating(metadata).header("Idempotency-Key", key))
}

#[test]
fn a_repeat_takes_no_more_room() {
    let world = limited("team-a=1");
    let first = id_of(&keyed(&world, "one", &json!({})));
    assert_eq!(id_of(&keyed(&world, "one", &json!({}))), first);
    assert_refused(&keyed(&world, "two", &json!({})), "team-a", 1);
    assert_refused(&super::create(&world, "exec"), "team-a", 1);
    // Another tenant's key of the same name is another key.
    let theirs = creating(&json!({})).header("Idempotency-Key", "one");
    assert_ne!(id_of(&world.ask("other", theirs)), first);
    assert_eq!(super::kill(&world, "exec", &first), 204);
    assert_eq!(keyed(&world, "two", &json!({})).status, 201);
    assert_refused(&keyed(&world, "one", &json!({})), "team-a", 1);
    assert_eq!(count(&world.simulator, "team-a"), (1, 1));
}

#[test]
fn repeats_at_the_same_time_share_the_room_for_one() {
    let world = limited("team-a=1");
    let slow = json!({ "simulator-delay-ms": "100" });
    let ids: Vec<String> = thread::scope(|scope| {
        let asks: Vec<_> =
            (0..8).map(|_| scope.spawn(|| id_of(&keyed(&world, "one", &slow)))).collect();
        asks.into_iter().map(|ask| ask.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_refused(&keyed(&world, "two", &json!({})), "team-a", 1);
    assert_eq!(count(&world.simulator, "team-a"), (1, 1));
}

#[test]
fn a_repeat_tells_the_outcome_of_a_first_that_was_lost() {
    let world = limited("team-a=1");
    let lost = keyed(&world, "one", &json!({ "simulator-fault": "reset-after" }));
    assert_eq!((lost.status, lost.header("should-retry")), (502, Some("false")));
    world.simulator.answer_lists(Lists::Failed);
    assert_refused(&keyed(&world, "two", &json!({})), "team-a", 1);
    let id = id_of(&keyed(&world, "one", &json!({})));
    assert_refused(&keyed(&world, "two", &json!({})), "team-a", 1);
    assert_eq!(super::kill(&world, "exec", &id), 204);
    assert_eq!(keyed(&world, "two", &json!({})).status, 201);
    assert_eq!(count(&world.simulator, "team-a"), (1, 1));
}

#[test]
fn a_repeat_is_a_create_like_any_where_the_upstream_knows_no_keys() {
    let world = limited_before(Options { v1_only: true, ..Options::default() }, "team-a=1");
    assert_eq!(keyed(&world, "one", &json!({})).status, 201);
    assert_refused(&keyed(&world, "one", &json!({})), "team-a", 1);
    assert_eq!(count(&world.simulator, "team-a"), (1, 1));
}
