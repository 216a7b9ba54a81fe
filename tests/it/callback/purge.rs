//! What an operator can have forgotten, and what ends with it.

use std::time::Duration;

use super::{as_admin, by_credential, create, identity, status, whoami, world, world_with};
use crate::support::callback::{Call, Reply, Scripted};
use crate::support::world::key;
use crate::support::{Ask, Wire, World};

/// What a purged principal's streams have left, with some allowance for a busy machine.
const SOON: Duration = Duration::from_millis(1_500);
const CACHE: &str = "/auth/callback/cache";

fn remembered(call: &Call) -> Reply {
    let reply = by_credential(call);
    if reply.number() == Some(200) { reply.max_age(60) } else { reply }
}

fn principal_of(world: &World, credential: &str) -> String {
    let id = whoami(world, credential)["keyID"].as_str().unwrap().to_owned();
    format!("/auth/callback/principals/{id}")
}

fn reload(world: &World) {
    world.gateway.signal("HUP");
    world.gateway.wait_for_log(&["\"reloaded; settings"]);
}

fn flush(world: &World) {
    assert_eq!(as_admin(world, "DELETE", CACHE).status, 204);
}

#[test]
fn everything_remembered_can_be_forgotten_at_once() {
    for forget in [flush, reload] {
        let service = Scripted::always(Reply::allow().max_age(60));
        let world = world(&service);
        for credential in ["one", "two"] {
            assert_eq!([status(&world, credential), status(&world, credential)], [200, 200]);
        }
        assert_eq!(service.count(), 2);
        service.now(Reply::status(401).max_age(60));
        assert_eq!(status(&world, "three"), 401);
        forget(&world);
        service.script(|call| Reply::status(if call.credential() == "three" { 200 } else { 401 }));
        assert_eq!(["one", "two", "three"].map(|one| status(&world, one)), [401, 401, 200]);
    }
}

#[test]
fn only_admins_can_have_it_forgotten() {
    let service = Scripted::start(remembered);
    let world = world(&service);
    let principal = principal_of(&world, "team-a.ada.exec");
    let admin = key("admin");
    for path in [CACHE, &principal] {
        for role in ["read", "exec", "owner", "other"] {
            let refused = world.ask(role, Ask::new("DELETE", path));
            assert_eq!(refused.status, 403, "{role} {path}");
        }
        let refused = Ask::new("DELETE", path).key("team-a.ada.exec").send(world.control());
        assert_eq!(refused.status, 403, "{path}");
        assert_eq!(Ask::new("DELETE", path).send(world.control()).status, 401, "{path}");
        for method in ["GET", "POST", "PUT"] {
            let ask = Ask::new(method, path).key(&admin);
            assert_eq!(ask.send(world.control()).status, 405, "{method} {path}");
        }
    }
    assert!(world.simulator.requests().is_empty());
    // One whom the service calls an admin will do.
    let ask = Ask::new("DELETE", CACHE).key("team-a.root.admin");
    assert_eq!(ask.send(world.control()).status, 204);
}

#[test]
fn what_is_no_id_is_not_found() {
    let service = Scripted::start(remembered);
    let world = world(&service);
    for id in ["nonsense", "x", "UPPER", "%2F", &"a".repeat(500)] {
        let path = format!("/auth/callback/principals/{id}");
        assert_eq!(as_admin(&world, "DELETE", &path).status, 404, "{id}");
    }
    assert_eq!(as_admin(&world, "DELETE", "/auth/callback/principals").status, 404);
    assert_eq!(as_admin(&world, "GET", "/auth/callback/nowhere").status, 404);
}

/// The call is under way when what it will say is already not to be believed any more.
#[test]
fn forgetting_wins_over_an_answer_on_its_way() {
    let purge: fn(&World) = |world| {
        let path = principal_of(world, "team-x.ada.exec");
        assert_eq!(as_admin(world, "DELETE", &path).status, 204);
    };
    for forget in [flush, reload, purge] {
        let service = Scripted::start(remembered);
        let world = world(&service);
        // So that whoami answers while calls are held.
        whoami(&world, "team-x.ada.exec");
        service.hold();
        let mut wire = Wire::open(world.control());
        let list = Ask::get("/sandboxes").key("team-x.ada.exec");
        wire.send(&list.kept_bytes(world.control()));
        service.wait_for(2);
        forget(&world);
        service.release();
        // Whether this one still passes is a matter of microseconds; what it brought must not stay.
        let first = wire.answer_to("GET").status;
        assert!(matches!(first, 200 | 401), "{first}");
        service.now(Reply::status(401));
        let before = service.count();
        assert_eq!(status(&world, "team-x.ada.exec"), 401);
        assert_eq!(service.count(), before + 1);
    }
}

