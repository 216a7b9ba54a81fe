//! Whose a sandbox is: learnt from the upstream, asked once, and in doubt nobody's.

use std::thread;

use coppice_gateway::simulator::Plane;

use crate::support::world::{DOMAIN, UPSTREAM_KEY, key};
use crate::support::{Ask, World};

#[test]
fn a_killed_sandbox_is_gone_as_e2b_says_it() {
    for killer in ["exec", "admin"] {
        let world = World::new();
        let (id, token) = world.create("exec");
        let kill = world.ask(killer, Ask::new("DELETE", &format!("/sandboxes/{id}")));
        assert_eq!(kill.status, 204);
        world.simulator.clear_requests();
        for ask in [Ask::get("/health"), Ask::post("/process.Process/List", "{}")] {
            let answer = world.ask_sandbox(&id, 49983, ask.header("X-Access-Token", &token));
            let json = answer.json();
            assert_eq!(answer.status, 502);
            assert_eq!(json["sandboxId"], id.as_str());
            assert_eq!(json["message"], "The sandbox was not found");
            assert_eq!(json["code"], 502);
        }
        assert!(world.reached(Plane::Data).is_empty(), "killed by {killer}");
        // To a key it is a sandbox like any that never was.
        let by_key = world.ask_sandbox(&id, 49983, Ask::get("/health").key(&world.key("exec")));
        assert_eq!(by_key.status, 404);
    }
}

#[test]
fn a_replica_takes_the_token_and_asks_once() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let replica = world.replica();
    let address = replica.address("port=*");
    world.simulator.clear_requests();
    thread::scope(|scope| {
        let asks: Vec<_> = (0..100)
            .map(|_| {
                let ask = Ask::get("/").host(&format!("8080-{id}.{DOMAIN}"));
                let ask = ask.header("X-Access-Token", &token);
                scope.spawn(move || ask.send(address).status)
            })
            .collect();
        for ask in asks {
            assert_eq!(ask.join().unwrap(), 200);
        }
    });
    let asked = world.reached(Plane::Control);
    assert_eq!(asked.len(), 1, "{asked:#?}");
    assert_eq!(
        (asked[0].method.as_str(), asked[0].path.as_str()),
        ("GET", &*format!("/sandboxes/{id}"))
    );
    assert_eq!(world.reached(Plane::Data).len(), 100);
}

#[test]
fn not_knowing_is_not_allowing() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let replica = world.replica();
    let World { gateway, simulator } = world;
    drop((gateway, simulator));
    let named = |ask: Ask| ask.header("E2b-Sandbox-Id", &id).header("E2b-Sandbox-Port", "49983");
    let by_token = named(Ask::get("/health")).header("X-Access-Token", &token);
    let by_key = named(Ask::get("/health")).key(&key("exec"));
    for answer in [by_token.send(replica.address("port=*")), by_key.send(replica.address("port=*"))]
    {
        assert_eq!((answer.status, answer.code().as_str()), (503, "ownership_unknown"));
        assert!(answer.header("retry-after").is_some());
    }
    let pause = Ask::post(&format!("/sandboxes/{id}/pause"), "{}");
    assert_eq!(pause.key(&key("exec")).send(replica.control()).status, 503);
}

#[test]
fn a_sandbox_without_a_marker_is_for_admins() {
    let world = World::new();
    let upstream = world.simulator.api_url().trim_start_matches("http://").parse().unwrap();
    let made = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#)
        .key(UPSTREAM_KEY)
        .send(upstream)
        .json();
    let id = made["sandboxID"].as_str().unwrap();
    let detail = || Ask::get(&format!("/sandboxes/{id}"));
    for role in ["owner", "exec", "read", "other"] {
        assert_eq!(world.ask(role, detail()).status, 404, "{role}");
        let inside = world.ask_sandbox(id, 49983, Ask::get("/health").key(&world.key(role)));
        assert_eq!(inside.status, 404, "{role}");
    }
    let answer = world.ask("admin", detail());
    assert_eq!(answer.status, 200);
    let json = answer.json();
    let token = json["envdAccessToken"].as_str().unwrap();
    for ask in [
        Ask::get("/health").key(&world.key("admin")),
        Ask::get("/health").header("X-Access-Token", token),
    ] {
        assert_eq!(world.ask_sandbox(id, 49983, ask).status, 204);
    }
}

#[test]
fn id_routes_of_another_tenant_are_not_there() {
    let world = World::new();
    let (foreign, _) = world.create("exec");
    let unknown = "i0000000000000000000";
    world.simulator.clear_requests();
    for (method, rest) in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/metrics"),
        ("GET", "/logs"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/connect"),
        ("POST", "/fork"),
        ("POST", "/timeout"),
        ("POST", "/refreshes"),
        ("POST", "/snapshots"),
        ("POST", "/rollback"),
        ("POST", "/exec"),
        ("POST", "/ssh-access"),
    ] {
        let ask = |id: &str, prefix: &str| {
            let ask = Ask::new(method, &format!("{prefix}/sandboxes/{id}{rest}"));
            let body = if method == "POST" { r#"{"timeout":60}"# } else { "" };
            world.ask("other", ask.header("Content-Type", "application/json").body(body))
        };
        for form in [foreign.clone(), format!("{foreign}-client1")] {
            let refused = ask(&form, "");
            assert_eq!(refused.status, 404, "{method} {rest}: {}", refused.text());
            assert_eq!(refused.body, ask(unknown, "").body, "{method} {rest}");
            assert!(!refused.text().contains(&foreign));
        }
        if rest == "/connect" || rest == "/logs" {
            assert_eq!(ask(&foreign, "/v2").body, ask(unknown, "/v2").body);
        }
    }
    for request in world.simulator.requests() {
        let only_looked = request.method == "GET" && request.path.split('/').count() == 3;
        assert!(only_looked, "{request:?}");
    }
    let alive = world.ask("exec", Ask::get(&format!("/sandboxes/{foreign}"))).json();
    assert_eq!(alive["state"], "running");
}

#[test]
fn only_a_kill_makes_the_gateway_forget_a_sandbox() {
    let world = World::new();
    let (id, _) = world.create("exec");
    let (_, traffic) = world.simulator.tokens_of(&id).unwrap();
    // The upstream knows neither, and says so with 404 or 405.
    for (role, path) in [
        ("exec", format!("/vscode-proxy/{id}/workspace")),
        ("admin", format!("/sandboxes/{id}/pause")),
    ] {
        world.ask(role, Ask::new("DELETE", &path));
        world.simulator.clear_requests();
        world.ask_sandbox(&id, 8080, Ask::get("/").key(&world.key("exec")));
        let inside = world.reached(Plane::Data);
        let shown = inside[0].header("e2b-traffic-access-token");
        assert_eq!(shown, Some(traffic.as_str()), "after DELETE {path}");
    }
}
