//! The log: what a line says of a refusal or a failure, how much of it there is, and how that is changed.

use std::fs;

use coppice_gateway::simulator::Options;
use serde_json::Value;

use crate::support::callback::{Reply, Scripted};
use crate::support::upstream::gateway_before;
use crate::support::{Ask, Gateway, Upstream, World};

/// Every line that is about this request.
fn about(gateway: &Gateway, id: &str) -> Vec<Value> {
    let lines = gateway.log();
    let lines = lines.iter().filter(|line| line.contains(&format!("\"{id}\"")));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_cause_of_a_failure_carries_the_id_of_its_request() {
    let upstream = Upstream::start(|_, talk| {
        while let Some(head) = talk.request() {
            // Breaks off without an answer, or answers nonsense where a sandbox is asked about.
            if head.starts_with("GET /templates") {
                return;
            }
            talk.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let gateway = gateway_before(&upstream.url(), |setup| {
        setup.env("COPPICE_API_KEYS", "team-a:k-one:admin,team-b:k-two:exec")
    });
    let ask = |path: &str, id: &str, key: &str| {
        Ask::get(path).key(key).header("X-Request-Id", id).send(gateway.control()).status
    };
    assert_eq!(ask("/templates", "broken", "k-one"), 502);
    assert_eq!(ask("/sandboxes/i1/logs", "unknown-owner", "k-two"), 503);
    assert_eq!(ask("/templates", "refused", "nobody's"), 401);
    for (id, cause, error) in [
        ("broken", Some("could not be asked"), "upstream_unreachable"),
        ("unknown-owner", Some("unexpected answer"), "ownership_unknown"),
        ("refused", None, "unauthenticated"),
    ] {
        gateway.wait_for_log(&["request refused or failed", &format!("\"{id}\"")]);
        let lines = about(&gateway, id);
        let ends: Vec<_> = lines.iter().filter(|line| line["level"] == "INFO").collect();
        assert_eq!(ends.len(), 1, "{lines:#?}");
        assert_eq!(ends[0]["error"], error, "{}", ends[0]);
        let causes = lines.iter().filter(|line| line["level"] == "WARN");
        let causes: Vec<_> = causes.map(|line| line["message"].as_str().unwrap()).collect();
        match cause {
            Some(cause) => assert!(causes.iter().any(|told| told.contains(cause)), "{lines:#?}"),
            None => assert!(causes.is_empty(), "{lines:#?}"),
        }
    }
}

#[test]
fn a_silent_auth_callback_is_told_with_the_request_that_asked() {
    let service = Scripted::always(Reply::status(200).with("X-Auth-Scopes", "everything"));
    let world =
        World::with(Options::default(), |setup| setup.env("AUTH_CALLBACK_URL", service.url()));
    let ask = Ask::get("/templates").key("somebody's").header("X-Request-Id", "asked-in-vain");
    assert_eq!(ask.send(world.control()).status, 500);
    world.gateway.wait_for_log(&["\"WARN\"", "makes no sense", "asked-in-vain"]);
}

#[test]
fn a_flood_of_refusals_is_counted_and_hides_nothing_else() {
    let world = World::new();
    for number in 0..500 {
        let ask = Ask::get("/templates")
            .key("nobody's")
            .header("X-Request-Id", format!("flood-{number}"));
        assert_eq!(ask.send(world.control()).status, 401);
    }
    let ask = Ask::get("/sandboxes/absent").header("X-Request-Id", "something-else");
    assert_eq!(world.ask("exec", ask).status, 404);
    world.gateway.wait_for_log(&["something-else"]);
    world.gateway.wait_for_log(&["\"WARN\"", "were left out", "\"lines\":"]);
    let log = world.gateway.log();
    let written = log.iter().filter(|line| line.contains("\"flood-")).count();
    assert!((1..500).contains(&written), "{written} lines");
    assert!(log.iter().any(|line| line.contains("\"flood-0\"")), "the first is always told");
}

#[test]
fn whoever_logs_everything_gets_everything() {
    let world = World::with(Options::default(), |setup| setup.env("COPPICE_LOG", "debug"));
    for number in 0..60 {
        let id = format!("flood-{number}");
        Ask::get("/templates").header("X-Request-Id", &id).send(world.control());
    }
    for number in 0..60 {
        world.gateway.wait_for_log(&["refused or failed", &format!("\"flood-{number}\"")]);
    }
}

#[test]
fn a_reload_changes_how_much_is_logged() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    fs::write(&file, "[log]\nfilter = 'info'\n").unwrap();
    let world = World::with(Options::default(), |setup| {
        setup.env("COPPICE_CONFIG", file.to_str().unwrap())
    });
    let ask = |id: &str| {
        let ask = Ask::get("/templates").header("X-Request-Id", id);
        assert_eq!(world.ask("read", ask).status, 200);
    };
    let reload = |filter: &str| {
        fs::write(&file, format!("[log]\nfilter = '{filter}'\n")).unwrap();
        world.gateway.reload();
    };
    ask("quiet");
    reload("info,coppice_gateway=debug");
    ask("loud");
    world.gateway.wait_for_log(&["\"DEBUG\"", "request answered", "\"loud\""]);
    // One that is none changes nothing.
    fs::write(&file, "[log]\nfilter = 'coppice_gateway=='\n").unwrap();
    world.gateway.signal("HUP");
    world.gateway.wait_for_log(&["\"ERROR\"", "not reloaded", "log.filter"]);
    ask("still-loud");
    world.gateway.wait_for_log(&["request answered", "\"still-loud\""]);
    reload("info");
    ask("quiet-again");
    let refused = Ask::get("/templates").header("X-Request-Id", "the-last-one");
    refused.send(world.control());
    world.gateway.wait_for_log(&["the-last-one"]);
    for id in ["quiet", "quiet-again"] {
        assert_eq!(about(&world.gateway, id), Vec::<Value>::new(), "{id}");
    }
}
