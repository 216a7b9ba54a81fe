//! What the service is told of a request: this, exactly, and nothing that a client could have made up.

use std::collections::BTreeSet;

use super::{world, world_at, world_with};
use crate::support::callback::{Call, Reply, Scripted};
use crate::support::world::{DOMAIN, key};
use crate::support::{Ask, World};

/// What a careless gateway would pass on.
const FORGED: [&str; 22] = [
    "X-Request-Path",
    "X-Request-Method",
    "X-Request-Host",
    "X-Request-Ip",
    "X-Request-Query",
    "X_Request_Path",
    "X-Auth-Tenant",
    "X-Auth-User",
    "X-Auth-Scopes",
    "X-Auth-Max-Sandboxes",
    "X-Auth-Expires",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "Forwarded",
    "X-Real-IP",
    "X-Coppice-Tenant",
    "X-Team-ID",
    "Cookie",
    "User-Agent",
    "X-HTTP-Method-Override",
];

/// The names of all that was sent, without what any HTTP client may add.
fn names(call: &Call) -> BTreeSet<String> {
    let names = call.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    names.filter(|name| !matches!(name.as_str(), "accept" | "user-agent")).collect()
}

fn asked_of(world: &World, service: &Scripted, ask: Ask) -> (Call, String) {
    let before = service.count();
    let answer = ask.send(world.control());
    // The upstream may not know the place.
    assert!(matches!(answer.status, 200 | 404), "{ask:?}: {}", answer.text());
    let calls = service.calls();
    assert_eq!(calls.len(), before + 1, "{ask:?}");
    (calls[before].clone(), answer.header("x-request-id").unwrap().to_owned())
}

#[test]
fn the_service_hears_this_and_nothing_else() {
    let service = Scripted::always(Reply::allow());
    let url = service.url().replace("http://", "http://user:canary@") + "?tok=canary&x=%2F";
    let world = world_at(&url, |setup| setup);
    for (ask, credential) in [
        (Ask::get("/cubeapi/v1/sandboxes?state=running&x=1").key("key-1"), "x-api-key"),
        (Ask::get("/cubeapi/v1/sandboxes").bearer("key-1"), "authorization"),
        (
            Ask::get("/cubeapi/v1/sandboxes").header("authorization", "bEARER \t key-1"),
            "authorization",
        ),
        (Ask::get("/cubeapi/v1/sandboxes").bearer("key-1").key("key-2"), "authorization"),
        (
            Ask::get("/cubeapi/v1/sandboxes").header("Authorization", "Basic a").key("key-1"),
            "x-api-key",
        ),
    ] {
        let ask = FORGED.iter().fold(ask, |ask, name| ask.header(name, "forged"));
        let ask = ask.host(&format!("api.{DOMAIN}"));
        let (call, id) = asked_of(&world, &service, ask);
        assert_eq!((&*call.method, &*call.target), ("POST", "/verify?tok=canary&x=%2F"));
        let expected = [
            credential,
            "content-length",
            "host",
            "x-request-host",
            "x-request-id",
            "x-request-ip",
            "x-request-method",
            "x-request-path",
        ];
        assert_eq!(names(&call), expected.map(str::to_owned).into(), "{call:?}");
        let host = service.address().to_string();
        let domain = format!("api.{DOMAIN}");
        let value = if credential == "x-api-key" { "key-1" } else { "Bearer key-1" };
        for (name, value) in [
            (credential, value),
            ("content-length", "0"),
            ("host", &host),
            ("x-request-path", "/cubeapi/v1/sandboxes"),
            ("x-request-method", "GET"),
            ("x-request-host", &domain),
            ("x-request-ip", "127.0.0.1"),
            ("x-request-id", &id),
        ] {
            assert_eq!(call.header(name), Some(value), "{name}: {call:?}");
        }
        let raw = String::from_utf8(call.raw).unwrap();
        assert!(raw.ends_with("\r\n\r\n"), "a body: {raw}");
        assert!(!raw.contains("forged") && !raw.contains("key-2"), "{raw}");
    }
}

