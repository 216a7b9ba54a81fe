//! The flow that Cube's documentation promises, against the service that the documentation prints.

use std::net::SocketAddr;

use super::{REJECTED, assert_rejected, create, world_at};
use crate::support::callback::{FastApi, Known};
use crate::support::world::key;
use crate::support::{Answer, Ask};

const ADA: Known =
    Known { key: "e2b_ada0000000000001", tenant: "team-x", user: "ada", scopes: "exec" };
const BOB: Known =
    Known { key: "e2b_b0b0000000000002", tenant: "team-y", user: "bob", scopes: "read" };
const BAD: &str = "e2b_bad0000000000003";

fn verify(address: SocketAddr, ask: Ask) -> Answer {
    ask.header("X-Request-Path", "/sandboxes")
        .header("X-Request-Method", "GET")
        .header("X-Request-Id", "id-1")
        .body("")
        .send(address)
}

#[test]
fn the_documented_service_alone() {
    let service = FastApi::start(&[ADA, BOB]);
    let ask = || Ask::new("POST", "/verify");
    let address = service.address();
    for good in [
        ask().key(ADA.key),
        ask().bearer(ADA.key),
        ask().header("authorization", format!("bearer {}", ADA.key)),
        ask().bearer(ADA.key).key(BAD),
    ] {
        let answer = verify(address, good);
        assert_eq!(answer.status, 200);
        let said = ["x-auth-tenant", "x-auth-user", "x-auth-scopes", "cache-control"];
        let said = said.map(|name| answer.header(name).unwrap());
        assert_eq!(said, ["team-x", "ada", "exec", "max-age=10"]);
    }
    let bob = verify(address, ask().key(BOB.key));
    assert_eq!(
        (bob.header("x-auth-user"), bob.header("x-auth-scopes")),
        (Some("bob"), Some("read"))
    );
    for bad in [
        ask(),
        ask().key(""),
        ask().key(BAD),
        ask().key("e2b_ada000000000000"),
        ask().key("e2b_ada00000000000011"),
        ask().key("sch\u{fc}ssel"),
        ask().bearer(BAD).key(ADA.key),
        ask().header("Authorization", "Basic cm9vdDo="),
        ask().header("Authorization", ADA.key),
    ] {
        let answer = verify(address, bad);
        assert_eq!((answer.status, answer.header("x-auth-tenant")), (401, None));
    }
    assert_eq!(Ask::get("/verify").key(ADA.key).send(address).status, 405);
    for page in ["/", "/docs", "/openapi.json"] {
        assert_eq!(Ask::get(page).send(address).status, 404, "{page}");
    }
    service.wait_for(14);
    let calls = service.calls();
    assert_eq!(calls.len(), 14, "{calls:?}");
    assert_eq!((&*calls[0], &*calls[13]), ("GET /sandboxes by ada", "GET /sandboxes by None"));
}

#[test]
fn every_credential_is_put_to_the_documented_service() {
    let service = FastApi::start(&[ADA, BOB]);
    let world = world_at(&service.url(), |setup| setup.without("COPPICE_API_KEYS"));
    let list = || Ask::get("/sandboxes");

    // Without a credential: 401, and nobody is asked. What is public is public.
    let none = list().send(world.control());
    assert_eq!((none.status, none.code().as_str()), (401, "unauthenticated"));
    assert_eq!(Ask::get("/health").send(world.control()).status, 204);
    let known = Ask::get("/auth/whoami").key(ADA.key).send(world.control());
    assert_eq!(known.status, 200);
    service.wait_for(1);
    assert_eq!(service.calls(), ["GET /auth/whoami by ada"]);

    for good in [
        list().bearer(ADA.key),
        list().key(ADA.key),
        list().bearer(ADA.key).key(BAD),
        list().header("Authorization", "Basic cm9vdDo=").key(ADA.key),
    ] {
        assert_eq!(good.send(world.control()).status, 200, "{good:?}");
    }
    for bad in [list().bearer(BAD), list().key(BAD), list().bearer(BAD).key(ADA.key)] {
        let before = world.simulator.request_count();
        assert_rejected(&bad.send(world.control()), &format!("{bad:?}"));
        assert_eq!(world.simulator.request_count(), before, "{bad:?}");
    }
    // A key of nobody's setting is no better than any other.
    assert_rejected(&list().key(&key("admin")).send(world.control()), "not a static key here");
    service.wait_for(7);
    assert_eq!(service.calls().iter().filter(|call| call.ends_with("by None")).count(), 4);
}

#[test]
fn who_the_documented_service_names_can_work() {
    let service = FastApi::start(&[ADA, BOB]);
    let world = world_at(&service.url(), |setup| setup.without("COPPICE_API_KEYS"));
    let who = Ask::get("/auth/whoami").bearer(ADA.key).send(world.control()).json();
    assert_eq!((&who["tenantID"], &who["name"]), (&"team-x".into(), &"ada".into()));
    assert_eq!((&who["source"], &who["credential"]), (&"callback".into(), &"bearer".into()));
    assert_eq!(who["authenticated"], true);

    let (id, token) = create(&world, ADA.key);
    service.wait_for(2);
    assert_eq!(service.calls()[1], "POST /v2/sandboxes by ada");
    let listed = Ask::get("/sandboxes").bearer(ADA.key).send(world.control());
    assert!(listed.text().contains(&id), "{}", listed.text());
    let list = Ask::post("/process.Process/List", "{}");
    let opened = world.ask_sandbox(&id, 49983, list.header("X-Access-Token", token));
    assert_eq!(opened.status, 200, "{}", opened.text());

    // Scopes and tenants work as for any key.
    let refused = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).key(BOB.key);
    let refused = refused.send(world.control());
    assert_eq!(refused.status, 403);
    assert_eq!(refused.json()["message"], "API key lacks required scope: exec");
    let foreign = Ask::get(&format!("/sandboxes/{id}")).key(BOB.key).send(world.control());
    assert_eq!(foreign.status, 404);
    let killed = Ask::new("DELETE", &format!("/sandboxes/{id}")).key(ADA.key);
    assert_eq!(killed.send(world.control()).status, 204);
}

#[test]
fn a_service_that_has_gone_is_no_refusal() {
    let service = FastApi::start(&[ADA]);
    let world = world_at(&service.url(), |setup| setup.without("COPPICE_API_KEYS"));
    drop(service);
    let answer = Ask::get("/sandboxes").bearer(ADA.key).send(world.control());
    assert_eq!((answer.status, answer.code().as_str()), (500, "callback_unavailable"));
    assert!(!answer.text().contains(REJECTED));
    assert!(world.simulator.requests().is_empty());
}
