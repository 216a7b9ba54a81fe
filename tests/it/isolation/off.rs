//! `COPPICE_TENANT_ISOLATION=off`: tenants are labelled and counted, and otherwise see and touch each other's sandboxes
//! as far as their scopes go.

use coppice_gateway::simulator::Options;
use serde_json::{Value, json};

use super::{SECRET, UNKNOWN, stranger, with_strangers};
use crate::signed::{encode, sign};
use crate::support::gateway::Setup;
use crate::support::world::{DOMAIN, UPSTREAM_KEY, key};
use crate::support::{Answer, Ask, World};

const MARKER: &str = "coppice_tenant_id";

fn off(setup: Setup) -> Setup {
    with_strangers(setup).env("COPPICE_TENANT_ISOLATION", "off")
}

fn world() -> World {
    World::with(Options::default(), off)
}

fn ask(world: &World, role: &str, ask: Ask) -> Answer {
    ask.key(&stranger(role)).send(world.control())
}

fn detail(id: &str) -> Ask {
    Ask::get(&format!("/sandboxes/{id}"))
}

fn pause(id: &str) -> Ask {
    Ask::post(&format!("/sandboxes/{id}/pause"), "{}")
}

fn connect(id: &str) -> Ask {
    Ask::post(&format!("/v2/sandboxes/{id}/connect"), r#"{"timeout":300}"#)
}

fn text(json: &Value, name: &str) -> String {
    json[name].as_str().unwrap_or_else(|| panic!("no {name} in {json}")).to_owned()
}

#[test]
fn other_tenants_keys_do_what_their_scopes_allow() {
    let world = world();
    let (id, _) = world.create("exec");
    for (role, may_exec) in [("read", false), ("exec", true), ("owner", true), ("admin", true)] {
        let seen = ask(&world, role, detail(&id));
        assert_eq!(seen.status, 200, "{role}: {}", seen.text());
        assert_eq!(seen.json().get("envdAccessToken").is_some(), may_exec, "{role}");
        let status = if may_exec { 204 } else { 403 };
        assert_eq!(ask(&world, role, pause(&id)).status, status, "{role}");
        let status = if may_exec { 201 } else { 403 };
        assert_eq!(ask(&world, role, connect(&id)).status, status, "{role}");
        for (port, path, reads) in [
            (49_983, "/metrics", true),
            (49_983, "/envs", false),
            (49_999, "/contexts", true),
            (8080, "/x", false),
        ] {
            let inside = world.ask_sandbox(&id, port, Ask::get(path).key(&stranger(role)));
            let status = if may_exec || reads { 200 } else { 403 };
            assert_eq!(inside.status, status, "{role} {port} {path}: {}", inside.text());
        }
        // The network is an admin's affair as ever.
        let network = Ask::new("PUT", &format!("/sandboxes/{id}/network")).body("{}");
        assert_eq!(ask(&world, role, network).status, if role == "admin" { 204 } else { 403 });
        let metrics = Ask::get(&format!("/sandboxes/metrics?sandbox_ids={id},{UNKNOWN}"));
        assert!(ask(&world, role, metrics).json()["sandboxes"].get(&id).is_some(), "{role}");
    }
    assert_eq!(ask(&world, "read", Ask::new("DELETE", &format!("/sandboxes/{id}"))).status, 403);
    assert_eq!(ask(&world, "exec", Ask::new("DELETE", &format!("/sandboxes/{id}"))).status, 204);
    assert_eq!(world.ask("exec", detail(&id)).status, 404);
    // Whoever has no key has nothing.
    assert_eq!(detail(&id).send(world.control()).status, 401);
    assert_eq!(world.ask_sandbox(UNKNOWN, 8080, Ask::get("/").key(&stranger("exec"))).status, 404);
}

#[test]
fn what_nobody_made_is_everybodys() {
    let world = world();
    let upstream = world.simulator.api_url().trim_start_matches("http://").parse().unwrap();
    let made = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).key(UPSTREAM_KEY);
    let id = text(&made.send(upstream).json(), "sandboxID");
    assert_eq!(ask(&world, "read", detail(&id)).status, 200);
    assert_eq!(world.ask("exec", pause(&id)).status, 204);
}

#[test]
fn lists_hold_everybodys_sandboxes_with_their_true_totals() {
    let world = world();
    for role in ["exec", "other", "exec"] {
        world.create(role);
    }
    for role in ["read", "exec", "owner", "admin"] {
        for path in ["/sandboxes", "/v2/sandboxes?limit=2", "/cubeapi/v1/sandboxes"] {
            let listed = ask(&world, role, Ask::get(path));
            let expected = if path.contains("limit") { 2 } else { 3 };
            assert_eq!(listed.json().as_array().unwrap().len(), expected, "{role} {path}");
            assert_eq!(listed.text().contains(MARKER), role == "admin", "{role} {path}");
            if path.contains("limit") {
                assert_eq!(listed.header("x-total-running"), Some("3"), "{role}");
                assert!(listed.header("x-next-token").is_some(), "{role}");
            }
        }
        let events = ask(&world, role, Ask::get("/events/sandboxes?limit=10"));
        assert_eq!(events.json().as_array().unwrap().len(), 3, "{role}");
        assert_eq!(events.text().contains(MARKER), role == "admin", "{role}");
    }
}

