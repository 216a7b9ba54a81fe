//! The receipt of Coppice's own gateway, line by line: what an operator who comes from there expects to hold.

use crate::support::{Ask, World};

#[test]
fn the_eight_lines_of_the_coppice_receipt() {
    let world = World::new();
    let (read, admin) = (world.key("read"), world.key("admin"));

    // /health is public.
    assert_eq!(Ask::get("/health").send(world.control()).status, 204);

    // /sandboxes rejects no key and a bad key with 401.
    assert_eq!(Ask::get("/sandboxes").send(world.control()).status, 401);
    assert_eq!(Ask::get("/sandboxes").key("sk-wrong").send(world.control()).status, 401);

    // /sandboxes accepts X-API-Key.
    assert_eq!(Ask::get("/sandboxes").key(&read).send(world.control()).status, 200);

    // /auth/whoami accepts Authorization: Bearer and returns the matching tenant.
    let whoami = Ask::get("/auth/whoami").bearer(&admin).send(world.control());
    assert_eq!((whoami.status, whoami.json()["tenantID"].as_str()), (200, Some("team-a")));

    // A read-only key can list sandboxes and templates but gets 403 for sandbox creation, template mutation, and envd
    // execution.
    assert_eq!(world.ask("read", Ask::get("/v2/sandboxes")).status, 200);
    assert_eq!(world.ask("read", Ask::get("/templates")).status, 200);
    let create = world.ask("read", Ask::post("/sandboxes", r#"{"templateID":"base"}"#));
    assert_eq!(create.status, 403);
    assert_eq!(create.json()["message"], "API key lacks required scope: exec");
    let template = world.ask("read", Ask::post("/v3/templates", r#"{"name":"mine"}"#));
    assert_eq!(template.json()["message"], "API key lacks required scope: admin");
    let interpreter = world.gateway.address("port=49999");
    let execute = Ask::post("/execute", r#"{"code":"1"}"#).key(&read).send(interpreter);
    assert_eq!(execute.status, 403);

    // envd /contexts is protected by the same middleware.
    assert_eq!(Ask::get("/contexts").send(interpreter).status, 401);
    assert_eq!(Ask::get("/contexts").key("sk-wrong").send(interpreter).status, 401);

    // The authenticated tenant's marker overrides what the caller wrote.
    world.simulator.clear_requests();
    let body = r#"{"templateID":"base","metadata":{"coppice_tenant_id":"team-b","mine":"kept"}}"#;
    assert_eq!(world.ask("exec", Ask::post("/sandboxes", body)).status, 201);
    let sent: serde_json::Value =
        serde_json::from_slice(&world.simulator.requests()[0].body).unwrap();
    assert_eq!(sent["metadata"]["coppice_tenant_id"], "team-a");
    assert_eq!(sent["metadata"]["mine"], "kept");

    // /audit/events is for owners and admins only, and shows them what was refused above.
    assert_eq!(Ask::get("/audit/events").send(world.control()).status, 401);
    assert_eq!(world.ask("read", Ask::get("/audit/events")).status, 403);
    let exec = world.ask("exec", Ask::get("/audit/events"));
    assert_eq!(exec.json()["message"], "API key lacks required scope: owner");
    let denied = world.ask("admin", Ask::get("/audit/events?tenantID=team-a&outcome=denied"));
    let denied = denied.json();
    let denied = denied["events"].as_array().unwrap().iter();
    let denied: Vec<_> = denied
        .map(|event| format!("{} {} {}", event["status"], event["method"], event["path"]))
        .collect();
    for refused in [
        r#"403 "POST" "/sandboxes""#,
        r#"403 "POST" "/v3/templates""#,
        r#"403 "POST" "/execute""#,
        r#"403 "GET" "/audit/events""#,
    ] {
        assert!(denied.iter().any(|event| event == refused), "{refused}: {denied:?}");
    }
}
