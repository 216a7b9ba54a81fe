//! Which port of which sandbox a request is for: every way to say it, and every way to say it badly.

use coppice_gateway::simulator::{Options, Plane};
use serde_json::Value;

use crate::support::world::DOMAIN;
use crate::support::{Answer, Ask, World};

/// What an application on a user port saw of a header.
fn seen<'a>(echo: &'a Value, name: &str) -> Option<&'a str> {
    let headers = echo["headers"].as_array().unwrap();
    let pair = headers.iter().find(|pair| pair[0] == name)?;
    pair[1].as_str()
}

fn sent_into_sandboxes(world: &World) -> usize {
    world.reached(Plane::Data).len()
}

/// An answer without what differs from request to request.
fn essence(answer: &Answer) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| name != "x-request-id" && name != "date");
    (answer.status, headers, answer.body.clone())
}

#[test]
fn every_form_reaches_the_one_target() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let named = |ask: Ask| ask.header("E2b-Sandbox-Id", &id).header("E2b-Sandbox-Port", "8080");
    let (host, shared) = (format!("8080-{id}.{DOMAIN}"), format!("sandbox.{DOMAIN}"));
    for (form, address, ask) in [
        ("headers", world.data(), named(Ask::get("/x"))),
        ("host", world.data(), Ask::get("/x").host(&host)),
        ("host with headers", world.data(), named(Ask::get("/x").host(&host))),
        ("shared host", world.data(), named(Ask::get("/x").host(&shared))),
        ("host, control", world.control(), Ask::get("/x").host(&host)),
        ("host with a port", world.control(), Ask::get("/x").host(&format!("{host}:3000"))),
        ("shared host, control", world.control(), named(Ask::get("/x").host(&shared))),
        ("old host", world.control(), Ask::get("/x").host(&format!("8080-{id}-client1.{DOMAIN}"))),
        (
            "old id",
            world.data(),
            Ask::get("/x")
                .header("E2b-Sandbox-Id", format!("{id}-client1"))
                .header("E2b-Sandbox-Port", "8080"),
        ),
        ("token names it", world.data(), Ask::get("/x").header("E2b-Sandbox-Port", "8080")),
    ] {
        let answer = ask.header("X-Access-Token", &token).send(address);
        assert_eq!(answer.status, 200, "{form}: {}", answer.text());
        let echo = answer.json();
        assert_eq!(echo["host"], host.as_str(), "{form}");
        assert_eq!(seen(&echo, "e2b-sandbox-id"), Some(id.as_str()), "{form}");
        assert_eq!(seen(&echo, "e2b-sandbox-port"), Some("8080"), "{form}");
    }
}

#[test]
fn a_labelled_listener_is_its_port() {
    let world = World::new();
    let (id, token) = world.create("exec");
    for (label, path) in [("port=49983", "/metrics"), ("port=49999", "/contexts")] {
        let address = world.gateway.address(label);
        let port = label.trim_start_matches("port=");
        let ask = || Ask::get(path).header("X-Access-Token", &token);
        for form in [
            ask(),
            ask().header("E2b-Sandbox-Id", &id),
            ask().header("E2b-Sandbox-Id", &id).header("E2b-Sandbox-Port", port),
            ask().host(&format!("{port}-{id}.{DOMAIN}")),
        ] {
            world.simulator.clear_requests();
            assert_eq!(form.send(address).status, 200, "{form:?}");
            let reached = &world.simulator.requests()[0];
            assert_eq!(reached.host, format!("{port}-{id}.{DOMAIN}"));
            assert_eq!(reached.header("e2b-sandbox-port"), Some(port));
        }
        let contradicted = ask().header("E2b-Sandbox-Id", &id).header("E2b-Sandbox-Port", "8080");
        assert_eq!(contradicted.send(address).status, 400);
        let contradicted = ask().host(&format!("8080-{id}.{DOMAIN}"));
        assert_eq!(contradicted.send(address).status, 400);
    }
}

