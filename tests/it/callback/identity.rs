//! Whom an answer names, and what follows from that: scopes, tenants, limits and expiry as for any key.

use std::time::{Duration, Instant};

use coppice_gateway::clock::UnixTime;
use serde_json::json;

use super::{assert_rejected, by_credential, create, identity, status, whoami, world, world_with};
use crate::support::Ask;
use crate::support::callback::{Reply, Scripted};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::key;

#[test]
fn an_answer_names_tenant_user_scopes_limit_and_end() {
    let service = Scripted::always(Reply::allow());
    let world = world(&service);
    for (number, scopes) in
        ["exec|read", "exec,read", "read|exec", " exec , read ", "exec, exec|read"]
            .iter()
            .enumerate()
    {
        let named = identity("team-x", "ada@example.com", scopes)
            .with("X-Auth-Max-Sandboxes", "3")
            .with("X-Auth-Expires", "2099-12-31T23:59:59Z");
        service.now(named);
        let key = format!("key-{number}");
        let who = whoami(&world, &key);
        let seen = ["tenantID", "name", "scopes", "effectiveScopes", "source", "expiresAt"];
        let seen = seen.map(|name| who[name].clone());
        let both = json!(["exec", "read"]);
        let expected = [
            json!("team-x"),
            json!("ada@example.com"),
            both.clone(),
            both,
            json!("callback"),
            json!("2099-12-31T23:59:59Z"),
        ];
        assert_eq!(seen, expected, "{scopes}");
        assert_eq!(who["limits"]["maxSandboxes"], 3, "{who}");
        assert_eq!(who["authenticated"], true);
        let id = who["keyID"].as_str().unwrap();
        assert!(!id.is_empty() && !key.contains(id) && !id.contains("ada"), "{id}");
    }
}

#[test]
fn an_answer_that_names_nobody_means_the_default() {
    let service = Scripted::always(Reply::allow());
    let empty = identity("", "", "").with("X-Auth-Max-Sandboxes", "").with("X-Auth-Expires", "");
    let plain = world(&service);
    let guests = world_with(&service, |setup| {
        setup
            .env("AUTH_CALLBACK_DEFAULT_TENANT", "guests")
            .env("AUTH_CALLBACK_DEFAULT_NAME", "somebody")
            .env("AUTH_CALLBACK_DEFAULT_SCOPES", "read")
    });
    for reply in [Reply::allow(), empty] {
        service.now(reply);
        let who = whoami(&plain, "key");
        assert_eq!((&who["tenantID"], &who["name"]), (&json!("callback"), &json!("callback")));
        assert_eq!(who["scopes"], json!(["admin", "exec", "owner", "read"]));
        assert_eq!((&who["source"], &who["expiresAt"]), (&json!("callback"), &json!(null)));

        let who = whoami(&guests, "key");
        assert_eq!((&who["tenantID"], &who["name"]), (&json!("guests"), &json!("somebody")));
        assert_eq!(who["scopes"], json!(["read"]));
        let refused = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).key("key");
        assert_eq!(refused.send(guests.control()).status, 403);
    }
    // What the answer does say counts, beside the default for the rest.
    service.now(Reply::allow().with("X-Auth-User", "ada"));
    let who = whoami(&guests, "key");
    assert_eq!((&who["tenantID"], &who["name"]), (&json!("guests"), &json!("ada")));
    assert_eq!(who["scopes"], json!(["read"]));
}

#[test]
fn nonsense_in_an_answer_is_a_failure_and_never_a_guess() {
    let service = Scripted::always(Reply::allow());
    // At DEBUG no line is left out because others are like it.
    let world = world_with(&service, |setup| setup.env("COPPICE_LOG", "debug"));
    let long = "t".repeat(129);
    let nonsense = [
        ("X-Auth-Scopes", "root"),
        ("X-Auth-Scopes", "exec|root"),
        ("X-Auth-Scopes", "ADMIN"),
        ("X-Auth-Scopes", "exec read"),
        ("X-Auth-Scopes", "*"),
        ("X-Auth-Tenant", "*"),
        ("X-Auth-Tenant", "team a"),
        ("X-Auth-Tenant", "team,a"),
        ("X-Auth-Tenant", "team=a"),
        ("X-Auth-Tenant", "team:a"),
        ("X-Auth-Tenant", "t\u{e9}am"),
        ("X-Auth-Tenant", &long),
        ("X-Auth-Max-Sandboxes", "-1"),
        ("X-Auth-Max-Sandboxes", "three"),
        ("X-Auth-Max-Sandboxes", "1.5"),
        ("X-Auth-Max-Sandboxes", "99999999999999999999"),
        ("X-Auth-Expires", "tomorrow"),
        ("X-Auth-Expires", "2099-13-01T00:00:00Z"),
        ("X-Auth-Expires", "4102444800"),
    ];
    for (number, (name, value)) in nonsense.iter().enumerate() {
        service.now(Reply::allow().with(name, value).max_age(60));
        let before = service.count();
        for _ in 0..2 {
            let answer = Ask::get("/sandboxes").key(&format!("key-{number}")).send(world.control());
            let seen = (answer.status, answer.code());
            assert_eq!(seen, (500, "callback_unavailable".to_owned()), "{name}: {value}");
            let id = answer.header("x-request-id").unwrap();
            world.gateway.wait_for_log(&[id]);
        }
        assert_eq!(service.count(), before + 2, "{name}: {value} was remembered");
    }
    // The same thing said twice is said by nobody knows whom.
    for (name, value) in [
        ("X-Auth-Tenant", "team-x"),
        ("X-Auth-User", "ada"),
        ("X-Auth-Scopes", "read"),
        ("X-Auth-Max-Sandboxes", "3"),
        ("X-Auth-Expires", "2099-01-01T00:00:00Z"),
    ] {
        service.now(Reply::allow().with(name, value).with(name, value));
        assert_eq!(status(&world, "twice"), 500, "{name}");
    }
    assert!(world.simulator.requests().is_empty());
}

