//! A gateway without any authenticator: everything passes as it was sent, it says so, and strangers cannot reach it.

use serde_json::json;

use crate::support::gateway::Setup;
use crate::support::{Ask, World};

#[test]
fn nobody_is_asked_and_everything_passes_as_sent() {
    let world = World::open();
    let gateway = world
        .sibling(|setup| setup.without("COPPICE_API_KEYS").without("COPPICE_UPSTREAM_API_KEY"));
    for ask in [
        Ask::get("/sandboxes"),
        Ask::get("/sandboxes").key("sk-nobodys"),
        Ask::get("/sandboxes").bearer("sk-nobodys"),
        Ask::get("/sandboxes").bearer("one").key("other"),
        Ask::get("/sandboxes").header("Authorization", "Basic cm9vdDo="),
        Ask::get("/sandboxes").header("X-API-Key", "schlüssel"),
        Ask::get("/sandboxes").header("Authorization", "Bearer a b").key(&"a".repeat(5000)),
    ] {
        world.simulator.clear_requests();
        assert_eq!(ask.send(gateway.control()).status, 200, "{ask:?}");
        let seen = &world.simulator.requests()[0];
        let sent = String::from_utf8(ask.bytes(gateway.control())).unwrap().to_ascii_lowercase();
        for name in ["authorization", "x-api-key"] {
            let prefix = format!("{name}: ");
            let sent = sent.lines().find_map(|line| line.strip_prefix(prefix.as_str()));
            let seen = seen.header(name).map(str::to_ascii_lowercase);
            assert_eq!(seen.as_deref(), sent, "{name} of {ask:?}");
        }
        for name in ["x-coppice-tenant", "x-coppice-principal", "x-coppice-scopes"] {
            assert_eq!(seen.header(name), None, "{ask:?}");
        }
    }
    // Admin routes, too; and the upstream's own tokens come and go as they are.
    assert_eq!(Ask::get("/nodes").send(gateway.control()).status, 200);
    let created = Ask::post("/sandboxes", r#"{"templateID":"base","secure":true}"#);
    let created = created.send(gateway.control()).json();
    let id = created["sandboxID"].as_str().unwrap();
    let token = created["envdAccessToken"].as_str().unwrap();
    assert_eq!(world.simulator.tokens_of(id).unwrap().0, token);
    let envd = Ask::get("/envs").header("E2b-Sandbox-Id", id).header("E2b-Sandbox-Port", "49983");
    let data = gateway.address("port=*");
    assert_eq!(envd.clone().header("X-Access-Token", token).send(data).status, 200);
    assert_eq!(envd.send(data).status, 401);
}

#[test]
fn it_says_so() {
    let world = World::open();
    for ask in [Ask::get("/auth/whoami"), Ask::get("/auth/whoami").key("sk-nobodys")] {
        let expected = json!({
            "authenticated": false, "tenantID": null,
            "scopes": [], "effectiveScopes": ["admin", "exec", "owner", "read"],
        });
        let answer = ask.send(world.control());
        assert_eq!((answer.status, answer.json()), (200, expected));
    }
    world.gateway.wait_for_log(&["\"WARN\"", "no keys"]);
    let keyed = World::new();
    assert!(!keyed.gateway.log().iter().any(|line| line.contains("no keys")));
}

#[test]
fn a_marker_that_a_caller_wrote_is_taken_out_all_the_same() {
    let world = World::open();
    for path in ["/sandboxes", "/v2/sandboxes"] {
        for forged in ["coppice_tenant_id", "Coppice_Tenant_ID", r"\u0063oppice_tenant_id"] {
            world.simulator.clear_requests();
            let body = format!(
                r#"{{"templateID":"base","metadata":{{"{forged}":"team-b","mine":"kept"}}}}"#
            );
            assert_eq!(Ask::post(path, body).send(world.control()).status, 201);
            let seen = &world.simulator.requests()[0];
            let body: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
            assert_eq!(body["metadata"], json!({"mine": "kept"}), "{path} {forged}");
        }
    }
}

#[test]
fn methods_and_paths_are_checked_as_ever() {
    let world = World::open();
    for (ask, status) in [
        (Ask::new("PROPFIND", "/sandboxes"), 405),
        (Ask::get("//sandboxes"), 400),
        (Ask::get("/api-keys"), 404),
        (Ask::new("DELETE", "/auth/whoami"), 405),
    ] {
        assert_eq!(ask.send(world.control()).status, status, "{ask:?}");
    }
    assert!(world.simulator.requests().is_empty());
}

#[test]
fn it_stays_on_this_machine_unless_told_otherwise() {
    let setup = |listen: &str| {
        Setup::default().flag("--upstream=http://127.0.0.1:9").flag(format!("--listen={listen}"))
    };
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:3000", "127.0.0.1:0,0.0.0.0:0"] {
        let (status, output) = setup(listen).run();
        assert_eq!(status.code(), Some(78), "{listen}: {output}");
        assert!(output.contains("--allow-open"), "{output}");
        // The same settings, checked without binding anything.
        let check = |setup: Setup| setup.flag("check").run().0.code();
        assert_eq!(check(setup(listen)), Some(78), "{listen}");
        assert_eq!(check(setup(listen).flag("--allow-open")), Some(0), "{listen}");
        let keyed = setup(listen).env("COPPICE_API_KEYS", "team-a:k:read");
        assert_eq!(check(keyed), Some(0), "{listen}");
    }
    let data = setup("127.0.0.1:0").flag("--envd-listen=0.0.0.0:0");
    assert_eq!(data.run().0.code(), Some(78));
}