#[test]
fn one_port_serves_both_planes_to_addresses() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let address = world.control();
    let localhost = format!("localhost:{}", address.port());
    let with_token = |ask: Ask| ask.header("X-Access-Token", &token);
    let with_both =
        |ask: Ask, port: &str| ask.header("E2b-Sandbox-Id", &id).header("E2b-Sandbox-Port", port);
    let execute = Ask::post("/execute", r#"{"code":"print(1)"}"#);
    for (form, ask, reached) in [
        ("token, envd path", with_token(Ask::get("/metrics")), "49983"),
        ("token, interpreter path", with_token(execute.clone()), "49999"),
        (
            "key and headers",
            with_both(Ask::get("/metrics"), "49983").key(&world.key("exec")),
            "49983",
        ),
        (
            "localhost",
            with_token(with_both(Ask::get("/health").host(&localhost), "49999")),
            "49999",
        ),
    ] {
        world.simulator.clear_requests();
        let answer = ask.send(address);
        assert!(answer.status < 300, "{form}: {} {}", answer.status, answer.text());
        let requests = world.simulator.requests();
        assert_eq!(requests.len(), 1, "{form}");
        assert_eq!(requests[0].host, format!("{reached}-{id}.{DOMAIN}"), "{form}");
        assert_eq!(requests[0].plane, Plane::Data, "{form}");
    }

    // A path that neither surface lists stays with the sandbox API, and a token is nothing there.
    assert_eq!(with_token(with_both(Ask::get("/x"), "8080")).send(address).status, 401);
    // As does every path under a host that is neither an address nor a sandbox's.
    let elsewhere = with_token(with_both(Ask::get("/metrics").host("api.coppice.test"), "49983"));
    assert_eq!(elsewhere.send(address).status, 401);
}

#[test]
fn one_port_off_keeps_the_planes_apart() {
    let world = World::with(Options::default(), |setup| setup.flag("--one-port=off"));
    let (id, token) = world.create("exec");
    world.simulator.clear_requests();
    let ask =
        Ask::get("/metrics").header("E2b-Sandbox-Id", &id).header("E2b-Sandbox-Port", "49983");
    let answer = ask.clone().header("X-Access-Token", &token).send(world.control());
    assert_eq!(answer.status, 401);
    assert_eq!(ask.key(&world.key("exec")).send(world.control()).status, 403, "admin's metrics");
    assert!(world.simulator.requests().is_empty());
    let by_name = Ask::get("/metrics").host(&format!("49983-{id}.{DOMAIN}"));
    assert_eq!(by_name.header("X-Access-Token", &token).send(world.control()).status, 200);
}

#[test]
fn ambiguous_targets_are_refused() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let (other, _) = world.create("exec");
    world.simulator.clear_requests();
    let (host, shared) = (format!("8080-{id}.{DOMAIN}"), format!("sandbox.{DOMAIN}"));
    let named =
        |port: &str| Ask::get("/x").header("E2b-Sandbox-Id", &id).header("E2b-Sandbox-Port", port);
    let mut asks: Vec<Ask> =
        ["0", "65536", "+80", "0080", "", "80 80", "0x50", "-1", "80,81", "٨٠"]
            .into_iter()
            .flat_map(|port| {
                let by_host = Ask::get("/x").host(&format!("{port}-{id}.{DOMAIN}"));
                let by_host = (!port.contains([' ', ',', '٨'])).then_some(by_host);
                [Some(named(port)), Some(named(port).host(&shared)), by_host]
            })
            .flatten()
            .collect();
    asks.extend([
        named("8080").header("E2b-Sandbox-Port", "8080"),
        named("8080").header("E2b-Sandbox-Id", &id),
        named("8080").header("E2b-Sandbox-Id", &other),
        named("8081").host(&host),
        Ask::get("/x").host(&host).header("E2b-Sandbox-Id", &other),
        Ask::get("/x").host(&host).header("Host", &host),
        Ask::get("/x").header("E2b-Sandbox-Id", "../up").header("E2b-Sandbox-Port", "8080"),
        Ask::get("/x").header("E2b-Sandbox-Id", "").header("E2b-Sandbox-Port", "8080"),
        Ask::get("/x").header("E2b-Sandbox-Id", &id),
        Ask::get("/x").host(&format!("8080-.{DOMAIN}")),
        Ask::get("/x").host(&format!("8080.{DOMAIN}:x")),
    ]);
    for ask in asks {
        let answer = ask.clone().header("X-Access-Token", &token).send(world.data());
        assert_eq!(answer.status, 400, "{ask:?}: {}", answer.text());
    }
    assert!(world.simulator.requests().is_empty(), "{:#?}", world.simulator.requests());
}

