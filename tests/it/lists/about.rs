//! Metrics, events and snapshots: whose they are is their sandbox's to say.

use coppice_gateway::simulator::Options;
use serde_json::Value;

use super::{SECRET_OF_A, SECRET_OF_B, create, forwarded, populate};
use crate::support::upstream::Upstream;
use crate::support::world::key;
use crate::support::{Answer, Ask, World};

fn keys(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    json["sandboxes"].as_object().unwrap().keys().cloned().collect()
}

/// One text member of each entry.
fn all<'a>(json: &'a Value, member: &str) -> Vec<&'a str> {
    let entries = json.as_array().unwrap_or_else(|| panic!("no array: {json}"));
    entries.iter().map(|entry| entry[member].as_str().unwrap()).collect()
}

#[test]
fn metrics_are_those_of_ones_own_sandboxes() {
    let world = World::new();
    let (of_a, of_b) = populate(&world, 2);
    let (mine, theirs) = (of_a.first().unwrap(), of_b.first().unwrap());
    let unknown = "i0000000000000000000";
    for (query, asked, expected) in [
        (format!("sandbox_ids={mine}"), Some(format!("sandbox_ids={mine}")), vec![mine]),
        (
            format!("a=%41&sandbox_ids={theirs},{mine},{unknown}&b"),
            Some(format!("a=%41&sandbox_ids={mine}&b")),
            vec![mine],
        ),
        (
            format!("sandbox%5Fids={mine}%2c{theirs}"),
            Some(format!("sandbox_ids={mine}")),
            vec![mine],
        ),
        (
            format!("sandbox_ids={theirs}&sandbox_ids={mine}&sandbox_ids={mine}"),
            Some(format!("sandbox_ids={mine}")),
            vec![mine],
        ),
        (format!("sandbox_ids={mine}-client"), Some(format!("sandbox_ids={mine}")), vec![mine]),
        (format!("sandbox_ids={theirs}"), None, vec![]),
        (format!("sandbox_ids={theirs}-client,{unknown},../x"), None, vec![]),
        ("sandbox_ids=".to_owned(), None, vec![]),
        // The simulator takes this as none; another might take it as all.
        (String::new(), Some(String::new()), vec![]),
    ] {
        world.simulator.clear_requests();
        let answer = world.ask("read", Ask::get(&format!("/sandboxes/metrics?{query}")));
        assert_eq!(keys(&answer).iter().collect::<Vec<_>>(), expected, "{query}");
        let sent: Vec<String> = forwarded(&world).into_iter().map(|ask| ask.path).collect();
        let asked = asked.map(|asked| format!("/sandboxes/metrics?{asked}"));
        assert_eq!(sent, asked.into_iter().collect::<Vec<_>>(), "{query}");
    }
    let ask =
        |id: &str| world.ask("read", Ask::get(&format!("/sandboxes/metrics?sandbox_ids={id}")));
    assert_eq!(ask(theirs).body, ask(unknown).body, "somebody else's is like none");
    let names =
        |answer: &Answer| answer.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&ask(theirs)), names(&ask(unknown)));

    let admin =
        world.ask("admin", Ask::get(&format!("/sandboxes/metrics?sandbox_ids={mine},{theirs}")));
    assert_eq!(keys(&admin).len(), 2);
    let many = vec![mine.as_str(); 101].join(",");
    let answer = world.ask("read", Ask::get(&format!("/sandboxes/metrics?sandbox_ids={many}")));
    assert_eq!((answer.status, answer.code().as_str()), (400, "too_many_sandboxes"));
}

