//! What the gateway knows of sandboxes: correct across kills, restarts, aliases, and upstreams that keep no metadata.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use coppice_gateway::simulator::{Metadata, Options, Plane};
use tempfile::TempDir;

use crate::support::gateway::Setup;
use crate::support::keys_file::KeysFile;
use crate::support::upstream::answer;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::{self, UPSTREAM_KEY, key};
use crate::support::{Ask, Gateway, Upstream, World};

fn detail(id: &str) -> Ask {
    Ask::get(&format!("/sandboxes/{id}"))
}

fn inside(id: &str) -> Ask {
    Ask::get("/health").header("E2b-Sandbox-Id", id).header("E2b-Sandbox-Port", "49983")
}

/// What a key of team-a, one of team-b and an admin's get for a look at a sandbox.
fn seen_by(gateway: &Gateway, id: &str) -> [u16; 3] {
    ["exec", "other", "admin"].map(|role| detail(id).key(&key(role)).send(gateway.control()).status)
}

#[test]
fn a_look_up_under_way_across_a_kill_is_not_remembered() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let held = Arc::clone(&gate);
    let upstream = Upstream::start(move |_, talk| {
        while let Some(head) = talk.request() {
            if head.starts_with("GET /sandboxes/") {
                let mut killed = held.0.lock().unwrap();
                if *killed {
                    talk.send(answer("404 Not Found", r#"{"code":404,"message":"gone"}"#));
                    continue;
                }
                // Found while it lived, told when it no longer does.
                while !*killed {
                    killed = held.1.wait(killed).unwrap();
                }
                let found = r#"{"sandboxID":"i1","envdAccessToken":"real","metadata":{"coppice_tenant_id":"team-a"}}"#;
                talk.send(answer("200 OK", found));
            } else if head.starts_with("DELETE ") {
                talk.send("HTTP/1.1 204 No Content\r\n\r\n");
            } else {
                talk.send(answer("200 OK", "inside"));
            }
        }
    });
    let gateway = upstream.gateway();
    let data = gateway.address("port=*");
    let waiting: Vec<_> = ["i1", "i1", "i1-client"]
        .map(|id| thread::spawn(move || inside(id).key(&key("exec")).send(data).status))
        .into_iter()
        .collect();
    let asked = |id: &str| {
        let start = format!("GET /sandboxes/{id} ");
        upstream.requests().iter().filter(|head| head.starts_with(&start)).count()
    };
    // About the second name it is also asked without what follows the dash.
    eventually("it is asked about", PATIENCE, || asked("i1") == 2 && asked("i1-client") == 1);
    let kill = Ask::new("DELETE", "/sandboxes/i1").key(&key("admin")).send(gateway.control());
    assert_eq!(kill.status, 204);
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    for waiting in waiting {
        assert_eq!(waiting.join().unwrap(), 404);
    }
    for id in ["i1", "i1-client"] {
        assert_eq!(inside(id).key(&key("exec")).send(data).status, 404, "{id}");
    }
    assert!(!upstream.requests().iter().any(|head| head.starts_with("GET /health")));
}

#[test]
fn all_names_of_a_killed_sandbox_are_gone() {
    for (role, killed) in [("exec", ""), ("exec", "-client1"), ("admin", ""), ("admin", "-client2")]
    {
        let world = World::new();
        let (id, token) = world.create("exec");
        let names = [id.clone(), format!("{id}-client1"), format!("{id}-other")];
        for name in &names {
            assert_eq!(world.ask("exec", detail(name)).status, 200);
        }
        let kill = Ask::new("DELETE", &format!("/sandboxes/{id}{killed}"));
        assert_eq!(world.ask(role, kill).status, 204);
        world.simulator.clear_requests();
        for name in &names {
            let ask = inside(name).header("X-Access-Token", &token).send(world.data());
            assert_eq!(ask.status, 502, "{name} after {role} killed {killed}");
            assert_eq!(inside(name).key(&key("exec")).send(world.data()).status, 404, "{name}");
        }
        assert!(world.reached(Plane::Data).is_empty(), "{role} {killed}");
    }
}

#[test]
fn an_answer_that_passes_by_saves_the_question() {
    let world = World::new();
    let (id, _) = world.create("exec");
    let replica = world.replica();
    assert_eq!(detail(&id).key(&key("admin")).send(replica.control()).status, 200);
    world.simulator.clear_requests();
    assert_eq!(inside(&id).key(&key("exec")).send(replica.address("port=*")).status, 204);
    assert!(world.reached(Plane::Control).is_empty());
    assert_eq!(inside(&id).key(&key("other")).send(replica.address("port=*")).status, 404);
    // Connect shows no metadata, so it must be asked whose it is, and an admin's connect makes it nobody else's.
    let stranger = world.replica();
    let connect = Ask::post(&format!("/sandboxes/{id}/connect"), r#"{"timeout":60}"#);
    assert_eq!(connect.key(&key("admin")).send(stranger.control()).status, 200);
    assert_eq!(seen_by(&stranger, &id), [200, 404, 200]);
}

#[test]
fn with_metadata_upstream_a_gateway_needs_nothing_of_its_own() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let replica = world.replica();
    assert_eq!(seen_by(&replica, &id), [200, 404, 200]);
    let opened = inside(&id).header("X-Access-Token", &token).send(replica.address("port=*"));
    assert_eq!(opened.status, 204);
    assert!(!world.gateway.log().iter().any(|line| line.contains("keeps no metadata")));
}

/// A world whose upstream does `metadata`, and whose gateway keeps its state, if at all, in a directory of this test.
fn world_of(metadata: Metadata, kept: Option<&TempDir>) -> World {
    let options = Options { metadata, ..Options::default() };
    World::with(options, |setup| with_state(setup, kept))
}

fn with_state(setup: Setup, kept: Option<&TempDir>) -> Setup {
    match kept {
        Some(kept) => setup.state_dir(kept.path()),
        None => setup,
    }
}

#[test]
fn without_metadata_upstream_the_own_record_says_whose_a_sandbox_is() {
    let kept = tempfile::tempdir().unwrap();
    let world = world_of(Metadata::Dropped, Some(&kept));
    let (id, token) = world.create("exec");
    let (theirs, _) = world.create("other");
    world.gateway.wait_for_log(&["\"WARN\"", "keeps no metadata", "in the state directory"]);
    for name in [id.clone(), format!("{id}-client")] {
        assert_eq!(seen_by(&world.gateway, &name), [200, 404, 200], "{name}");
    }
    assert_eq!(seen_by(&world.gateway, &theirs), [404, 200, 200]);

    // A replica with nothing of its own takes it for nobody's, and so does a token.
    let stranger = world.replica();
    assert_eq!(seen_by(&stranger, &id), [404, 404, 200]);
    let opened = inside(&id).header("X-Access-Token", &token);
    assert_eq!(opened.send(stranger.address("port=*")).status, 404);

    // Killed without warning and started again.
    world.gateway.kill();
    let again = world.sibling(|setup| with_state(setup, Some(&kept)));
    assert_eq!(seen_by(&again, &id), [200, 404, 200]);
    assert_eq!(seen_by(&again, &theirs), [404, 200, 200]);
    assert_eq!(opened.send(again.address("port=*")).status, 204);

    let kill = Ask::new("DELETE", &format!("/sandboxes/{id}")).key(&key("exec"));
    assert_eq!(kill.send(again.control()).status, 204);
    let record = std::fs::read_to_string(kept.path().join("ownership")).unwrap();
    assert!(record.lines().last().unwrap().starts_with(&format!("{id}\t\t")), "{record}");
    let warnings = again.log().into_iter().filter(|line| line.contains("keeps no metadata"));
    assert_eq!(warnings.count(), 0, "this one has made nothing, so it has missed nothing");
}

#[test]
fn without_a_state_directory_it_says_that_a_restart_forgets() {
    let world = world_of(Metadata::Dropped, None);
    let (id, _) = world.create("exec");
    world.gateway.wait_for_log(&["\"WARN\"", "keeps no metadata", "a restart forgets"]);
    let (second, _) = world.create("exec");
    assert_eq!(seen_by(&world.gateway, &id), [200, 404, 200]);
    assert_eq!(seen_by(&world.gateway, &second), [200, 404, 200]);
    let warnings =
        world.gateway.log().into_iter().filter(|line| line.contains("keeps no metadata"));
    assert_eq!(warnings.count(), 1);
    assert_eq!(seen_by(&world.replica(), &id), [404, 404, 200]);
}

#[test]
fn forks_stay_their_tenants_where_the_upstream_copies_no_metadata() {
    for metadata in [Metadata::Kept, Metadata::KeptButNotForked, Metadata::Dropped] {
        let kept = tempfile::tempdir().unwrap();
        let world = world_of(metadata, Some(&kept));
        let (id, _) = world.create("exec");
        for role in ["exec", "admin"] {
            let fork = Ask::post(&format!("/sandboxes/{id}/fork"), r#"{"count":2}"#);
            let forks = world.ask(role, fork);
            assert_eq!(forks.status, 201, "{}", forks.text());
            let restarted = world.sibling(|setup| with_state(setup, Some(&kept)));
            for fork in forks.json().as_array().unwrap() {
                let id = fork["sandbox"]["sandboxID"].as_str().unwrap();
                for gateway in [&world.gateway, &restarted] {
                    assert_eq!(seen_by(gateway, id), [200, 404, 200], "{metadata:?} {role}");
                }
            }
        }
    }
}

#[test]
fn an_old_record_is_nothing_against_a_marker() {
    let kept = tempfile::tempdir().unwrap();
    let world = World::new();
    let (id, _) = world.create("exec");
    std::fs::write(kept.path().join("ownership"), format!("{id}\tteam-b\t1\n")).unwrap();
    let gateway = world.sibling(|setup| with_state(setup, Some(&kept)));
    assert_eq!(seen_by(&gateway, &id), [200, 404, 200]);
}

#[test]
fn a_state_file_that_cannot_be_read_stops_the_start() {
    let kept = tempfile::tempdir().unwrap();
    std::fs::create_dir(kept.path().join("ownership")).unwrap();
    let setup = world::setup_before("http://127.0.0.1:9", "http://127.0.0.1:9")
        .env("COPPICE_API_KEYS", world::key_list());
    let (status, text) = with_state(setup, Some(&kept)).run();
    assert!(!status.success() && text.contains("state directory"), "{text}");
}

#[test]
fn a_token_of_an_admin_that_is_none_any_more_opens_no_unmarked_sandbox() {
    let secret = "e2b_1111111111111111111111111111111111111111";
    let file = KeysFile::new(&format!("team-a:{secret}:admin"));
    let world = file.world();
    let upstream = world.simulator.api_url().trim_start_matches("http://").parse().unwrap();
    let made = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).key(UPSTREAM_KEY);
    let id = made.send(upstream).json()["sandboxID"].as_str().unwrap().to_owned();
    let shown = detail(&id).key(secret).send(world.control()).json();
    let token = shown["envdAccessToken"].as_str().unwrap();
    let open = || inside(&id).header("X-Access-Token", token).send(world.data()).status;
    assert_eq!(open(), 204);
    file.reload(&world.gateway, &format!("team-a:{secret}:exec"));
    assert_eq!(open(), 404);
    assert_eq!(detail(&id).key(secret).send(world.control()).status, 404);
}

#[test]
fn pauses_and_resumes_lose_no_token() {
    let world = World::new();
    let body = r#"{"templateID":"base","timeout":300,"network":{"allowPublicTraffic":false}}"#;
    let made = world.ask("exec", Ask::post("/v2/sandboxes", body)).json();
    let id = made["sandboxID"].as_str().unwrap();
    let open = || world.ask_sandbox(id, 8080, Ask::get("/").key(&key("exec"))).status;
    assert_eq!(open(), 200);
    for wake in ["resume", "connect"] {
        let pause = Ask::post(&format!("/sandboxes/{id}/pause"), "{}");
        assert_eq!(world.ask("exec", pause).status, 204);
        let wake = Ask::post(&format!("/sandboxes/{id}/{wake}"), r#"{"timeout":300}"#);
        assert_eq!(world.ask("exec", wake).status, 201);
        assert_eq!(world.ask("exec", detail(id)).status, 200);
        assert_eq!(open(), 200);
    }
}
