//! What is recorded and what is not, row by row, and what is never in it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use coppice_gateway::simulator::Options;
use serde_json::{Value, json};

use super::{ask, event, events};
use crate::signed::{encode, sign};
use crate::support::telemetry::{Collector, Scrape};
use crate::support::world::{DOMAIN, key};
use crate::support::{Ask, Upstream, Wire, World, exchange};

/// Whether the request with this id was recorded, once a later one certainly was.
pub(super) fn is_recorded(gateway: SocketAddr, id: &str) -> bool {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let later = format!("after-{id}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let refused = Ask::get("/sandboxes").header("X-Request-Id", &later).send(gateway);
    assert_eq!(refused.status, 401);
    event(gateway, &later);
    !events(&ask(gateway, "admin", &format!("requestID={id}"))).is_empty()
}

/// `outcome status surface class`.
pub(super) fn summary(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap();
    format!("{} {} {} {}", text("outcome"), event["status"], text("surface"), text("routeClass"))
}

#[test]
fn on_the_control_plane() {
    let world = World::new();
    let (own, _) = world.create("exec");
    let (foreign, _) = world.create("other");
    let get = Ask::get;
    let create = || Ask::post("/sandboxes", r#"{"templateID":"base"}"#);
    for (number, (role, ask, status, expected)) in [
        ("read", get("/v2/sandboxes"), 200, ""),
        ("read", Ask::new("HEAD", "/v2/sandboxes"), 200, ""),
        ("read", get("/health"), 204, ""),
        ("read", get("/auth/whoami"), 200, ""),
        ("exec", get(&format!("/sandboxes/{own}")), 200, ""),
        ("exec", create(), 201, "allowed 201 control exec"),
        (
            "exec",
            Ask::post(&format!("/sandboxes/{own}/pause"), ""),
            204,
            "allowed 204 control exec",
        ),
        ("exec", Ask::post(&format!("/sandboxes/{own}/pause"), ""), 409, "error 409 control exec"),
        ("exec", Ask::new("DELETE", &format!("/sandboxes/{own}")), 204, "allowed 204 control exec"),
        ("none", get("/sandboxes"), 401, "denied 401 control read, nobody"),
        ("none", get("/nothing"), 401, "denied 401 control admin, nobody"),
        ("none", get("/auth/nothing"), 401, "denied 401 gateway hidden, nobody"),
        ("read", create(), 403, "denied 403 control exec"),
        ("read", Ask::new("HEAD", "/admin/nodes"), 403, "denied 403 control admin"),
        ("exec", get(&format!("/sandboxes/{foreign}")), 404, "denied 404 control read"),
        ("exec", get("/sandboxes/unknown"), 404, "denied 404 control read"),
        ("admin", get("/sandboxes/unknown"), 404, "error 404 control read"),
        ("admin", get("/auth/nothing"), 404, "denied 404 gateway hidden"),
        ("admin", Ask::post("/auth/whoami", ""), 405, "denied 405 gateway any"),
        ("admin", Ask::new("PURGE", "/sandboxes"), 405, "denied 405 control admin"),
        ("admin", Ask::new("DELETE", "/auth/callback/cache"), 404, "denied 404 gateway admin"),
        ("exec", Ask::post("/sandboxes", "no JSON"), 400, "denied 400 control exec"),
        ("exec", get("/sandboxes//twice"), 400, "denied 400 control none, nobody"),
        ("exec", get("/sandboxes").key("k2"), 400, "denied 400 control read, nobody"),
        ("read", get("/sandboxes/x/terminal/ws").upgrading(), 403, "denied 403 control exec"),
    ]
    .into_iter()
    .enumerate()
    {
        let context = format!("{role} {ask:?}");
        let id = format!("row-{number}");
        let ask = if role == "none" { ask } else { ask.key(&key(role)) };
        let answer = ask.header("X-Request-Id", &id).send(world.control());
        assert_eq!(answer.status, status, "{context}: {}", answer.text());
        if expected.is_empty() {
            assert!(!is_recorded(world.control(), &id), "{context}");
            continue;
        }
        let event = event(world.control(), &id);
        // Whoever was refused before anybody looked at a credential is nobody.
        let (expected, is_nobody) =
            expected.split_once(',').map_or((expected, false), |(row, _)| (row, true));
        assert_eq!(summary(&event), expected, "{context}");
        let tenant = if is_nobody { Value::Null } else { json!("team-a") };
        assert_eq!(
            (&event["tenantID"], event["keyID"].is_null()),
            (&tenant, is_nobody),
            "{context}"
        );
        if expected.starts_with("denied") && !context.contains("HEAD") {
            assert_eq!(event["message"], answer.json()["message"], "{context}");
        }
    }
    let seen = events(&ask(world.control(), "admin", &format!("pathPrefix=/sandboxes/{own}")));
    assert!(seen.len() == 3 && seen.iter().all(|event| event["sandboxID"] == *own), "{seen:?}");
    let seen = events(&ask(world.control(), "admin", &format!("pathPrefix=/sandboxes/{foreign}")));
    assert_eq!(seen[0]["sandboxID"], *foreign);
}

#[test]
fn the_sandbox_that_a_create_made() {
    let world = World::new();
    for (id, path) in [("v1", "/sandboxes"), ("v2", "/v2/sandboxes")] {
        let create = Ask::post(path, r#"{"templateID":"base"}"#).header("X-Request-Id", id);
        let created = world.ask("exec", create);
        assert_eq!(created.status, 201);
        assert_eq!(event(world.control(), id)["sandboxID"], created.json()["sandboxID"]);
    }
}

#[test]
fn heads_that_are_no_requests() {
    let collector = Collector::start(0);
    let world = World::with(Options::default(), |setup| {
        setup
            .flag("--ops-listen=127.0.0.1:0")
            .env("COPPICE_HEAD_TIMEOUT", "300ms")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
    });
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(33 * 1024));
    let heads = [
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
        ("GET http://a/canary HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            400,
        ),
        ("GET /canary\u{1b}[31m HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (&long, 431),
        // Not complete, and nothing follows.
        ("GET / HTTP/1.1\r\nHost: a", 408),
    ];
    for (bytes, status) in heads {
        let answer = crate::support::Answer::parse(&exchange(world.control(), bytes.as_bytes()));
        assert_eq!(answer.status, status, "{bytes}");
        let id = answer.header("x-request-id").unwrap();
        let seen = event(world.control(), id);
        assert_eq!(summary(&seen), format!("denied {status} control none"), "{bytes}");
        assert_eq!((&seen["method"], &seen["path"]), (&json!("-"), &json!("*")), "{bytes}");
        assert_eq!(seen.get("tenantID"), None);
        world.gateway.wait_for_log(&[
            "request refused or failed",
            id,
            &format!("\"status\":{status}"),
        ]);
        let span = collector.span_of(id);
        assert_eq!((&span["name"], &span["parent"]), (&json!("none"), &json!("")), "{bytes}");
        assert_eq!(span["attributes"]["http.response.status_code"], status, "{bytes}");
    }
    let scrape = Scrape::of(&world.gateway, "");
    let unread = [("surface", "none"), ("class", "none"), ("outcome", "denied"), ("status", "4xx")];
    assert_eq!(scrape.sum("requests_total", &unread), heads.len() as f64);
    let decided = scrape.sum("decision_duration_seconds_count", &[("surface", "none")]);
    assert_eq!(decided, heads.len() as f64);
}

#[test]
fn on_the_data_plane() {
    let world = World::new();
    let (own, token) = world.create("exec");
    let (foreign, _) = world.create("other");
    let unary = || Ask::post("/process.Process/List", "{}");
    let stream = || {
        Ask::new("POST", "/process.Process/Start")
            .header("Content-Type", "application/connect+json")
    };
    for (number, (credential, port, id, ask, status, expected)) in [
        ("key", 8080, &own, Ask::get("/anything"), 200, ""),
        ("key", 8080, &own, Ask::new("HEAD", "/anything"), 200, ""),
        ("key", 8080, &own, Ask::new("OPTIONS", "/anything"), 200, ""),
        ("key", 8080, &own, Ask::post("/anything", "x"), 200, "allowed 200 port exec"),
        ("key", 8080, &own, Ask::get("/ws").upgrading(), 101, "allowed 101 port exec"),
        ("key", 8080, &own, Ask::get("/ws-refuse").upgrading(), 403, "error 403 port exec"),
        ("key", 8080, &own, Ask::get("/status/503"), 503, "error 503 port exec"),
        ("token", 49983, &own, unary(), 200, "allowed 200 envd exec"),
        ("token", 49999, &own, Ask::get("/contexts"), 200, ""),
        ("key", 49999, &own, Ask::post("/contexts", "{}"), 200, "allowed 200 interpreter exec"),
        ("none", 49999, &own, Ask::get("/contexts"), 401, "denied 401 interpreter read"),
        ("none", 49983, &own, unary(), 401, "denied 401 envd exec"),
        ("key", 8080, &foreign, Ask::get("/anything"), 404, "denied 404 port exec"),
        ("key", 49983, &own, Ask::post("/init", "{}"), 404, "denied 404 envd hidden"),
        // Refused under 200, because that is what these clients read; the event has the status that is meant.
        ("none", 49983, &own, stream(), 200, "denied 401 envd exec"),
        ("key", 49983, &foreign, stream(), 200, "denied 404 envd exec"),
    ]
    .into_iter()
    .enumerate()
    {
        let context = format!("{credential} {ask:?}");
        let request_id = format!("row-{number}");
        let ask = match credential {
            "key" => ask.key(&key("exec")),
            "token" => ask.header("X-Access-Token", &token),
            _ => ask,
        };
        let ask = ask
            .header("X-Request-Id", &request_id)
            .header("E2b-Sandbox-Id", id)
            .header("E2b-Sandbox-Port", port.to_string());
        let mut wire = Wire::open(world.data());
        let answer = wire.start(&ask);
        assert_eq!(answer.status, status, "{context}: {}", answer.text());
        drop(wire);
        if expected.is_empty() {
            assert!(!is_recorded(world.control(), &request_id), "{context}");
            continue;
        }
        let event = event(world.control(), &request_id);
        assert_eq!(summary(&event), expected, "{context}");
        assert_eq!(event["sandboxID"], **id, "{context}");
    }
    // On a listener of its own, what could not be read is of that port.
    let refused = Ask::get("//x").header("X-Request-Id", "unread");
    let refused = refused.send(world.gateway.address("port=49983"));
    assert_eq!(refused.status, 400);
    assert_eq!(summary(&event(world.control(), "unread")), "denied 400 envd none");
}

#[test]
fn signed_urls_without_their_signatures() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let host = format!("49983-{id}.{DOMAIN}");
    let send = |method: &str, query: &str, request_id: &str| {
        let ask = Ask::new(method, &format!("/files?{query}"));
        let ask = ask.host(&host).header("Content-Type", "application/octet-stream").body("canary");
        ask.header("X-Request-Id", request_id).send(world.control()).status
    };
    let query = |operation: &str| {
        let signature = encode(&sign("/home/user/a", operation, "user", &token, None));
        format!("path=/home/user/a&username=user&signature={signature}")
    };
    assert_eq!(send("POST", &query("write"), "good"), 200);
    assert_eq!(send("POST", &query("read"), "bad"), 401);
    let good = event(world.control(), "good");
    assert_eq!(summary(&good), "allowed 200 envd exec");
    assert_eq!((&good["path"], &good["scopes"]), (&json!("/files"), &json!(["exec", "read"])));
    assert_eq!(good["tenantID"], "team-a");
    let bad = event(world.control(), "bad");
    assert_eq!((summary(&bad), bad.get("tenantID")), ("denied 401 envd exec".to_owned(), None));
    let all = ask(world.control(), "admin", "").text();
    assert!(!all.contains("v1_") && !all.contains("canary") && !all.contains("username"), "{all}");
}

#[test]
fn a_create_above_the_limit() {
    let world = World::with(Options::default(), |setup| {
        setup.env("COPPICE_TENANT_SANDBOX_LIMITS", "team-a=0")
    });
    let create = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#);
    let refused = world.ask("exec", create.header("X-Request-Id", "over"));
    assert_eq!(refused.status, 403);
    let seen = event(world.control(), "over");
    assert_eq!(summary(&seen), "denied 403 control exec");
    assert_eq!(seen["message"], "tenant team-a has reached its limit of 0 active sandboxes");
}

#[test]
fn what_fails_upstream() {
    let upstream = Upstream::start(|_, talk| {
        while let Some(head) = talk.request() {
            if head.contains("break-off") {
                return;
            }
            let status = if head.contains("POST") { "409 Conflict" } else { "500 Oops" };
            talk.send(format!("HTTP/1.1 {status}\r\nContent-Length: 6\r\n\r\ncanary"));
        }
    });
    let gateway = upstream.gateway();
    for (id, ask, status) in [
        ("get", Ask::get("/templates"), 500),
        ("post", Ask::post("/v3/templates", "{}"), 409),
        ("broken", Ask::get("/pools/break-off"), 502),
    ] {
        let answer = ask.key(&key("admin")).header("X-Request-Id", id).send(gateway.control());
        assert_eq!(answer.status, status);
        let seen = event(gateway.control(), id);
        assert_eq!((&seen["outcome"], &seen["status"]), (&json!("error"), &json!(status)));
        // What the gateway said is there; what the upstream said is not.
        assert_eq!(seen["message"].is_string(), id == "broken", "{seen}");
        assert!(!seen.to_string().contains("canary"));
    }
}

#[test]
fn clients_that_leave() {
    let upstream = Upstream::start(|_, talk| {
        while let Some(head) = talk.head() {
            if head.contains("POST") {
                talk.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun");
            }
            talk.stall();
        }
    });
    let gateway = upstream.gateway();
    let leave = |ask: Ask, id: &str, reads: bool| {
        let ask = ask.key(&key("admin")).header("X-Request-Id", id);
        let mut wire = Wire::open(gateway.control());
        wire.send(&ask.kept_bytes(gateway.control()));
        if reads {
            wire.until(b"begun");
        } else {
            let head = format!("x-request-id: {id}");
            crate::support::wait::eventually(
                "it is upstream",
                crate::support::wait::PATIENCE,
                || upstream.requests().iter().any(|request| request.to_lowercase().contains(&head)),
            );
        }
        drop(wire);
        let event = event(gateway.control(), id);
        (
            event["outcome"].as_str().unwrap().to_owned(),
            event["status"].clone(),
            event["message"].clone(),
        )
    };
    let left = json!("The client left before it was answered");
    assert_eq!(
        leave(Ask::get("/templates"), "unanswered", false),
        ("error".into(), json!(499), left)
    );
    let answered = ("allowed".to_owned(), json!(200), Value::Null);
    assert_eq!(leave(Ask::post("/v3/templates", "{}"), "in-between", true), answered);
}

#[test]
fn download_tokens_are_redacted() {
    let world = World::new();
    let paths = ["/files/download-token/canary", "/files/%64ownload-token/canary"];
    for (path, expected) in
        paths.into_iter().zip(["/files/download-token/[redacted]", "/files/%[redacted]"])
    {
        let id = expected.len().to_string();
        Ask::new("DELETE", path).header("X-Request-Id", &id).send(world.control());
        assert_eq!(event(world.control(), &id)["path"], expected);
    }
}
