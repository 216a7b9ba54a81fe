//! What tenants may put into metadata and see of it, as operators set it.

use coppice_gateway::simulator::Options;
use serde_json::{Value, json};

use super::{stranger, with_strangers};
use crate::support::{Ask, World};

const MARKER: &str = "coppice_tenant_id";

fn metadata_sent(world: &World, pointer: &str) -> Value {
    let requests = world.simulator.requests();
    let sent = requests.iter().find(|seen| seen.method == "POST").unwrap();
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    body.pointer(pointer).unwrap().clone()
}

#[test]
fn the_marker_can_be_kept_from_admins_too() {
    for (variable, shown) in [("on", true), ("off", false)] {
        let world = World::with(Options::default(), |setup| {
            with_strangers(setup).env("COPPICE_TENANTS_SHOW_MARKER", variable)
        });
        let body = r#"{"templateID":"base","timeout":300,"metadata":{"note":"mine"}}"#;
        let made = world.ask("exec", Ask::post("/v2/sandboxes", body)).json();
        assert_eq!(metadata_sent(&world, "/metadata"), json!({"note": "mine", MARKER: "team-a"}));
        let id = made["sandboxID"].as_str().unwrap();
        let paths = [
            format!("/sandboxes/{id}"),
            "/sandboxes".to_owned(),
            "/v2/sandboxes".to_owned(),
            "/cubeapi/v1/sandboxes".to_owned(),
            "/events/sandboxes".to_owned(),
        ];
        for path in &paths {
            for role in ["read", "exec", "owner"] {
                let answer = world.ask(role, Ask::get(path));
                assert!(
                    answer.text().contains("mine") && !answer.text().contains(MARKER),
                    "{path}"
                );
            }
            for admin in [world.key("admin"), stranger("admin")] {
                let answer = Ask::get(path).key(&admin).send(world.control());
                assert!(answer.text().contains("mine"), "{path}: {}", answer.text());
                assert_eq!(answer.text().contains(MARKER), shown, "{variable} {path}");
            }
        }
        // Whatever is shown, whose it is stays known.
        assert_eq!(world.ask("exec", Ask::get(&paths[0])).status, 200);
        assert_eq!(Ask::get(&paths[0]).key(&stranger("exec")).send(world.control()).status, 404);
    }
}

#[test]
fn reserved_names_and_prefixes_are_nobodys_to_set() {
    let world = World::with(Options::default(), |setup| {
        setup.env("COPPICE_METADATA_RESERVED", "Billing-Code,cube.*,host-mount")
    });
    let (parent, _) = world.create("exec");
    let fork = format!("/sandboxes/{parent}/fork");
    for (path, before, after, pointer, roles) in [
        (
            "/sandboxes",
            r#"{"templateID":"base","#,
            "}",
            "/metadata",
            &["exec", "owner", "admin"][..],
        ),
        ("/v2/sandboxes", r#"{"templateID":"base","#, "}", "/metadata", &["exec", "admin"]),
        ("/cubeapi/v1/sandboxes", r#"{"templateID":"base","#, "}", "/metadata", &["exec", "admin"]),
        (&fork, r#"{"count":1,"#, "}", "/metadata", &["exec", "admin"]),
        (
            "/schedules",
            r#"{"every":60,"create":{"templateID":"base","#,
            "}}",
            "/create/metadata",
            &["admin"],
        ),
    ] {
        for name in [
            "billing-code",
            "BILLING-CODE",
            r"\u0062illing-code",
            " billing-code ",
            "cube.",
            "cube.x",
            "CUBE.master.key",
            r"c\u0075be\u002ex",
            "host-mount",
            "Host-Mount",
            "coppice_tenant_id",
        ] {
            for role in roles {
                world.simulator.clear_requests();
                let metadata = format!(
                    r#""metadata":{{"{name}":"x","cube":"kept","billing-code-2":"kept","my.cube.x":"kept"}}"#
                );
                let answer = world.ask(role, Ask::post(path, format!("{before}{metadata}{after}")));
                assert!(answer.status < 300, "{role} {path} {name}: {}", answer.text());
                let expected = json!({
                    "cube": "kept", "billing-code-2": "kept", "my.cube.x": "kept", MARKER: "team-a",
                });
                assert_eq!(metadata_sent(&world, pointer), expected, "{role} {path} {name}");
            }
        }
    }
}

#[test]
fn an_open_gateway_reserves_them_too() {
    let world = World::open();
    let gateway = world.sibling(|setup| {
        setup.without("COPPICE_API_KEYS").env("COPPICE_METADATA_RESERVED", "cube.*")
    });
    let body = r#"{"templateID":"base","metadata":{"Cube.x":"1","mine":"kept","coppice_tenant_id":"team-b"}}"#;
    assert_eq!(Ask::post("/sandboxes", body).send(gateway.control()).status, 201);
    assert_eq!(metadata_sent(&world, "/metadata"), json!({"mine": "kept"}));
}

#[test]
fn what_only_looks_like_the_marker_makes_nobody_an_owner() {
    let world = World::with(Options::default(), with_strangers);
    let odd = [
        ("Coppice_Tenant_ID", "team-b"),
        ("coppice_tenant_id ", "team-b"),
        ("coppice\u{2010}tenant_id", "team-b"),
        ("c\u{43e}ppice_tenant_id", "team-b"),
        (MARKER, "Team-B"),
        (MARKER, "team-b "),
        (MARKER, " team-b"),
        (MARKER, "team-b,team-a"),
        (MARKER, "team-b\0"),
        (MARKER, "te\u{430}m-b"),
        (MARKER, "*"),
        (MARKER, ""),
    ];
    let metadata = odd.map(|(name, value)| [(name.to_owned(), value.to_owned())].into());
    let ids = world.simulator.seed(metadata);
    for (id, case) in ids.iter().zip(odd) {
        for role in ["read", "exec", "owner"] {
            for owner in [world.key(role), stranger(role)] {
                let look = Ask::get(&format!("/sandboxes/{id}")).key(&owner);
                assert_eq!(look.send(world.control()).status, 404, "{case:?}");
            }
        }
        let inside = world.ask_sandbox(id, 8080, Ask::get("/").key(&stranger("exec")));
        assert_eq!(inside.status, 404, "{case:?}");
        assert_eq!(world.ask("admin", Ask::get(&format!("/sandboxes/{id}"))).status, 200);
    }
    for path in ["/sandboxes", "/v2/sandboxes?limit=100"] {
        let listed = Ask::get(path).key(&stranger("exec")).send(world.control());
        assert_eq!(listed.text(), "[]", "{path}");
    }
}
