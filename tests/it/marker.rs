//! The tenant's marker: on everything that becomes a sandbox, whatever the caller wrote, and nothing else is changed.

use coppice_gateway::simulator::{Metadata, Options, RecordedRequest, Simulator};
use serde_json::{Value, json};

use crate::support::{Ask, World};

/// A request that makes sandboxes: whose key is used, and what is around its metadata.
struct Maker {
    role: &'static str,
    method: &'static str,
    path: String,
    before: &'static str,
    after: &'static str,
    /// Where the metadata is.
    pointer: &'static str,
}

fn makers(sandbox: &str) -> Vec<Maker> {
    let maker = |role, method, path: &str, before, after, pointer| {
        let path = path.replace("{id}", sandbox);
        Maker { role, method, path, before, after, pointer }
    };
    let (create, nested) = (r#"{"templateID":"base",METADATA,"timeout":60}"#, "/metadata");
    let create = create.split_once("METADATA").unwrap();
    vec![
        maker("exec", "POST", "/sandboxes", create.0, create.1, nested),
        maker("exec", "POST", "/v2/sandboxes", create.0, create.1, nested),
        maker("exec", "POST", "/cubeapi/v1/sandboxes", create.0, create.1, nested),
        maker("owner", "POST", "/sandboxes?x=1", create.0, create.1, nested),
        maker("exec", "POST", "/sandboxes/{id}/fork", r#"{"count":1,"#, "}", "/metadata"),
        maker("admin", "POST", "/sandboxes/{id}/fork", r#"{"count":1,"#, "}", "/metadata"),
        maker(
            "admin",
            "POST",
            "/schedules",
            r#"{"every":60,"create":{"templateID":"base","#,
            "}}",
            "/create/metadata",
        ),
        maker(
            "admin",
            "POST",
            "/schedules",
            r#"{"runs":[{"then":[{"x":{"#,
            r#","Template\u0049d":"base"}}]}]}"#,
            "/runs/0/then/0/x/metadata",
        ),
        maker(
            "admin",
            "PATCH",
            "/schedules/c1",
            r#"{"create":{"templateID":"base","#,
            "}}",
            "/create/metadata",
        ),
        maker("admin", "PATCH", "/schedules/c1", r#"{"create":{"#, "}}", "/create/metadata"),
    ]
}

/// What reached the simulator beside looks at sandboxes.
fn sent(simulator: &Simulator) -> Vec<RecordedRequest> {
    simulator.requests().into_iter().filter(|request| request.method != "GET").collect()
}

#[test]
fn every_spelling_on_every_route_that_makes_sandboxes() {
    let world = World::new();
    let (id, _) = world.create("exec");
    for maker in makers(&id) {
        for (metadata, left) in [
            (r#""metadata":{}"#, json!({})),
            (r#""metadata":{"mine":"kept"}"#, json!({"mine": "kept"})),
            (r#""metadata":{"coppice_tenant_id":"team-b"}"#, json!({})),
            (r#""metadata":{"mine":"kept","coppice_tenant_id":"team-b"}"#, json!({"mine": "kept"})),
            (r#""metadata":{"Coppice_Tenant_ID":"team-b"}"#, json!({})),
            (r#""metadata":{"\u0063oppice_tenant_i\u0064":"team-b"}"#, json!({})),
            (r#""metadata":{"\u0043OPPICE\u005ftenant_id":"team-b"}"#, json!({})),
            (r#""metadata":{" coppice_tenant_id ":"team-b"}"#, json!({})),
            (r#""metadata":{"coppice_tenant_id":null}"#, json!({})),
            (r#""metadata":{"coppice_tenant_id":["team-b"]}"#, json!({})),
            (r#""metadata":{"coppice_tenant_id":{"coppice_tenant_id":"team-b"}}"#, json!({})),
            (r#""metadata":{"coppice_tenant_id":7}"#, json!({})),
            (r#""m\u0065tadata":{"coppice_tenant_id":"team-b"}"#, json!({})),
        ] {
            let body = format!("{}{metadata}{}", maker.before, maker.after);
            let case = format!("{} {} {} {body}", maker.role, maker.method, maker.path);
            world.simulator.clear_requests();
            let ask = Ask::new(maker.method, &maker.path).body(body);
            world.ask(maker.role, ask);
            let requests = sent(&world.simulator);
            assert_eq!(requests.len(), 1, "{case}: {requests:#?}");
            let body: Value = serde_json::from_slice(&requests[0].body).unwrap();
            let mut expected = left;
            expected["coppice_tenant_id"] = "team-a".into();
            assert_eq!(body.pointer(maker.pointer), Some(&expected), "{case}");
            let length = requests[0].body.len().to_string();
            assert_eq!(requests[0].header("content-length"), Some(length.as_str()), "{case}");
        }
        for metadata in [
            r#""metadata":{"coppice_tenant_id":"team-b","coppice_tenant_id":"team-a"}"#,
            r#""metadata":{"coppice_tenant_id":"team-a","COPPICE_TENANT_ID":"team-b"}"#,
            r#""metadata":{},"metadata":{"coppice_tenant_id":"team-b"}"#,
            r#""metadata":{},"Metadata":{"coppice_tenant_id":"team-b"}"#,
            r#""metadata":{},"m\u0045tadata":{"coppice_tenant_id":"team-b"}"#,
            r#""Metadata":{"coppice_tenant_id":"team-b"}"#,
        ] {
            let body = format!("{}{metadata}{}", maker.before, maker.after);
            let case = format!("{} {} {} {body}", maker.role, maker.method, maker.path);
            world.simulator.clear_requests();
            let refused = world.ask(maker.role, Ask::new(maker.method, &maker.path).body(body));
            assert_eq!(refused.status, 400, "{case}: {}", refused.text());
            assert!(sent(&world.simulator).is_empty(), "{case}");
        }
    }
}

#[test]
fn bodies_that_cannot_be_marked_are_not_sent() {
    let world = World::new();
    let (id, _) = world.create("exec");
    let deep = format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65));
    let bomb = "[".repeat(200_000);
    let big = format!(r#"{{"templateID":"base","x":"{}"}}"#, "x".repeat(1024 * 1024));
    for maker in makers(&id) {
        for (body, status) in [
            (&b"[]"[..], 400),
            (b"null", 400),
            (b"{} {}", 400),
            (b"{", 400),
            (b"\xef\xbb\xbf{}", 400),
            (b"{\"templateID\":\"\xff\"}", 400),
            (b"{\"x\":NaN}", 400),
            (deep.as_bytes(), 400),
            (bomb.as_bytes(), 400),
            (big.as_bytes(), 413),
        ] {
            world.simulator.clear_requests();
            let ask = Ask::new(maker.method, &maker.path).body(body);
            let refused = world.ask(maker.role, ask);
            let start = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
            assert_eq!(refused.status, status, "{} {}: {start}", maker.method, maker.path);
            assert!(sent(&world.simulator).is_empty(), "{} {start}", maker.path);
        }
        let ask = Ask::new(maker.method, &maker.path).body("{}");
        let coded = world.ask(maker.role, ask.header("Content-Encoding", "gzip"));
        assert_eq!(coded.status, 400, "{}", maker.path);
        assert!(sent(&world.simulator).is_empty(), "{}", maker.path);
    }
}

#[test]
fn a_body_is_marked_however_it_is_sent() {
    let world = World::new();
    let body = r#"{"templateID":"base","metadata":{"coppice_tenant_id":"team-b"}}"#;
    let chunked =
        format!("20\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", &body[..32], body.len() - 32, &body[32..]);
    let raw = |headers: &str, body: &str| {
        let head = "POST /v2/sandboxes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        let head = format!("{head}X-API-Key: {}\r\n{headers}\r\n", world.key("exec"));
        crate::support::exchange(world.control(), format!("{head}{body}").as_bytes())
    };
    let length = format!("Content-Length: {}\r\n", body.len());
    for (headers, body) in [
        (length.clone(), body),
        (format!("{length}Content-Type: text/json; charset=latin1\r\n"), body),
        (format!("{length}Expect: 100-continue\r\n"), body),
        ("Transfer-Encoding: chunked\r\n".to_owned(), chunked.as_str()),
        ("Transfer-Encoding: chunked\r\nTrailer: X\r\n".to_owned(), chunked.as_str()),
    ] {
        world.simulator.clear_requests();
        raw(&headers, body);
        let requests = sent(&world.simulator);
        let body: Value = serde_json::from_slice(&requests[0].body).unwrap();
        assert_eq!(body["metadata"], json!({"coppice_tenant_id": "team-a"}), "{headers}");
        assert_eq!(requests.len(), 1);
    }
}

#[test]
fn everything_else_keeps_its_bytes() {
    let world = World::new();
    let body = "{ \"zeta\":1e400,\t\"templateID\":\"base\",\"big\":123456789012345678901234567890,\
                \"f\":1.10,\"e\":\"\\u00e9\\/\" ,\"metadata\":{ \"b\":\"2\",\"a\":\"1\" },\"mcp\":{\"metadata\":{\"coppice_tenant_id\":\"x\"}}}\n";
    world.simulator.clear_requests();
    world.ask("exec", Ask::post("/sandboxes", body));
    let expected = body.replace("\"1\" }", "\"1\",\"coppice_tenant_id\":\"team-a\" }");
    assert_eq!(String::from_utf8_lossy(&sent(&world.simulator)[0].body), expected);
}

#[test]
fn a_fork_without_a_body_is_marked_all_the_same() {
    let world = World::new();
    let (id, _) = world.create("exec");
    world.simulator.clear_requests();
    let forked = world.ask("exec", Ask::new("POST", &format!("/sandboxes/{id}/fork")));
    assert_eq!(forked.status, 201, "{}", forked.text());
    let request = &sent(&world.simulator)[0];
    assert_eq!(request.body, r#"{"metadata":{"coppice_tenant_id":"team-a"}}"#);
    assert_eq!(request.header("content-type"), Some("application/json"));
}

#[test]
fn an_admins_fork_stays_with_its_parents_tenant() {
    let world = World::new();
    let (foreign, _) = world.create("other");
    for known in [true, false] {
        let replica = world.replica();
        let address = if known { world.control() } else { replica.control() };
        world.simulator.clear_requests();
        let fork = Ask::post(&format!("/sandboxes/{foreign}/fork"), r#"{"metadata":{"a":"b"}}"#);
        let forks = fork.key(&world.key("admin")).send(address);
        assert_eq!(forks.status, 201, "{}", forks.text());
        let request = &sent(&world.simulator)[0];
        assert_eq!(request.body, r#"{"metadata":{"a":"b","coppice_tenant_id":"team-b"}}"#);
        let fork = forks.json()[0]["sandbox"]["sandboxID"].as_str().unwrap().to_owned();
        let detail = || Ask::get(&format!("/sandboxes/{fork}"));
        assert_eq!(world.ask("other", detail()).status, 200);
        assert_eq!(world.ask("exec", detail()).status, 404);
    }
}

#[test]
fn what_a_schedule_starts_belongs_to_its_tenant() {
    let world = World::new();
    let body =
        r#"{"every":60,"create":{"templateID":"base","metadata":{"coppice_tenant_id":"team-b"}}}"#;
    let made = world.ask("admin", Ask::post("/schedules", body));
    assert_eq!(made.status, 201, "{}", made.text());
    let path = format!("/schedules/{}", made.json()["scheduleID"].as_str().unwrap());
    let patch = |body: &str| world.ask("admin", Ask::new("PATCH", &path).body(body)).json();
    for schedule in [
        made.json(),
        patch(r#"{"create":{"metadata":{"coppice_tenant_id":"team-b"}}}"#),
        patch(r#"{"create":{"metadata":{"COPPICE_TENANT_ID":null,"mine":"1"}}}"#),
        patch(r#"{"every":30}"#),
    ] {
        let id = schedule["lastSandboxID"].as_str().unwrap();
        let detail = || Ask::get(&format!("/sandboxes/{id}"));
        assert_eq!(world.ask("exec", detail()).status, 200, "{schedule}");
        assert_eq!(world.ask("other", detail()).status, 404, "{schedule}");
    }
    // What carries no payload passes as it is.
    world.simulator.clear_requests();
    for ask in [Ask::get("/schedules"), Ask::get(&path), Ask::new("DELETE", &path)] {
        assert!(world.ask("admin", ask).status < 300);
    }
    assert_eq!(sent(&world.simulator)[0].body, "");
}

#[test]
fn an_open_gateway_takes_the_marker_out() {
    let world = World::open();
    let made = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).send(world.control());
    let id = made.json()["sandboxID"].as_str().unwrap().to_owned();
    for maker in makers(&id) {
        world.simulator.clear_requests();
        let metadata = r#""metadata":{"\u0043oppice_tenant_id":"team-b","mine":"kept"}"#;
        let body = format!("{}{metadata}{}", maker.before, maker.after);
        Ask::new(maker.method, &maker.path).body(body).send(world.control());
        let body: Value = serde_json::from_slice(&sent(&world.simulator)[0].body).unwrap();
        assert_eq!(body.pointer(maker.pointer), Some(&json!({"mine": "kept"})), "{}", maker.path);
    }
}

#[test]
fn one_tenants_idempotency_key_finds_no_other_tenants_sandbox() {
    for metadata in [Metadata::Kept, Metadata::Dropped] {
        let world = World::with(Options { metadata, ..Options::default() }, |setup| setup);
        let create = |role: &str| {
            let ask = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#);
            let made = world.ask(role, ask.header("Idempotency-Key", "retry-1"));
            assert_eq!(made.status, 201, "{}", made.text());
            made.json()["sandboxID"].as_str().unwrap().to_owned()
        };
        let ours = create("exec");
        assert_eq!(create("exec"), ours);
        assert_eq!(create("owner"), ours, "the same tenant");
        let theirs = create("other");
        assert_ne!(theirs, ours);
        assert_eq!(world.ask("other", Ask::get(&format!("/sandboxes/{ours}"))).status, 404);
    }
}