/// An upstream that shows the metrics of every sandbox it has, whatever it is asked.
#[test]
fn metrics_that_nobody_asked_for_do_not_pass() {
    let upstream = Upstream::start(|_, talk| {
        while let Some(head) = talk.request() {
            let body = match head.split(' ').nth(1).unwrap() {
                "/sandboxes/mine" => {
                    r#"{"sandboxID":"mine","metadata":{"coppice_tenant_id":"team-a"}}"#
                }
                "/sandboxes/theirs" => {
                    r#"{"sandboxID":"theirs","metadata":{"coppice_tenant_id":"team-b"}}"#
                }
                _ => r#"{"sandboxes":{"theirs":{},"mine":{"cpuCount":2.0}},"total":2}"#,
            };
            let length = body.len();
            talk.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"));
        }
    });
    let gateway = upstream.gateway();
    for query in ["", "?sandbox_ids=mine", "?sandbox_ids=theirs,mine"] {
        let ask = Ask::get(&format!("/sandboxes/metrics{query}"));
        let answer = ask.key(&key("read")).send(gateway.control());
        assert_eq!(answer.text(), r#"{"sandboxes":{"mine":{"cpuCount":2.0}}}"#, "{query}");
    }
}

#[test]
fn events_are_those_of_ones_own_sandboxes() {
    let world = World::new();
    let (of_a, of_b) = populate(&world, 2);
    let (mine, theirs) = (of_a.first().unwrap(), of_b.first().unwrap());
    for (role, id) in [("exec", mine), ("other", theirs)] {
        assert_eq!(world.ask(role, Ask::post(&format!("/sandboxes/{id}/pause"), "{}")).status, 204);
    }
    let replica = world.replica();
    let ask = |role: &str, query: &str| {
        let path = format!("/events/sandboxes?{query}");
        Ask::get(&path).key(&world.key(role)).send(replica.control())
    };
    // Only creations name a tenant; for the rest the upstream must be asked whose the sandbox is.
    let paused = ask("read", "types=sandbox.lifecycle.paused");
    assert_eq!(all(&paused.json(), "sandboxId"), [mine]);
    for (role, own, foreign) in [("read", &of_a, SECRET_OF_B), ("other", &of_b, SECRET_OF_A)] {
        let answer = ask(role, "limit=100");
        let json = answer.json();
        let listed = all(&json, "sandboxId");
        assert_eq!(listed.len(), 3, "{json}");
        assert!(listed.iter().all(|id| own.contains(*id)), "{json}");
        assert!(!answer.text().contains(foreign) && !answer.text().contains("coppice_tenant_id"));
    }
    assert_eq!(ask("admin", "limit=100").json().as_array().unwrap().len(), 6);

    // Of a sandbox that is gone only its creation says whose it was; a gateway that saw it remembers for a while.
    assert_eq!(world.ask("exec", Ask::new("DELETE", &format!("/sandboxes/{mine}"))).status, 204);
    assert_eq!(world.ask("other", Ask::new("DELETE", &format!("/sandboxes/{theirs}"))).status, 204);
    let fresh = world.replica();
    let types = |types: &str| {
        let path = format!("/events/sandboxes?limit=100&{types}");
        Ask::get(&path).key(&world.key("read")).send(fresh.control()).json()
    };
    assert_eq!(types("types=sandbox.lifecycle.killed"), serde_json::json!([]));
    let json = types("");
    let listed = all(&json, "type");
    assert_eq!(listed.iter().filter(|name| name.ends_with("killed")).count(), 1, "{json}");
    assert!(all(&json, "sandboxId").iter().all(|id| of_a.contains(*id)), "{json}");
}

#[test]
fn an_event_whose_owner_cannot_be_asked_for_is_503() {
    let upstream = Upstream::start(|_, talk| {
        while let Some(head) = talk.request() {
            let answer = if head.starts_with("GET /events") {
                "HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n[{\"sandboxId\":\"other\"}]"
            } else {
                "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
            };
            talk.send(answer);
        }
    });
    let gateway = upstream.gateway();
    let answer = Ask::get("/events/sandboxes").key(&key("read")).send(gateway.control());
    assert_eq!((answer.status, answer.code().as_str()), (503, "ownership_unknown"));
}

#[test]
fn snapshots_are_those_of_ones_own_sandboxes() {
    for (ignore_filters, snapshot_origins) in
        [(false, false), (false, true), (true, false), (true, true)]
    {
        let options = Options { ignore_filters, snapshot_origins, ..Options::default() };
        let world = World::with(options, |setup| setup);
        let mine = create(&world, "exec", SECRET_OF_A);
        let theirs = create(&world, "other", SECRET_OF_B);
        for (role, id) in [("exec", &mine), ("other", &theirs)] {
            for number in 0..2 {
                let body = format!(r#"{{"name":"of-{role}-{number}"}}"#);
                let path = format!("/sandboxes/{id}/snapshots");
                assert_eq!(world.ask(role, Ask::post(&path, body)).status, 201);
            }
        }
        let what = format!("ignoring {ignore_filters}, telling {snapshot_origins}");
        let count = |role: &str, query: &str| {
            let answer = world.ask(role, Ask::get(&format!("/snapshots?{query}")));
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
            let foreign = if role == "other" { "of-exec" } else { "of-other" };
            assert_eq!(answer.text().contains(foreign), role == "admin", "{what} {query}");
            answer.json().as_array().unwrap().len()
        };
        // What does not say of which sandbox it was taken is nobody's, unless an upstream that filters was asked for
        // those of one.
        let named = if snapshot_origins || !ignore_filters { 2 } else { 0 };
        assert_eq!(count("read", ""), if snapshot_origins { 2 } else { 0 }, "{what}");
        assert_eq!(count("read", &format!("sandboxID={mine}")), named, "{what}");
        assert_eq!(count("other", &format!("sandboxID={theirs}-client")), named, "{what}");
        assert_eq!(count("admin", ""), 4, "{what}");
        world.simulator.clear_requests();
        for query in [
            format!("sandboxID={theirs}"),
            "sandboxID=i0000000000000000000".into(),
            "sandboxID=".into(),
        ] {
            assert_eq!(count("read", &query), 0, "{what} {query}");
        }
        assert!(forwarded(&world).is_empty(), "{what}: nothing is asked about somebody else's");
    }
}