#[test]
fn the_marker_is_written_and_hidden_as_ever() {
    let world = world();
    let body = format!(
        r#"{{"templateID":"base","timeout":300,"metadata":{{"note":"{SECRET}","\u0043oppice_tenant_id":"team-b"}}}}"#
    );
    let made = world.ask("exec", Ask::post("/v2/sandboxes", body));
    let id = text(&made.json(), "sandboxID");
    let sent: Value = serde_json::from_slice(&world.simulator.requests()[0].body).unwrap();
    assert_eq!(sent["metadata"], json!({"note": SECRET, MARKER: "team-a"}));
    for role in ["read", "exec", "owner"] {
        assert_eq!(ask(&world, role, detail(&id)).json()["metadata"], json!({"note": SECRET}));
    }
    let shown = ask(&world, "admin", detail(&id)).json();
    assert_eq!(shown["metadata"], json!({"note": SECRET, MARKER: "team-a"}));
    // A fork stays its parent's tenant's, whoever makes it.
    world.simulator.clear_requests();
    let fork = Ask::post(
        &format!("/sandboxes/{id}/fork"),
        r#"{"metadata":{"coppice_tenant_id":"team-b"}}"#,
    );
    let forks = ask(&world, "exec", fork);
    assert_eq!(forks.status, 201, "{}", forks.text());
    assert!(!forks.text().contains(MARKER), "{}", forks.text());
    let sent = world.simulator.requests().into_iter().find(|seen| seen.method == "POST").unwrap();
    assert_eq!(sent.body, r#"{"metadata":{"coppice_tenant_id":"team-a"}}"#);
    let forked = text(&forks.json()[0]["sandbox"], "sandboxID");
    let shown = ask(&world, "admin", detail(&forked)).json();
    assert_eq!(shown["metadata"][MARKER], "team-a");
}

#[test]
fn a_token_is_good_for_its_own_sandbox_alone() {
    let world = world();
    let (of_a, token_of_a) = world.create("exec");
    let (of_b, token_of_b) = world.create("other");
    let open = |id: &str, token: &str| {
        world.ask_sandbox(id, 8080, Ask::get("/").header("X-Access-Token", token)).status
    };
    assert_eq!([open(&of_a, &token_of_a), open(&of_b, &token_of_b)], [200, 200]);
    assert_eq!([open(&of_a, &token_of_b), open(&of_b, &token_of_a)], [404, 404]);
    // Team-b may connect to team-a's sandbox, and then has a token of its own for it.
    let connected = ask(&world, "exec", connect(&of_a));
    assert_eq!(connected.status, 200, "{}", connected.text());
    let token = text(&connected.json(), "envdAccessToken");
    assert_ne!(token, token_of_a);
    assert_eq!([open(&of_a, &token), open(&of_b, &token)], [200, 404]);
    // So it is with what is signed with one.
    let files = |id: &str, token: &str| {
        let signature = encode(&sign("/tmp/f", "write", "", token, None));
        let path = format!("/files?path=/tmp/f&signature={signature}");
        let host = format!("49983-{id}.{DOMAIN}");
        let ask = Ask::new("POST", &path).header("Content-Type", "application/octet-stream");
        ask.body("content").host(&host).send(world.control()).status
    };
    assert_eq!([files(&of_a, &token_of_a), files(&of_a, &token_of_b)], [200, 401]);
    // An unknown key's word counts for nothing.
    assert_eq!(open(&of_a, "cgt1_AAAA"), 401);
}

#[test]
fn each_tenant_is_still_held_to_its_limit() {
    let limits = |setup| off(setup).env("COPPICE_TENANT_SANDBOX_LIMITS", "team-a=2,team-b=1");
    let world = World::with(Options::default(), limits);
    let create = || Ask::post("/v2/sandboxes", r#"{"templateID":"base","timeout":300}"#);
    let refused = |answer: &Answer, tenant: &str| {
        assert_eq!((answer.status, answer.code().as_str()), (403, "quota_exceeded"));
        assert!(answer.text().contains(tenant), "{}", answer.text());
    };
    let (of_a, _) = world.create("exec");
    world.create("other");
    refused(&ask(&world, "exec", create()), "team-b");
    // A fork counts where it belongs.
    let fork = || Ask::post(&format!("/sandboxes/{of_a}/fork"), r#"{"count":1}"#);
    assert_eq!(ask(&world, "exec", fork()).status, 201);
    refused(&ask(&world, "exec", fork()), "team-a");
    refused(&world.ask("exec", create()), "team-a");
    // Whoever kills one makes room for its tenant, and for no other.
    assert_eq!(ask(&world, "exec", Ask::new("DELETE", &format!("/sandboxes/{of_a}"))).status, 204);
    refused(&ask(&world, "exec", create()), "team-b");
    assert_eq!(world.ask("exec", create()).status, 201);
    refused(&world.ask("exec", create()), "team-a");
    assert_eq!(key("other"), stranger("exec"));
}
