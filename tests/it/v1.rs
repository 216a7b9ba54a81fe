//! Upstreams that only know the first generation of the API, under clients of the second.

use coppice_gateway::simulator::{Options, RecordedRequest};
use serde_json::{Value, json};

use crate::support::{Answer, Ask, World};

fn v1_only() -> World {
    World::with(Options { v1_only: true, ..Options::default() }, |setup| setup)
}

fn create(world: &World, body: &str) -> Answer {
    world.ask("exec", Ask::post("/v2/sandboxes", body))
}

/// What was sent upstream, looks at sandboxes aside.
fn posted(world: &World) -> Vec<RecordedRequest> {
    let requests = world.simulator.requests();
    world.simulator.clear_requests();
    requests.into_iter().filter(|request| request.method == "POST").collect()
}

fn paths(requests: &[RecordedRequest]) -> Vec<&str> {
    requests.iter().map(|request| request.path.as_str()).collect()
}

fn body(request: &RecordedRequest) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

#[test]
fn creates_and_connects_are_mapped_down_once_it_is_known() {
    let world = v1_only();
    let created = create(&world, r#"{"templateID":"base","envVars":{"A":"b"}}"#);
    assert_eq!(created.status, 201, "{}", created.text());
    let json = created.json();
    let (id, token) =
        (json["sandboxID"].as_str().unwrap(), json["envdAccessToken"].as_str().unwrap());
    let sent = posted(&world);
    assert_eq!(paths(&sent), ["/v2/sandboxes", "/sandboxes"]);
    let expected = json!({
        "templateID": "base",
        "envVars": {"A": "b"},
        "metadata": {"coppice_tenant_id": "team-a"},
        "secure": true,
        "timeout": 300,
    });
    assert_eq!(body(&sent[1]), expected);

    // Decided: nothing more is tried.
    assert_eq!(create(&world, r#"{"templateID":"base","timeout":7,"secure":false}"#).status, 201);
    let sent = posted(&world);
    assert_eq!(paths(&sent), ["/sandboxes"]);
    assert_eq!((&body(&sent[0])["timeout"], &body(&sent[0])["secure"]), (&json!(7), &json!(true)));
    for (ask, timeout) in [("", 300), ("{}", 300), (r#"{"timeout":9}"#, 9)] {
        let connect = Ask::post(&format!("/v2/sandboxes/{id}/connect"), ask);
        let answer = world.ask("exec", connect);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["envdAccessToken"], token);
        let sent = posted(&world);
        assert_eq!(paths(&sent), [format!("/sandboxes/{id}/connect")]);
        assert_eq!(body(&sent[0]), json!({"timeout": timeout}));
    }
    // Clients of the first generation notice nothing.
    assert_eq!(world.ask("exec", Ask::post("/sandboxes", r#"{"templateID":"base"}"#)).status, 201);
    assert_eq!(body(&posted(&world)[0]).get("secure"), None);
}

#[test]
fn a_connect_can_be_what_decides() {
    let world = v1_only();
    let created = world.ask("exec", Ask::post("/sandboxes", r#"{"templateID":"base"}"#)).json();
    let id = created["sandboxID"].as_str().unwrap();
    posted(&world);
    let connect = Ask::post(&format!("/v2/sandboxes/{id}/connect?x=y"), r#"{"timeout":60}"#);
    assert_eq!(world.ask("exec", connect).status, 200);
    let (v2, v1) =
        (format!("/v2/sandboxes/{id}/connect?x=y"), format!("/sandboxes/{id}/connect?x=y"));
    assert_eq!(paths(&posted(&world)), [v2, v1]);
    assert_eq!(create(&world, r#"{"templateID":"base"}"#).status, 201);
    assert_eq!(paths(&posted(&world)), ["/sandboxes"]);
}

#[test]
fn a_sandbox_that_is_not_there_says_nothing_of_the_upstream() {
    let world = World::new();
    // An admin's requests are not looked up before.
    let connect = Ask::post("/v2/sandboxes/i0000000000000000000/connect", "{}");
    assert_eq!(world.ask("admin", connect).status, 404);
    assert_eq!(paths(&posted(&world)), ["/v2/sandboxes/i0000000000000000000/connect"]);
    assert_eq!(create(&world, r#"{"templateID":"base"}"#).status, 201);
    assert_eq!(paths(&posted(&world)), ["/v2/sandboxes"]);
}

#[test]
fn a_template_that_is_not_there_says_nothing_of_the_upstream() {
    // A create is 404 for an unknown path, and for an unknown template.
    let world = World::new();
    let unknown = create(&world, r#"{"templateID":"no-such-template"}"#);
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("no-such-template"), "{}", unknown.text());
    posted(&world);
    assert_eq!(create(&world, r#"{"templateID":"base"}"#).status, 201);
    assert_eq!(paths(&posted(&world)), ["/v2/sandboxes"]);
}

#[test]
fn an_upstream_of_both_generations_is_left_alone() {
    let world = World::new();
    for _ in 0..2 {
        assert_eq!(create(&world, r#"{"templateID":"base"}"#).status, 201);
        let sent = posted(&world);
        assert_eq!(paths(&sent), ["/v2/sandboxes"]);
        assert_eq!((body(&sent[0]).get("secure"), body(&sent[0]).get("timeout")), (None, None));
    }
}