#[test]
fn without_a_sandbox_the_credential_is_judged_first() {
    let world = World::new();
    let envd = world.gateway.address("port=49983");
    let start =
        || Ask::post("/process.Process/Start", "{}").header("Connect-Protocol-Version", "1");
    assert_eq!(start().send(envd).status, 401);
    assert_eq!(start().key("sk-wrong").send(envd).status, 401);
    assert_eq!(start().key(&world.key("read")).send(envd).status, 403);
    assert_eq!(start().key(&world.key("exec")).send(envd).status, 400);
    let port = || Ask::get("/").header("E2b-Sandbox-Port", "8080");
    assert_eq!(port().send(world.data()).status, 401);
    assert_eq!(port().key(&world.key("read")).send(world.data()).status, 403);
    let named = port().key(&world.key("exec")).send(world.data());
    assert_eq!((named.status, named.code().as_str()), (400, "sandbox_not_named"));
}

#[test]
fn connect_with_sandbox_headers_stays_on_the_control_plane() {
    // As Python SDKs from 2.6.5 to 2.26 send it.
    let world = World::new();
    let (id, token) = world.create("exec");
    world.simulator.clear_requests();
    let connect = Ask::post(&format!("/sandboxes/{id}/connect"), r#"{"timeout":60}"#)
        .header("E2b-Sandbox-Id", &id)
        .header("E2b-Sandbox-Port", "49983");
    let answer = world.ask("exec", connect);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["envdAccessToken"], token.as_str());
    let reached = world.simulator.requests();
    let reached = reached.iter().find(|request| request.method == "POST").unwrap();
    assert_eq!(reached.plane, Plane::Control);
    assert_eq!(reached.header("e2b-sandbox-id"), None);
    assert_eq!(reached.header("e2b-sandbox-port"), None);
}

#[test]
fn a_port_without_an_upstream_is_not_there() {
    let world = World::with(Options::default(), |setup| setup.without("--envd-upstream"));
    let (id, token) = world.create("exec");
    let answer = world.ask_sandbox(&id, 8080, Ask::get("/").header("X-Access-Token", &token));
    assert_eq!((answer.status, answer.code().as_str()), (404, "no_data_plane"));
    assert_eq!(sent_into_sandboxes(&world), 0);
}

#[test]
fn another_tenants_sandbox_is_as_unknown_as_any() {
    let world = World::new();
    let (foreign, _) = world.create("exec");
    let (own, own_token) = world.create("other");
    let unknown = "i0000000000000000000";
    assert_eq!(foreign.len(), unknown.len());
    world.simulator.clear_requests();

    type Form = fn(&str) -> Ask;
    let forms: [(&str, Form); 7] = [
        ("headers", |id| {
            Ask::get("/").header("E2b-Sandbox-Id", id).header("E2b-Sandbox-Port", "8080")
        }),
        ("host", |id| Ask::get("/").host(&format!("8080-{id}.{DOMAIN}"))),
        ("old host", |id| Ask::get("/").host(&format!("8080-{id}-c1.{DOMAIN}"))),
        ("both", |id| {
            Ask::get("/")
                .host(&format!("8080-{id}.{DOMAIN}"))
                .header("E2b-Sandbox-Id", id)
                .header("E2b-Sandbox-Port", "8080")
        }),
        ("shared host", |id| {
            Ask::get("/metrics")
                .host(&format!("sandbox.{DOMAIN}"))
                .header("E2b-Sandbox-Id", id)
                .header("E2b-Sandbox-Port", "49983")
        }),
        ("rpc", |id| {
            Ask::post("/process.Process/List", "{}").host(&format!("49983-{id}.{DOMAIN}"))
        }),
        ("interpreter", |id| Ask::get("/contexts").host(&format!("49999-{id}.{DOMAIN}"))),
    ];
    for (name, form) in forms {
        for address in [world.data(), world.control()] {
            if address == world.control() && matches!(name, "headers") {
                continue;
            }
            let by_key = |id| form(id).key(&world.key("other")).send(address);
            let by_token = |id| form(id).header("X-Access-Token", &own_token).send(address);
            let refused = by_key(&foreign);
            assert_eq!(refused.status, 404, "{name}: {}", refused.text());
            assert!(!refused.text().contains(&foreign), "{name}");
            assert_eq!(essence(&refused), essence(&by_key(unknown)), "{name}");
            let refused = by_token(&foreign);
            assert_eq!(refused.status, 404, "{name}: {}", refused.text());
            assert_eq!(essence(&refused), essence(&by_token(unknown)), "{name}");
        }
    }
    // Part of the target one's own, part of it not.
    let mixed =
        Ask::get("/").host(&format!("8080-{own}.{DOMAIN}")).header("E2b-Sandbox-Id", &foreign);
    assert_eq!(mixed.key(&world.key("other")).send(world.data()).status, 400);
    assert_eq!(sent_into_sandboxes(&world), 0);
}
