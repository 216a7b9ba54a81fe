//! What `/auth/whoami` says to whom.

use coppice_gateway::simulator::Options;
use serde_json::{Value, json};

use crate::support::keys_file::KeysFile;
use crate::support::world::key;
use crate::support::{Ask, World};

fn whoami(world: &World, ask: Ask) -> Value {
    let answer = ask.send(world.control());
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    answer.json()
}

#[test]
fn a_key_without_a_name_or_an_end() {
    let world = World::new();
    for (role, effective) in [
        ("read", json!(["read"])),
        ("exec", json!(["exec", "read"])),
        ("owner", json!(["exec", "owner", "read"])),
        ("admin", json!(["admin", "exec", "owner", "read"])),
    ] {
        let mut seen = whoami(&world, Ask::get("/auth/whoami").key(&key(role)));
        let id = seen["keyID"].take();
        let id = id.as_str().unwrap();
        assert!(!id.is_empty() && !key(role).contains(id), "{id}");
        let expected = json!({
            "authenticated": true, "tenantID": "team-a", "name": null, "keyID": null,
            "scopes": [role], "effectiveScopes": effective,
            "source": "static", "credential": "api_key", "expiresAt": null,
            "limits": {"maxSandboxes": null, "activeSandboxes": null},
        });
        assert_eq!(seen, expected);
        let again = whoami(&world, Ask::get("/auth/whoami").bearer(&key(role)));
        assert_eq!((&again["credential"], again["keyID"].as_str()), (&json!("bearer"), Some(id)));
    }
    assert!(world.simulator.requests().is_empty());
}

#[test]
fn a_key_with_everything_there_is_to_say() {
    let file = KeysFile::new(
        r#"[{"tenantID":"team-c","name":"Überwachung, nachts","key":"k-named","scopes":["exec","admin"],
             "notBefore":"2020-01-01T00:00:00Z","expiresAt":"2099-12-31T23:59:59Z"}]"#,
    );
    let world = file.world();
    let seen = whoami(&world, Ask::get("/auth/whoami").key("k-named"));
    assert_eq!(seen["tenantID"], "team-c");
    assert_eq!(seen["name"], "Überwachung, nachts");
    assert_eq!(seen["scopes"], json!(["admin", "exec"]));
    assert_eq!(seen["effectiveScopes"], json!(["admin", "exec", "owner", "read"]));
    assert_eq!(seen["expiresAt"], "2099-12-31T23:59:59Z");
    assert!(!seen.to_string().contains("k-named"));
    // Upstream hears the name in a form that a header can carry.
    assert_eq!(Ask::get("/sandboxes").key("k-named").send(world.control()).status, 200);
    let requests = world.simulator.requests();
    let principal = requests[0].header("x-coppice-principal").unwrap();
    assert_eq!(principal, "%C3%9Cberwachung,%20nachts");
}

#[test]
fn a_key_keeps_its_id_wherever_it_is_written_and_two_keys_never_share_one() {
    let id = |world: &World, key: &str| {
        whoami(world, Ask::get("/auth/whoami").key(key))["keyID"].as_str().unwrap().to_owned()
    };
    let (one, two) = (World::new(), World::new());
    assert_eq!(id(&one, &key("read")), id(&two, &key("read")));
    let roles = ["admin", "owner", "exec", "read", "other"];
    let ids: std::collections::BTreeSet<_> =
        roles.iter().map(|role| id(&one, &key(role))).collect();
    assert_eq!(ids.len(), roles.len());
}

#[test]
fn the_limit_is_told_and_what_is_known_of_its_use_without_asking() {
    let limits = |who: &Value| who["limits"].clone();
    let world = World::with(Options::default(), |setup| {
        setup.env("COPPICE_TENANT_SANDBOX_LIMITS", "team-a=2")
    });
    let seen = |role: &str| limits(&whoami(&world, Ask::get("/auth/whoami").key(&key(role))));
    assert_eq!(seen("read"), json!({"maxSandboxes": 2, "activeSandboxes": null}));
    assert!(world.simulator.requests().is_empty());

    let (id, _) = world.create("exec");
    let asked = world.simulator.requests().len();
    for role in ["read", "admin"] {
        assert_eq!(seen(role), json!({"maxSandboxes": 2, "activeSandboxes": 1}), "{role}");
    }
    assert_eq!(seen("other"), json!({"maxSandboxes": null, "activeSandboxes": null}));
    assert_eq!(world.simulator.requests().len(), asked);

    world.ask("exec", Ask::new("DELETE", &format!("/sandboxes/{id}")));
    assert_eq!(seen("owner"), json!({"maxSandboxes": 2, "activeSandboxes": 0}));
}