#[test]
fn the_id_is_the_one_that_everybody_else_sees() {
    let service = Scripted::always(Reply::allow());
    let world = world(&service);
    let ask = Ask::get("/sandboxes").key("key").header("X-Request-Id", "chosen-by-the-client");
    let (call, id) = asked_of(&world, &service, ask);
    assert_eq!(call.header("x-request-id"), Some(id.as_str()));
    let requests = world.simulator.requests();
    assert_eq!(requests[0].header("x-request-id"), Some(id.as_str()));
}

#[test]
fn paths_and_methods_are_told_as_they_were_sent() {
    let service = Scripted::always(Reply::allow());
    let world = world(&service);
    let (id, _) = world.create("exec");
    for (method, path) in [
        ("GET", "/templates/team%2Fname"),
        ("HEAD", "/sandboxes"),
        ("DELETE", "/templates/none"),
        ("PATCH", "/templates/none?x=1"),
        ("PROPFIND", "/nowhere/at-all"),
    ] {
        let before = service.count();
        Ask::new(method, path).key("key").send(world.control());
        let calls = service.calls();
        assert_eq!(calls.len(), before + 1, "{method} {path}");
        let call = &calls[before];
        assert_eq!(call.header("x-request-method"), Some(method));
        assert_eq!(call.path(), path.split('?').next().unwrap());
    }
    for (port, path) in
        [(49983, "/process.Process/List"), (49999, "/contexts"), (8080, "/a/../b//c")]
    {
        let before = service.count();
        let host = format!("{port}-{id}.{DOMAIN}");
        let ask = Ask::post(path, "{}").host(&host).key("key");
        assert!(ask.send(world.data()).status < 500, "{port}");
        let calls = service.calls();
        assert_eq!(calls.len(), before + 1, "{port}");
        assert_eq!(calls[before].path(), path);
        assert_eq!(calls[before].header("x-request-host"), Some(host.as_str()));
    }
}

#[test]
fn the_address_is_the_clients_behind_a_trusted_proxy_and_only_there() {
    let service = Scripted::always(Reply::allow());
    let ask = || Ask::get("/sandboxes").key("key").header("X-Forwarded-For", "203.0.113.7");
    let world = world(&service);
    let (call, _) = asked_of(&world, &service, ask());
    assert_eq!(call.header("x-request-ip"), Some("127.0.0.1"));
    let world = world_with(&service, |setup| setup.flag("--trusted-proxies=127.0.0.1/32"));
    let (call, _) = asked_of(&world, &service, ask());
    assert_eq!(call.header("x-request-ip"), Some("203.0.113.7"));
}

#[test]
fn nobody_is_asked_where_there_is_nothing_to_ask() {
    let service = Scripted::always(Reply::allow());
    let world = world(&service);
    let get = || Ask::get("/sandboxes");
    let long = "a".repeat(4097);
    for (ask, expected) in [
        // No credential, or one that nobody could have.
        (get(), 401),
        (get().key(""), 401),
        (get().header("Authorization", "Bearer "), 401),
        (get().header("Authorization", "Basic cm9vdDo="), 401),
        (get().header("Cookie", "key"), 401),
        (get().key(&long), 401),
        (get().bearer(&long), 401),
        (get().key("sch\u{fc}ssel"), 401),
        (get().bearer("two words"), 401),
        (get().header("X-API-Key", b"\xff"), 401),
        (Ask::get("/sandboxes?api_key=key"), 401),
        // Two of them.
        (get().key("key").key("key"), 400),
        (get().bearer("key").bearer("key"), 400),
        // Requests that are refused whoever sends them.
        (Ask::get("//sandboxes").key("key"), 400),
        (Ask::get("/sandboxes/../x").key("key"), 400),
        (Ask::new("TRACE", "/sandboxes").key("key"), 405),
        // What is public.
        (Ask::get("/health").key("key"), 204),
        // A key of the settings.
        (get().key(&key("read")), 200),
        (get().bearer(&key("admin")), 200),
        (get().bearer(&key("read")).key("key"), 200),
        (Ask::new("DELETE", "/templates/t").key(&key("read")), 403),
    ] {
        let answer = ask.send(world.control());
        assert_eq!(answer.status, expected, "{ask:?}: {}", answer.text());
        assert_eq!(service.count(), 0, "{ask:?}");
    }
    assert_eq!(service.connections(), 0);
    // The longest one there may be.
    assert_eq!(get().key(&long[1..]).send(world.control()).status, 200);
    assert_eq!(service.calls()[0].credential(), &long[1..]);
}
