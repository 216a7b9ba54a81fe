//! What becomes of open streams, tunnels and uploads when keys are reloaded: those of a removed key end, all others go
//! on.

use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::support::keys_file::KeysFile;
use crate::support::upstream::{Upstream, answer};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::key;
use crate::support::{Answer, Ask, Wire, World};

/// What a removed key's streams have left, with some allowance for a busy machine.
const SOON: Duration = Duration::from_millis(1_500);

const KEYS: &str = "team-a:k-removed:exec";
const LATER: &str = "team-a:k-later:exec";

fn into(sandbox: &str, ask: Ask, key: &str) -> Ask {
    ask.key(key).header("E2b-Sandbox-Id", sandbox).header("E2b-Sandbox-Port", "8080")
}

/// An open stream that has begun and will not end within a test.
fn stream(world: &World, sandbox: &str, key: &str) -> Wire {
    let mut wire = Wire::open(world.data());
    let answer = wire.start(&into(sandbox, Ask::get("/stream?chunks=100000&ms=20"), key));
    assert_eq!(answer.status, 200);
    assert_eq!(wire.chunk().unwrap(), b"chunk 0\n");
    wire
}

#[test]
fn a_stream_ends_with_its_key_and_with_no_other() {
    let file = KeysFile::new(KEYS);
    let world = file.world();
    let (sandbox, _) = world.create("exec");
    let mut removed = stream(&world, &sandbox, "k-removed");
    let mut unchanged = stream(&world, &sandbox, &key("exec"));
    file.reload(&world.gateway, LATER);
    removed.until_closed(SOON);
    for _ in 0..20 {
        assert!(unchanged.chunk().unwrap().starts_with(b"chunk "));
    }
    // And through more reloads, of which one tells nothing new.
    file.reload(&world.gateway, LATER);
    file.reload(&world.gateway, KEYS);
    for _ in 0..20 {
        assert!(unchanged.chunk().unwrap().starts_with(b"chunk "));
    }
}

#[test]
fn a_stream_ends_with_the_key_of_its_sandbox_token() {
    let file = KeysFile::new(KEYS);
    let world = file.world();
    let create = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).key("k-removed");
    let created = create.send(world.control()).json();
    let (id, token) = (&created["sandboxID"], &created["trafficAccessToken"]);
    let ask = Ask::get("/stream?chunks=100000&ms=20")
        .header("E2B-Traffic-Access-Token", token.as_str().unwrap())
        .header("E2b-Sandbox-Id", id.as_str().unwrap())
        .header("E2b-Sandbox-Port", "8080");
    let mut wire = Wire::open(world.data());
    assert_eq!(wire.start(&ask).status, 200);
    assert_eq!(wire.chunk().unwrap(), b"chunk 0\n");
    file.reload(&world.gateway, LATER);
    wire.until_closed(SOON);
}

#[test]
fn an_idle_stream_ends_too() {
    let file = KeysFile::new(KEYS);
    let world = file.world();
    let (sandbox, _) = world.create("exec");
    let mut wire = Wire::open(world.data());
    let ask = into(&sandbox, Ask::get("/stream?chunks=2&ms=600000"), "k-removed");
    assert_eq!(wire.start(&ask).status, 200);
    assert_eq!(wire.chunk().unwrap(), b"chunk 0\n");
    let aborted = world.simulator.aborted();
    file.reload(&world.gateway, LATER);
    wire.until_closed(SOON);
    eventually("the upstream's work is cancelled", PATIENCE, || {
        world.simulator.aborted() > aborted
    });
}

