//! Sandbox tokens and signed URLs of those whom the service vouches for: good without asking anybody.

use std::net::SocketAddr;

use super::{by_credential, create, identity, world};
use crate::signed::{encode, sign};
use crate::support::callback::{Reply, Scripted};
use crate::support::world::{DOMAIN, key};
use crate::support::{Ask, World};

fn list_processes(token: &str) -> Ask {
    Ask::post("/process.Process/List", "{}").header("X-Access-Token", token)
}

fn on(address: SocketAddr, id: &str, ask: Ask) -> u16 {
    ask.header("E2b-Sandbox-Id", id).header("E2b-Sandbox-Port", "49983").send(address).status
}

/// A service that has answered for somebody and from now on fails.
fn made(service: &Scripted) -> (World, String, String) {
    let world = world(service);
    let (id, token) = create(&world, "team-x.ada.exec");
    service.now(Reply::Reset);
    (world, id, token)
}

#[test]
fn a_token_opens_its_sandbox_and_nobody_is_asked() {
    let service = Scripted::start(by_credential);
    let (world, id, token) = made(&service);
    let (foreign, _) = world.create("exec");
    let calls = service.count();
    for _ in 0..10 {
        assert_eq!(on(world.data(), &id, list_processes(&token)), 200);
    }
    assert_eq!(on(world.data(), &foreign, list_processes(&token)), 404);
    assert_eq!(on(world.data(), &id, list_processes(&format!("{token}x"))), 401);
    assert_eq!(service.count(), calls);
    // The credential itself is another matter.
    let by_key = Ask::post("/process.Process/List", "{}").key("team-x.ada.exec");
    assert_eq!(on(world.data(), &id, by_key), 500);
    assert!(service.count() > calls);
}

#[test]
fn a_token_opens_its_sandbox_on_a_replica() {
    let service = Scripted::start(by_credential);
    let (world, id, token) = made(&service);
    let calls = service.count();
    let replica = world.sibling(|setup| setup.env("AUTH_CALLBACK_URL", service.url()));
    assert_eq!(on(replica.address("port=*"), &id, list_processes(&token)), 200);
    assert_eq!(service.count(), calls);
    // Where nobody vouches for callback principals, none of their tokens is good.
    let without = world.sibling(|setup| setup);
    assert_eq!(on(without.address("port=*"), &id, list_processes(&token)), 401);
}

#[test]
fn a_token_does_not_outlive_its_sandbox() {
    let service = Scripted::start(by_credential);
    let world = world(&service);
    let (id, token) = create(&world, "team-x.ada.exec");
    let killed = Ask::new("DELETE", &format!("/sandboxes/{id}")).key(&key("admin"));
    assert_eq!(killed.send(world.control()).status, 204);
    assert_eq!(on(world.data(), &id, list_processes(&token)), 502);
}

#[test]
fn the_credential_opens_a_sandbox_and_goes_no_further() {
    let service = Scripted::always(identity("team-x", "ada", "exec").max_age(60));
    let world = world(&service);
    let (id, _) = create(&world, "ada-s-secret");
    world.simulator.clear_requests();
    for port in [49_983, 49_999, 8080] {
        for ask in
            [Ask::get("/health").key("ada-s-secret"), Ask::get("/health").bearer("ada-s-secret")]
        {
            assert!(world.ask_sandbox(&id, port, ask).status < 300, "{port}");
        }
    }
    let seen = world.simulator.requests();
    assert_eq!(seen.len(), 6);
    assert!(!format!("{seen:?}").contains("ada-s-secret"), "{seen:?}");
}

#[test]
fn a_signed_url_is_good_where_its_token_was_handed_out() {
    let service = Scripted::start(by_credential);
    let (world, id, token) = made(&service);
    let calls = service.count();
    let host = format!("49983-{id}.{DOMAIN}");
    let query = |operation: &str, token: &str| {
        let signature = encode(&sign("/home/user/a", operation, "user", token, None));
        format!("/files?path=%2Fhome%2Fuser%2Fa&username=user&signature={signature}")
    };
    let write = Ask::new("POST", &query("write", &token))
        .header("Content-Type", "application/octet-stream")
        .body("content");
    assert_eq!(write.host(&host).send(world.control()).status, 200);
    let read = Ask::get(&query("read", &token)).host(&host).send(world.control());
    assert_eq!((read.status, read.text().as_str()), (200, "content"));
    for wrong in [query("write", &token), query("read", &format!("{token}x"))] {
        assert_eq!(Ask::get(&wrong).host(&host).send(world.control()).status, 401);
    }
    assert_eq!(service.count(), calls);
}
