//! The audit trail as its readers see it: what an event looks like, which of them a page holds, and who is shown whose.

mod ends;
mod recorded;
mod stream;

use std::net::SocketAddr;

use coppice_gateway::simulator::Options;
use serde_json::{Value, json};

use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::key;
use crate::support::{Answer, Ask, Program, World};

/// Asks for events with the key of `role`.
fn ask(gateway: SocketAddr, role: &str, query: &str) -> Answer {
    Ask::get(&format!("/audit/events?{query}")).key(&key(role)).send(gateway)
}

/// The events of an answer.
fn events(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    let events = json["events"].as_array().unwrap().clone();
    assert_eq!(json["count"], events.len());
    events
}

/// The one event of the request with this id, once there is one: a request ends a little after its answer.
pub(crate) fn event(gateway: SocketAddr, request_id: &str) -> Value {
    let mut found = Vec::new();
    eventually(&format!("an event of {request_id}"), PATIENCE, || {
        found = events(&ask(gateway, "admin", &format!("requestID={request_id}")));
        !found.is_empty()
    });
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Sends a request under an id and waits until its event is there.
fn done(world: &World, role: &str, id: &str, ask: Ask) -> Answer {
    let answer = world.ask(role, ask.header("X-Request-Id", id));
    event(world.control(), id);
    answer
}

fn paths(answer: &Answer) -> String {
    let events = events(answer);
    let paths = events.iter().map(|event| event["path"].as_str().unwrap());
    paths.map(|path| path.trim_start_matches('/')).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_sample_of_coppice_field_for_field() {
    let world = World::new();
    let refused = done(&world, "other", "r-1", Ask::get("/admin/nodes?token=canary"));
    assert_eq!(refused.status, 403);
    let answer = ask(world.control(), "admin", "limit=12");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let mut json = answer.json();
    let event = json["events"][0].as_object_mut().unwrap();
    let names: Vec<_> = event.keys().map(String::as_str).collect();
    assert_eq!(
        names.join(" "),
        "eventID timestamp outcome method path status tenantID keyID scopes message requestID clientIP surface \
         routeClass durationMs",
    );
    let id = event["eventID"].take();
    assert!(id.as_str().unwrap().len() == 32, "{id}");
    let timestamp = event["timestamp"].take();
    let parsed: coppice_gateway::clock::UnixTime = timestamp.as_str().unwrap().parse().unwrap();
    assert_eq!(timestamp, parsed.to_string());
    assert!(event["durationMs"].take().is_u64() && event["keyID"].take().is_string());
    assert_eq!(
        json,
        json!({"events": [{
            "eventID": null, "timestamp": null, "outcome": "denied", "method": "GET", "path": "/admin/nodes",
            "status": 403, "tenantID": "team-b", "keyID": null, "scopes": ["exec"],
            "message": "API key lacks required scope: admin", "requestID": "r-1", "clientIP": "127.0.0.1",
            "surface": "control", "routeClass": "admin", "durationMs": null,
        }], "count": 1}),
    );
}

#[test]
fn reading_the_trail_leaves_no_trace_unless_it_is_refused() {
    let world = World::new();
    for role in ["admin", "owner"] {
        assert_eq!(paths(&ask(world.control(), role, "")), "");
        let head = world.ask(role, Ask::new("HEAD", "/audit/events"));
        assert_eq!((head.status, head.body.len()), (200, 0));
    }
    let refused = done(&world, "read", "r-read", Ask::get("/audit/events"));
    assert_eq!(refused.json()["message"], "API key lacks required scope: owner");
    let seen = event(world.control(), "r-read");
    assert_eq!((&seen["surface"], &seen["routeClass"]), (&json!("gateway"), &json!("owner")));
    assert_eq!(paths(&ask(world.control(), "admin", "")), "audit/events");
}

/// Events of two tenants and of nobody, in a known order.
fn filled() -> World {
    let world = World::new();
    let create = || Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#);
    done(&world, "exec", "r-0", create());
    done(&world, "other", "r-1", create());
    done(&world, "read", "r-2", create());
    done(&world, "exec", "r-3", Ask::new("DELETE", "/sandboxes/nothing"));
    done(&world, "owner", "r-4", Ask::get("/admin/nodes"));
    let stranger = Ask::get("/templates").header("X-Request-Id", "r-5");
    assert_eq!(stranger.send(world.control()).status, 401);
    event(world.control(), "r-5");
    done(&world, "admin", "r-6", Ask::get("/sandboxes/unknown-to-all"));
    world
}

#[test]
fn every_filter_and_every_page() {
    let world = filled();
    let ids = |query: &str| {
        let events = events(&ask(world.control(), "admin", query));
        let ids = events.iter().map(|event| event["requestID"].as_str().unwrap().to_owned());
        ids.map(|id| id.replace("r-", "")).collect::<String>()
    };
    let key = event(world.control(), "r-3")["keyID"].as_str().unwrap().to_owned();
    let first = event(world.control(), "r-0")["timestamp"].as_str().unwrap().to_owned();
    for (query, expected) in [
        (String::new(), "6543210"),
        ("orderAsc=true".to_owned(), "0123456"),
        ("orderAsc=false".to_owned(), "6543210"),
        ("limit=2".to_owned(), "65"),
        ("limit=2&offset=3".to_owned(), "32"),
        ("limit=500&offset=6".to_owned(), "0"),
        ("offset=7".to_owned(), ""),
        ("orderAsc=true&limit=1&offset=1".to_owned(), "1"),
        ("tenantID=team-a".to_owned(), "64320"),
        ("tenant=team-b".to_owned(), "1"),
        ("tenant=team-x".to_owned(), ""),
        ("outcome=allowed".to_owned(), "10"),
        ("outcome=denied".to_owned(), "5432"),
        ("outcome=error".to_owned(), "6"),
        ("pathPrefix=/sandboxes".to_owned(), "63"),
        ("pathPrefix=%2Fv2%2F".to_owned(), "210"),
        ("pathPrefix=sandboxes".to_owned(), ""),
        (format!("keyID={key}"), "30"),
        ("requestID=r-2".to_owned(), "2"),
        ("requestID=r".to_owned(), ""),
        (format!("since={first}"), "6543210"),
        (format!("until={first}"), ""),
        ("since=2999-01-01T00:00:00Z".to_owned(), ""),
        ("until=2999-01-01T00:00:00%2B02:00".to_owned(), "6543210"),
        ("tenantID=team-a&outcome=denied&pathPrefix=/v2&limit=1".to_owned(), "2"),
        // The offset counts what is left after filtering.
        ("tenantID=team-a&offset=1&limit=2".to_owned(), "43"),
    ] {
        assert_eq!(ids(&query), expected, "{query}");
    }
}

#[test]
fn an_owner_sees_its_tenant_and_an_admin_everybody() {
    let world = filled();
    for (role, query, expected) in [
        (
            "owner",
            "",
            "sandboxes/unknown-to-all admin/nodes sandboxes/nothing v2/sandboxes v2/sandboxes",
        ),
        ("owner", "tenantID=team-a&limit=1", "sandboxes/unknown-to-all"),
        ("owner", "tenantID=team-b", ""),
        ("owner", "requestID=r-1", ""),
        ("owner", "requestID=r-5", ""),
        ("admin", "tenantID=team-b", "v2/sandboxes"),
        ("admin", "requestID=r-5", "templates"),
    ] {
        assert_eq!(paths(&ask(world.control(), role, query)), expected, "{role} {query}");
    }
    for role in ["exec", "read", "other"] {
        assert_eq!(ask(world.control(), role, "").status, 403, "{role}");
    }
    assert_eq!(Ask::get("/audit/events").send(world.control()).status, 401);
}

#[test]
fn what_is_no_query_is_refused_and_that_is_recorded() {
    let world = World::new();
    for path in ["/audit/events", "/audit/stream"] {
        for query in [
            "limit=0",
            "limit=501",
            "limit=abc",
            "offset=-1",
            "orderAsc=yes",
            "outcome=canary",
            "since=canary",
            "until=2026-01-01",
            "tenantID=",
            "tenantID=a&tenant=a",
            "outcome=denied&outcome=denied",
            "pathPrefix=%ff",
            "nothing=canary",
        ] {
            let id = "r-bad";
            let answer =
                world.ask("owner", Ask::get(&format!("{path}?{query}")).header("X-Request-Id", id));
            let json = answer.json();
            assert_eq!((answer.status, &json["code"]), (400, &json!(400)), "{path}?{query}");
            assert_eq!(json["error_code"], "bad_query", "{path}?{query}");
            assert_eq!(answer.header("x-request-id"), Some(id));
            assert!(!answer.text().contains("canary"), "{}", answer.text());
        }
    }
    eventually("they are all recorded", PATIENCE, || {
        events(&ask(world.control(), "owner", "outcome=denied&pathPrefix=/audit")).len() == 26
    });
    let all = ask(world.control(), "owner", "requestID=r-bad").text();
    assert!(all.contains("limit must be a whole number from 1 to 500") && !all.contains("canary"));
}

#[test]
fn the_newest_are_kept_and_the_oldest_go() {
    let world = World::with(Options::default(), |setup| setup.env("COPPICE_AUDIT_LOG_CAP", "3"));
    for number in 0..5 {
        let id = format!("r-{number}");
        done(&world, "exec", &id, Ask::new("DELETE", &format!("/sandboxes/none{number}")));
    }
    let answer = ask(world.control(), "admin", "");
    assert_eq!(paths(&answer), "sandboxes/none4 sandboxes/none3 sandboxes/none2");
}

#[test]
fn a_cap_that_is_none_stops_the_start() {
    for (cap, said) in [("0", "0"), ("abc", "abc"), ("-1", "-1"), ("", "empty")] {
        let ended = Program::new()
            .env("COPPICE_UPSTREAM", "http://127.0.0.1:9")
            .env("COPPICE_AUDIT_LOG_CAP", cap)
            .run(&["check"]);
        assert_eq!(ended.code, 78, "{cap}");
        assert!(
            ended.err.contains("COPPICE_AUDIT_LOG_CAP") && ended.err.contains(said),
            "{ended:?}"
        );
    }
    let good = ["check", "--upstream=http://127.0.0.1:9", "--audit-log-cap=1"];
    assert_eq!(Program::new().run(&good).code, 0);
}

#[test]
fn where_nobody_is_asked_for_a_key_everybody_sees_everything() {
    let world = World::open();
    let create = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#);
    assert_eq!(create.header("X-Request-Id", "r-1").send(world.control()).status, 201);
    let seen = event(world.control(), "r-1");
    assert_eq!((&seen["outcome"], &seen["status"]), (&json!("allowed"), &json!(201)));
    for name in ["tenantID", "principalName", "keyID", "scopes"] {
        assert_eq!(seen.get(name), None, "{name}");
    }
    assert_eq!(paths(&Ask::get("/audit/events").send(world.control())), "v2/sandboxes");
}