#[test]
fn tenants_are_kept_apart_whoever_vouches_for_them() {
    let service = Scripted::start(by_credential);
    let world = world(&service);
    let (id, _) = create(&world, "team-a.ada.exec");
    let made = world.simulator.requests().into_iter().find(|request| request.method == "POST");
    let made = made.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&made.body).unwrap();
    assert_eq!(body["metadata"]["coppice_tenant_id"], "team-a");
    for (name, value) in [("tenant", "team-a"), ("principal", "ada"), ("scopes", "exec")] {
        assert_eq!(made.header(&format!("x-coppice-{name}")), Some(value));
    }
    assert!(!format!("{made:?}").contains("team-a.ada"), "{made:?}");

    let path = format!("/sandboxes/{id}");
    for (credential, expected) in [
        ("team-a.ada.exec", 200),
        ("team-a.someone-else.read", 200),
        (&key("exec"), 200),
        ("team-b.ada.exec", 404),
        ("team-b.bob.owner", 404),
        (&key("other"), 404),
        ("team-b.root.admin", 200),
    ] {
        let answer = Ask::get(&path).key(credential).send(world.control());
        assert_eq!(answer.status, expected, "{credential}");
        let inside = world.ask_sandbox(&id, 8080, Ask::get("/any").key(credential));
        let expected = if credential.ends_with("read") { 403 } else { expected };
        assert_eq!(inside.status, expected, "{credential}");
    }
    // One user of two tenants is two principals, and two users of one tenant are.
    let ids = ["team-a.ada.exec", "team-b.ada.exec", "team-a.bob.exec"]
        .map(|credential| whoami(&world, credential)["keyID"].clone());
    assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2], "{ids:?}");
}

#[test]
fn what_is_remembered_is_who_and_never_what_they_may() {
    let service = Scripted::always(identity("team-x", "ada", "read").max_age(60));
    let world = world_with(&service, |setup| setup.env("AUTH_CALLBACK_CACHE_BY", "credential"));
    let (other, _) = world.create("exec");
    assert_eq!(status(&world, "key"), 200);
    world.simulator.clear_requests();
    for (ask, scope) in [
        (Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#), "exec"),
        (Ask::new("DELETE", &format!("/sandboxes/{other}")), "exec"),
        (Ask::get("/nodes"), "admin"),
        (Ask::new("DELETE", "/auth/callback/cache"), "admin"),
    ] {
        let ask = ask.key("key");
        let refused = ask.send(world.control());
        assert_eq!(refused.status, 403, "{ask:?}");
        let message = format!("API key lacks required scope: {scope}");
        assert_eq!(refused.json()["message"], message, "{ask:?}");
    }
    let foreign = Ask::get(&format!("/sandboxes/{other}")).key("key").send(world.control());
    assert_eq!(foreign.status, 404);
    assert_eq!(service.count(), 1);
}

#[test]
fn an_identity_ends_when_it_says_even_while_it_is_remembered() {
    let service = Scripted::always(Reply::allow());
    let world = world(&service);
    let ending = |seconds: u64| {
        let end = UnixTime(UnixTime::now().0 + seconds);
        identity("team-x", "ada", "exec").max_age(60).with("X-Auth-Expires", &end.to_string())
    };
    let since = Instant::now();
    service.now(ending(2));
    assert_eq!(status(&world, "key"), 200);
    service.now(Reply::status(401));
    eventually("it has ended", PATIENCE, || status(&world, "key") == 401);
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());

    // One that has ended before is nobody's any more.
    service.now(identity("team-x", "ada", "exec").with("X-Auth-Expires", "2020-01-01T00:00:00Z"));
    let late = Ask::get("/sandboxes").key("late").send(world.control());
    assert_eq!(late.status, 401, "{}", late.text());
    service.now(Reply::status(401));
    assert_rejected(&Ask::get("/sandboxes").key("no").send(world.control()), "no");
}
