//! What an operator can have forgotten, and what ends with it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{as_admin, by_credential, create, identity, status, whoami, world, world_with};
use crate::support::callback::{Call, Reply, Scripted};
use crate::support::gateway::Setup;
use crate::support::world::key;
use crate::support::{Ask, Wire, World};

/// What a purged principal's streams have left, with some allowance for a busy machine.
const SOON: Duration = Duration::from_millis(1_500);
const ADA: &str = "team-x.ada.exec";
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
    world.gateway.reload();
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
    for id in ["nonsense", "x", "UPPER", &"a".repeat(500)] {
        let path = format!("/auth/callback/principals/{id}");
        assert_eq!(as_admin(&world, "DELETE", &path).status, 404, "{id}");
    }
    assert_eq!(as_admin(&world, "DELETE", "/auth/callback/principals").status, 404);
    assert_eq!(as_admin(&world, "GET", "/auth/callback/nowhere").status, 404);
}

/// The service says yes to the first listing and no to every later one. What it says is forgotten while that yes is on
/// its way.
#[test]
fn forgetting_wins_over_an_answer_on_its_way() {
    let purge: fn(&World) = |world| {
        let path = principal_of(world, ADA);
        assert_eq!(as_admin(world, "DELETE", &path).status, 204);
    };
    for forget in [flush, reload, purge] {
        let listings = AtomicUsize::new(0);
        let service = Scripted::start(move |call| {
            let is_late =
                call.path() == "/sandboxes" && listings.fetch_add(1, Ordering::SeqCst) > 0;
            if is_late { Reply::status(401) } else { remembered(call) }
        });
        let world = world(&service);
        // So that whoami answers while calls are held.
        whoami(&world, ADA);
        service.hold();
        let mut wire = Wire::open(world.control());
        let list = Ask::get("/sandboxes").key(ADA);
        wire.send(&list.kept_bytes(world.control()));
        service.wait_for(2);
        forget(&world);
        service.release();
        assert_eq!(wire.answer_to("GET").status, 401, "asked again, or refused for good");
        assert_eq!(status(&world, ADA), 401);
    }
}

fn into(sandbox: &str, ask: Ask) -> Ask {
    ask.header("E2b-Sandbox-Id", sandbox).header("E2b-Sandbox-Port", "8080")
}

/// What becomes of a request into a sandbox with this token.
fn opened(world: &World, sandbox: &str, token: &str) -> u16 {
    let ask = into(sandbox, Ask::get("/any")).header("E2B-Traffic-Access-Token", token);
    ask.send(world.data()).status
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
    let (ada, bob) = (ADA, "team-x.bob.exec");
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
    assert_eq!(opened(&world, &purged_id, &purged_token), 401);
    assert_eq!(opened(&world, &other_id, &other_token), 200);
    assert_eq!(service.count(), calls);
    let bob_again = Ask::get("/auth/whoami").key(bob).send(world.control());
    assert_eq!((bob_again.status, service.count()), (200, calls));
    // Purging once more changes nothing.
    assert_eq!(as_admin(&world, "DELETE", &principal).status, 204);
}

#[test]
fn whoever_was_purged_can_come_back_but_no_token_does() {
    let service = Scripted::start(remembered);
    let world = world_with(&service, |setup| setup.env("AUTH_CALLBACK_CACHE_BY", "credential"));
    let (id, token) = create(&world, ADA);
    let principal = principal_of(&world, ADA);
    assert_eq!(service.count(), 1);
    assert_eq!(as_admin(&world, "DELETE", &principal).status, 204);
    let detail = Ask::get(&format!("/sandboxes/{id}")).key(ADA).send(world.control());
    assert_eq!((detail.status, service.count()), (200, 2));
    let json = detail.json();
    let fresh = json["envdAccessToken"].as_str().unwrap();
    assert_ne!(fresh, token);
    assert_eq!([opened(&world, &id, &token), opened(&world, &id, fresh)], [401, 200]);
}

#[test]
fn a_purge_outlives_a_restart_where_there_is_a_place_to_keep_it() {
    let folder = tempfile::tempdir().unwrap();
    let keep = |setup: Setup| setup.env("COPPICE_STATE_DIR", folder.path().to_str().unwrap());
    let service = Scripted::start(remembered);
    let world = world_with(&service, keep);
    let (purged, kept) = (create(&world, ADA), create(&world, "team-x.bob.exec"));
    assert_eq!(as_admin(&world, "DELETE", &principal_of(&world, ADA)).status, 204);
    let url = service.url();
    let restarted = world.sibling(|setup| keep(setup).env("AUTH_CALLBACK_URL", &*url));
    let opened = |(id, token): &(String, String)| {
        let ask = into(id, Ask::get("/any")).header("E2B-Traffic-Access-Token", token);
        ask.send(restarted.address("port=*")).status
    };
    assert_eq!([opened(&purged), opened(&kept)], [401, 200]);
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
    assert_eq!(opened(&world, &id, &token), 200);
}