fn into(sandbox: &str, ask: Ask) -> Ask {
    ask.header("E2b-Sandbox-Id", sandbox).header("E2b-Sandbox-Port", "8080")
}

/// An open stream that has begun and will not end within a test.
fn stream(world: &World, sandbox: &str, present: impl Fn(Ask) -> Ask) -> Wire {
    let mut wire = Wire::open(world.data());
    let ask = present(into(sandbox, Ask::get("/stream?chunks=100000&ms=20")));
    assert_eq!(wire.start(&ask).status, 200);
    assert_eq!(wire.chunk().unwrap(), b"chunk 0\n");
    wire
}

#[test]
fn a_purged_principal_loses_tokens_and_streams_and_nobody_else_does() {
    let service = Scripted::start(remembered);
    let world = world(&service);
    let (ada, bob) = ("team-x.ada.exec", "team-x.bob.exec");
    let (purged_id, purged_token) = create(&world, ada);
    let (other_id, other_token) = create(&world, bob);
    let principal = principal_of(&world, ada);
    assert_ne!(principal, principal_of(&world, bob));
    assert!(!principal.contains("ada"), "{principal}");

    let token = |token: &str| {
        let token = token.to_owned();
        move |ask: Ask| ask.header("E2B-Traffic-Access-Token", &token)
    };
    let mut by_key = stream(&world, &purged_id, |ask| ask.key(ada));
    let mut by_token = stream(&world, &purged_id, token(&purged_token));
    let mut of_other = stream(&world, &other_id, |ask| ask.key(bob));
    let mut of_others_token = stream(&world, &other_id, token(&other_token));
    let mut of_static = stream(&world, &other_id, |ask| ask.key(&key("admin")));

    service.now(Reply::status(401));
    assert_eq!(as_admin(&world, "DELETE", &principal).status, 204);
    by_key.until_closed(SOON);
    by_token.until_closed(SOON);
    for wire in [&mut of_other, &mut of_others_token, &mut of_static] {
        for _ in 0..20 {
            assert!(wire.chunk().unwrap().starts_with(b"chunk "));
        }
    }

    // Its answers are forgotten, its token opens nothing; the other's are untouched, and cause no call.
    assert_eq!(status(&world, ada), 401);
    let calls = service.count();
    let opened = |sandbox: &str, secret: &str| {
        token(secret)(into(sandbox, Ask::get("/any"))).send(world.data()).status
    };
    assert_eq!(opened(&purged_id, &purged_token), 401);
    assert_eq!(opened(&other_id, &other_token), 200);
    assert_eq!(service.count(), calls);
    let bob_again = Ask::get("/auth/whoami").key(bob).send(world.control());
    assert_eq!((bob_again.status, service.count()), (200, calls));
    // Purging once more changes nothing.
    assert_eq!(as_admin(&world, "DELETE", &principal).status, 204);
}

#[test]
fn whoever_was_purged_can_come_back_when_the_service_says_so() {
    let service = Scripted::start(remembered);
    let world = world_with(&service, |setup| setup.env("AUTH_CALLBACK_CACHE_BY", "credential"));
    let principal = principal_of(&world, "team-x.ada.exec");
    assert_eq!(as_admin(&world, "DELETE", &principal).status, 204);
    assert_eq!(status(&world, "team-x.ada.exec"), 200);
    assert_eq!(service.count(), 2);
}

#[test]
fn a_flush_ends_nothing_that_runs() {
    let service = Scripted::always(identity("team-x", "ada", "exec").max_age(60));
    let world = world(&service);
    let (id, token) = create(&world, "key");
    let mut open = stream(&world, &id, |ask| ask.key("key"));
    flush(&world);
    for _ in 0..20 {
        assert!(open.chunk().unwrap().starts_with(b"chunk "));
    }
    let ask = into(&id, Ask::get("/any")).header("E2B-Traffic-Access-Token", &token);
    assert_eq!(ask.send(world.data()).status, 200);
}
