//! What `/auth/usage` says to whom, and what it costs the upstream.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};

use coppice_gateway::simulator::Options;
use serde_json::{Value, json};

use crate::support::callback::{Reply, Scripted};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::{key, key_list};
use crate::support::{Answer, Ask, Upstream, World};

const LIMITS: &str = "COPPICE_TENANT_SANDBOX_LIMITS";

fn limited(limits: &str) -> World {
    World::with(Options::default(), |setup| setup.env(LIMITS, limits))
}

fn usage(world: &World, role: &str) -> Value {
    let answer = world.ask(role, Ask::get("/auth/usage"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    answer.json()
}

fn said(tenant: &str, active: u32, pending: u32, most: impl Into<Option<u32>>) -> Value {
    let most: Option<u32> = most.into();
    json!({"tenantID": tenant, "activeSandboxes": active, "pending": pending, "maxSandboxes": most})
}

/// Starts a sandbox of each of these tenants behind the gateway's back.
fn seed(world: &World, tenants: &[&str]) -> Vec<String> {
    let marked =
        |tenant: &&str| BTreeMap::from([("coppice_tenant_id".to_owned(), (*tenant).to_owned())]);
    world.simulator.seed(tenants.iter().map(marked))
}

fn listings(world: &World) -> usize {
    let requests = world.simulator.requests();
    requests.iter().filter(|request| request.method == "GET").count()
}

#[test]
fn a_tenant_sees_its_own_whatever_its_key_may_do() {
    let world = limited("team-a=3,*=5");
    seed(&world, &["team-a", "team-b"]);
    for role in ["read", "exec", "owner"] {
        assert_eq!(usage(&world, role), said("team-a", 1, 0, 3), "{role}");
    }
    assert_eq!(usage(&world, "other"), said("team-b", 1, 0, 5));
    let (id, _) = world.create("exec");
    assert_eq!(usage(&world, "read"), said("team-a", 2, 0, 3));
    let paused = world.ask("exec", Ask::post(&format!("/sandboxes/{id}/pause"), ""));
    assert_eq!(paused.status, 204);
    assert_eq!(usage(&world, "read"), said("team-a", 2, 0, 3), "a paused sandbox counts");
    let killed = world.ask("exec", Ask::new("DELETE", &format!("/sandboxes/{id}")));
    assert_eq!(killed.status, 204);
    assert_eq!(usage(&world, "read"), said("team-a", 1, 0, 3));
    assert_eq!(usage(&world, "other"), said("team-b", 1, 0, 5));
}

#[test]
fn who_has_no_limit_is_counted_all_the_same() {
    let world = World::new();
    assert_eq!(usage(&world, "read"), said("team-a", 0, 0, None));
    let seeded = seed(&world, &["team-a", "team-b"]);
    let (id, _) = world.create("exec");
    assert_eq!(usage(&world, "read"), said("team-a", 2, 0, None));
    for id in [&seeded[0], &id] {
        world.ask("exec", Ask::new("DELETE", &format!("/sandboxes/{id}")));
    }
    assert_eq!(usage(&world, "read"), said("team-a", 0, 0, None));
}

#[test]
fn an_admin_sees_every_tenant_for_one_listing() {
    let mut limits: Vec<String> = (0..300).map(|number| format!("t-{number:03}=1")).collect();
    limits.push("team-b=5".to_owned());
    let world = limited(&limits.join(","));
    seed(&world, &["t-007", "unnamed", "t-007", "unnamed", "unnamed"]);
    world.simulator.seed([BTreeMap::new()]);
    world.create("other");
    world.simulator.clear_requests();

    let seen = usage(&world, "admin");
    assert_eq!(listings(&world), 1, "{:?}", world.simulator.requests());
    let seen = seen.as_array().unwrap();
    let names: Vec<_> = seen.iter().map(|one| one["tenantID"].as_str().unwrap()).collect();
    assert!(names.is_sorted() && names.len() == 303, "{names:?}");
    for expected in [
        said("t-000", 0, 0, 1),
        said("t-007", 2, 0, 1),
        said("team-a", 0, 0, None),
        said("team-b", 1, 0, 5),
        said("unnamed", 3, 0, None),
    ] {
        assert!(seen.contains(&expected), "{expected}");
    }
}

#[test]
fn what_an_admin_was_told_is_what_a_tenant_is_held_to() {
    let world = limited("team-a=2");
    // From here on the ledger knows the tenant, and the list below is its only source.
    world.create("exec");
    let seeded = seed(&world, &["team-a"]);
    assert!(usage(&world, "admin").as_array().unwrap().contains(&said("team-a", 2, 0, 2)));
    let create = || world.ask("exec", Ask::post("/sandboxes", r#"{"templateID":"base"}"#));
    assert_eq!(create().json()["error_code"], "quota_exceeded");
    world.ask("exec", Ask::new("DELETE", &format!("/sandboxes/{}", seeded[0])));
    assert!(usage(&world, "admin").as_array().unwrap().contains(&said("team-a", 1, 0, 2)));
    assert_eq!(create().status, 201);
}

/// An upstream that has no sandbox until it is told to let a create pass, and then one.
fn reluctant() -> (Upstream, Arc<(Mutex<bool>, Condvar)>) {
    const ONE: &str =
        r#"{"sandboxID":"i1","templateID":"base","metadata":{"coppice_tenant_id":"team-a"}}"#;
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let shared = Arc::clone(&gate);
    let upstream = Upstream::start(move |_, talk| {
        while let Some(head) = talk.request() {
            let (open, changed) = &*shared;
            let mut passes = open.lock().unwrap();
            let (status, json) = if head.starts_with("POST") {
                passes = changed.wait_timeout_while(passes, PATIENCE, |open| !*open).unwrap().0;
                ("201 Created", ONE.to_owned())
            } else if *passes {
                ("200 OK", format!("[{ONE}]"))
            } else {
                ("200 OK", "[]".to_owned())
            };
            drop(passes);
            let length = json.len();
            talk.send(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{json}"));
        }
    });
    (upstream, gate)
}

#[test]
fn a_create_under_way_is_pending() {
    for limit in [Some(2), None] {
        let (upstream, gate) = reluctant();
        let gateway = upstream.gateway_with(|setup| {
            let setup = setup.env("COPPICE_API_KEYS", key_list());
            match limit {
                Some(limit) => setup.env(LIMITS, format!("team-a={limit}")),
                None => setup,
            }
        });
        let address = gateway.control();
        let create = Ask::post("/sandboxes", r#"{"templateID":"base"}"#).key(&key("exec"));
        let create = std::thread::spawn(move || create.send(address));
        let is_post = |request: &String| request.starts_with("POST");
        eventually("a create", PATIENCE, || upstream.requests().iter().any(is_post));

        let ask = |role: &str| Ask::get("/auth/usage").key(&key(role)).send(address).json();
        assert_eq!(ask("read"), said("team-a", 0, 1, limit));
        assert_eq!(ask("admin"), json!([said("team-a", 0, 1, limit)]));

        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        assert_eq!(create.join().unwrap().status, 201);
        assert_eq!(ask("read"), said("team-a", 1, 0, limit));
        assert_eq!(ask("admin"), json!([said("team-a", 1, 0, limit)]));
    }
}

#[test]
fn what_cannot_be_found_out_is_not_made_up() {
    for answer in [
        "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n[]",
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[{}]",
        "HTTP/1.1 200 OK\r\nX-Next-Token: again\r\nContent-Length: 2\r\n\r\n[]",
    ] {
        let gateway = Upstream::always(answer).gateway();
        for role in ["read", "admin"] {
            let told = Ask::get("/auth/usage").key(&key(role)).send(gateway.control());
            assert_eq!((told.status, told.header("retry-after")), (503, Some("1")), "{answer}");
            assert_eq!(told.json()["error_code"], "quota_unknown", "{answer}");
        }
    }
}

#[test]
fn the_smaller_limit_is_the_one_that_counts() {
    let service = Scripted::always(Reply::allow());
    let world = World::with(Options::default(), |setup| {
        setup.env("AUTH_CALLBACK_URL", service.url()).env(LIMITS, "team-c=3")
    });
    for (own, scopes, limit) in [("2", "read", 2), ("9", "read", 3), ("1", "admin", 1)] {
        let who = Reply::allow().with("X-Auth-Tenant", "team-c").with("X-Auth-Scopes", scopes);
        service.now(who.with("X-Auth-Max-Sandboxes", own));
        let told = Ask::get("/auth/usage").key("somebodys").send(world.control()).json();
        let expected = said("team-c", 0, 0, limit);
        assert_eq!(told, if scopes == "admin" { json!([expected]) } else { expected }, "{own}");
    }
}

#[test]
fn nobody_is_told_anything_without_a_key_and_an_open_gateway_tells_everybody() {
    let world = World::new();
    let refused: Answer = Ask::get("/auth/usage").send(world.control());
    assert_eq!(refused.status, 401);

    let open = World::open();
    let ask = || Ask::get("/auth/usage").send(open.control()).json();
    assert_eq!(ask(), json!([]));
    seed(&open, &["team-b", "team-a"]);
    assert_eq!(ask(), json!([said("team-a", 1, 0, None), said("team-b", 1, 0, None)]));
}
