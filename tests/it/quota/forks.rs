//! A fork takes room for all that it asks for, and gives back what it did not get.

use coppice_gateway::simulator::Lists;
use serde_json::json;

use super::{assert_refused, count, create, created, kill, limited, starts};
use crate::support::{Answer, Ask, World};

fn fork(world: &World, role: &str, id: &str, body: &str) -> Answer {
    world.ask(role, Ask::post(&format!("/sandboxes/{id}/fork"), body))
}

#[test]
fn a_fork_needs_room_for_all_of_it() {
    let world = limited("team-a=4");
    let parent = created(&world, "exec");
    world.simulator.clear_requests();
    for body in [r#"{"count":4}"#, r#"{"count":100}"#] {
        assert_refused(&fork(&world, "exec", &parent, body), "team-a", 4);
    }
    assert_eq!(starts(&world.simulator).len(), 0);
    let forked = fork(&world, "exec", &parent, r#"{"count":3}"#);
    assert_eq!((forked.status, forked.json().as_array().unwrap().len()), (201, 3));
    assert_refused(&fork(&world, "exec", &parent, ""), "team-a", 4);
    assert_refused(&create(&world, "exec"), "team-a", 4);
    assert_eq!(count(&world.simulator, "team-a"), (4, 4));
}

#[test]
fn one_where_it_does_not_say() {
    for body in ["", "{}", r#"{"count":null}"#, r#"{"timeout":60}"#] {
        let world = limited("team-a=2");
        let parent = created(&world, "exec");
        assert_eq!(fork(&world, "exec", &parent, body).status, 201, "{body}");
        assert_refused(&fork(&world, "exec", &parent, body), "team-a", 2);
    }
}

#[test]
fn what_failed_of_it_is_given_back() {
    let world = limited("team-a=4");
    let parent = created(&world, "exec");
    world.simulator.answer_lists(Lists::Failed);
    let body = json!({ "count": 3, "metadata": { "simulator-fail-forks": "2" } }).to_string();
    let forked = fork(&world, "exec", &parent, &body);
    assert_eq!(forked.status, 201, "{}", forked.text());
    let entries = forked.json();
    let id = entries[2]["sandbox"]["sandboxID"].as_str().unwrap();
    assert!(entries[0]["error"].is_object() && entries[1]["error"].is_object());
    let mine = [created(&world, "exec"), created(&world, "exec")];
    assert_refused(&create(&world, "exec"), "team-a", 4);
    for id in mine.iter().map(String::as_str).chain([id]) {
        assert_eq!(kill(&world, "exec", id), 204);
        created(&world, "exec");
    }
    assert_refused(&create(&world, "exec"), "team-a", 4);
}

#[test]
fn a_number_that_is_none_is_refused_and_not_sent() {
    let world = limited("team-a=4");
    for role in ["exec", "other"] {
        let parent = created(&world, role);
        world.simulator.clear_requests();
        for number in
            ["0", "-1", "1.5", "1e1", "\"2\"", "true", "[]", "1001", "4294967295", "4294967296"]
        {
            let answer = fork(&world, role, &parent, &format!(r#"{{"count":{number}}}"#));
            assert_eq!(answer.status, 400, "{number}: {}", answer.text());
        }
        let twice = fork(&world, role, &parent, r#"{"count":1,"count":2}"#);
        assert_eq!(twice.status, 400, "{}", twice.text());
        assert_eq!(starts(&world.simulator).len(), 0);
    }
}

#[test]
fn an_admins_fork_counts_for_the_parents_tenant() {
    let world = limited("team-a=1,team-b=2");
    created(&world, "exec");
    let parent = created(&world, "other");
    assert_eq!(fork(&world, "admin", &parent, "{}").status, 201);
    assert_refused(&fork(&world, "admin", &parent, "{}"), "team-b", 2);
    assert_refused(&create(&world, "other"), "team-b", 2);
    assert_eq!(count(&world.simulator, "team-b"), (2, 2));
}