#[test]
fn a_stream_that_nobody_reads_ends_too() {
    let file = KeysFile::new(KEYS);
    let world = file.world();
    let (sandbox, _) = world.create("exec");
    let mut wire = Wire::open(world.data());
    // Far more than the buffers on the way hold.
    let ask = into(&sandbox, Ask::get("/zeros?bytes=10000000000"), "k-removed");
    assert_eq!(wire.start(&ask).status, 200);
    // While another one takes this much, those buffers are filled.
    let other = into(&sandbox, Ask::get("/zeros?bytes=30000000"), &key("exec"));
    assert_eq!(other.send(world.data()).body.len(), 30_000_000);
    let aborted = world.simulator.aborted();
    file.reload(&world.gateway, LATER);
    let since = Instant::now();
    eventually("the upstream's work is cancelled", PATIENCE, || {
        world.simulator.aborted() > aborted
    });
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

#[test]
fn an_unanswered_request_ends_too() {
    let file = KeysFile::new(KEYS);
    let world = file.world();
    let (sandbox, _) = world.create("exec");
    world.simulator.clear_requests();
    let mut wire = Wire::open(world.data());
    let ask = into(&sandbox, Ask::get("/slow?ms=600000"), "k-removed");
    wire.send(&ask.bytes(world.data()));
    eventually("the request is upstream", PATIENCE, || !world.simulator.requests().is_empty());
    file.reload(&world.gateway, LATER);
    let answer = Answer::parse(&wire.until_closed(SOON));
    assert_eq!(answer.status, 401);
}

#[test]
fn a_tunnel_ends_with_its_key_and_with_no_other() {
    let file = KeysFile::new(KEYS);
    let world = file.world();
    let (sandbox, _) = world.create("exec");
    let mut tunnels = ["k-removed", &key("exec")].map(|key| tunnel(&world, &sandbox, key));
    for wire in &mut tunnels {
        assert_eq!(echoed(wire), b"Hello");
    }
    file.reload(&world.gateway, LATER);
    let [mut removed, mut unchanged] = tunnels;
    removed.until_closed(SOON);
    assert_eq!(echoed(&mut unchanged), b"Hello");
}

fn tunnel(world: &World, sandbox: &str, key: &str) -> Wire {
    let mut wire = Wire::open(world.data());
    assert_eq!(wire.start(&into(sandbox, Ask::get("/ws").upgrading(), key)).status, 101);
    wire
}

/// Sends `Hello` as one masked text frame (RFC 6455 5.7) and reads what comes back.
fn echoed(wire: &mut Wire) -> Vec<u8> {
    wire.send(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    assert_eq!(wire.take(2), [0x81, 5]);
    wire.take(5)
}

#[test]
fn an_upload_ends_with_its_key_and_with_no_other() {
    let file = KeysFile::new(KEYS);
    let world = file.world();
    let (sandbox, _) = world.create("exec");
    world.simulator.clear_requests();
    let mut uploads = ["k-removed", &key("exec")].map(|key| {
        let ask = into(&sandbox, Ask::new("POST", "/upload"), key);
        let mut wire = Wire::open(world.data());
        wire.send(&ask.header("Content-Length", "10").kept_bytes(world.data()));
        wire.send(b"half ");
        wire
    });
    eventually("both halves are upstream", PATIENCE, || {
        let seen = world.simulator.requests();
        seen.len() == 2 && seen.iter().all(|request| request.body_len == 5)
    });
    file.reload(&world.gateway, LATER);
    let [removed, unchanged] = &mut uploads;
    removed.until_closed(SOON);
    unchanged.send(b"whole");
    let answer = unchanged.answer_to("POST");
    assert_eq!((answer.status, answer.json()["length"].as_u64()), (200, Some(10)));
}

#[test]
fn a_create_that_is_held_back_ends_with_its_key() {
    let file = KeysFile::new(KEYS);
    let world = file.world();
    world.simulator.clear_requests();
    let body = r#"{"templateID":"base"}"#;
    let ask = Ask::new("POST", "/v2/sandboxes").key("k-removed");
    let ask = ask.header("Content-Length", body.len().to_string());
    let mut wire = Wire::open(world.control());
    wire.send(&ask.header("Expect", "100-continue").kept_bytes(world.control()));
    // The gateway asks for the body once the key was found to be good.
    assert_eq!(wire.take(25), b"HTTP/1.1 100 Continue\r\n\r\n");
    file.reload(&world.gateway, LATER);
    wire.send(body.as_bytes());
    let answer = wire.answer_to("POST");
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert!(world.simulator.requests().is_empty(), "{:?}", world.simulator.requests());
}

#[test]
fn nothing_is_sent_for_a_key_that_went_while_its_sandbox_was_asked_about() {
    let (answer_now, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let upstream = Upstream::start(move |_, talk| {
        while let Some(head) = talk.request() {
            if head.starts_with("GET /sandboxes/i1 ") {
                let _ = held.lock().unwrap().recv();
            }
            let json = r#"{"sandboxID":"i1","metadata":{"coppice_tenant_id":"team-a"}}"#;
            talk.send(answer("200 OK", json));
        }
    });
    let file = KeysFile::new(KEYS);
    let gateway = upstream.gateway_with(|setup| {
        let setup = setup.env("COPPICE_API_KEYS_FILE", file.path().to_str().unwrap());
        setup.flag("--upstream-lookup-timeout=60s")
    });
    let ask = Ask::post("/sandboxes/i1/pause", "{}").key("k-removed");
    let mut wire = Wire::open(gateway.control());
    wire.send(&ask.kept_bytes(gateway.control()));
    eventually("the question is upstream", PATIENCE, || upstream.requests().len() == 1);
    file.reload(&gateway, LATER);
    answer_now.send(()).unwrap();
    assert_eq!(wire.answer_to("POST").status, 401);
    assert_eq!(upstream.requests().len(), 1, "{:?}", upstream.requests());
}
