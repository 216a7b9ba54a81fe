//! One process takes another's place: nobody's connection is closed, and nothing is counted twice or not at all.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use coppice_gateway::simulator::Options;

use super::{Processes, is_alive};
use crate::support::frames::{Frames, GOAWAY};
use crate::support::keys_file::KeysFile;
use crate::support::upstream::{Upstream, answer};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::{SECRET, key};
use crate::support::{App, Ask, Program, Wire, World};

/// What a removed key's streams have left, with some allowance for a busy machine.
const SOON: Duration = Duration::from_millis(1_500);

pub(super) fn whoami() -> Ask {
    Ask::get("/auth/whoami").key(&key("read"))
}

/// A stream that has begun: chunks, twenty a second.
pub(super) fn stream(world: &World, sandbox: &str, key: &str, chunks: usize) -> Wire {
    let ask = Ask::get(&format!("/stream?chunks={chunks}&ms=50")).key(key);
    let ask = ask.header("E2b-Sandbox-Id", sandbox).header("E2b-Sandbox-Port", "8080");
    let mut wire = Wire::open(world.data());
    assert_eq!(wire.start(&ask).status, 200);
    assert_eq!(wire.chunk().unwrap(), b"chunk 0\n");
    wire
}

#[test]
fn connections_on_which_nobody_talks_go_on_in_the_new_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("api.sock");
    let world = World::with(Options::default(), |setup| {
        setup
            .env("COPPICE_LOG", "info,coppice_gateway=trace")
            .flag(format!("--listen=unix:{},127.0.0.1:0", path.display()))
            .without("--listen=127.0.0.1:0")
    });
    let processes = Processes::of(&world.gateway);
    // One that was parked, one that talked just now, and one that never did.
    let mut parked = Wire::open(world.control());
    assert_eq!(parked.ask(&Ask::get("/health")).status, 204);
    world.gateway.wait_for_log(&["is parked"]);
    let (mut recent, mut fresh) = (Wire::open(world.control()), Wire::open(world.control()));
    assert_eq!(recent.ask(&Ask::get("/health")).status, 204);
    let mut local = std::os::unix::net::UnixStream::connect(&path).unwrap();
    for round in 1..=3 {
        processes.upgrade();
        for wire in [&mut parked, &mut recent, &mut fresh] {
            assert_eq!(wire.ask(&Ask::get("/health")).status, 204, "round {round}");
        }
        let request = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n";
        std::io::Write::write_all(&mut local, request).unwrap();
        let mut answer = [0; 12];
        std::io::Read::read_exact(&mut local, &mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 204");
        let mut rest = Vec::new();
        while !rest.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut local, &mut byte).unwrap();
            rest.push(byte[0]);
        }
        eventually("only the last process is left", PATIENCE, || processes.alive().len() == 1);
    }
}

#[test]
fn a_connection_goes_on_behind_the_answer_that_it_waits_for() {
    let app = App::new();
    let processes = Processes::of(&app.world.gateway);
    let mut client = app.begin(8080, "GET /slow HTTP/1.1\r\n");
    let (mut upstream, _) = app.accept();
    processes.upgrade();
    let first = app.world.gateway.id();
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let answer = client.answer();
    assert_eq!((answer.header("connection"), &answer.body[..]), (None, &b"ok"[..]));
    eventually("the old process has nothing left", PATIENCE, || !is_alive(first));
    client.send(app.head(8080, "GET /next HTTP/1.1\r\n").as_bytes());
    let (mut upstream, head) = app.accept();
    assert!(head.starts_with("get /next "), "{head}");
    upstream.send(b"HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(client.head().status, 204);
}

#[test]
fn a_head_that_has_begun_is_finished_where_it_began() {
    let world = World::new();
    let processes = Processes::of(&world.gateway);
    let request = whoami().kept_bytes(world.control());
    let (mut wire, (first, rest)) = (Wire::open(world.control()), request.split_at(30));
    wire.send(first);
    // It was read: what is sent behind it is answered only behind it.
    assert!(wire.is_silent_for(Duration::from_millis(50)));
    processes.upgrade();
    wire.send(rest);
    assert_eq!(wire.answer().status, 200);
    assert_eq!(wire.ask(&whoami()).status, 200);
    eventually("only the new process is left", PATIENCE, || processes.alive().len() == 1);
}

#[test]
fn streams_go_on_and_their_process_ends_with_them() {
    let world = World::new();
    let processes = Processes::of(&world.gateway);
    let (sandbox, _) = world.create("exec");
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(stream(&world, &sandbox, &key("exec"), 60));
        processes.upgrade();
    }
    assert_eq!(processes.alive().len(), 4);
    assert_eq!(Ask::get("/health").send(world.control()).status, 204);
    for mut stream in streams {
        let mut chunks = 1;
        while stream.chunk().is_some() {
            chunks += 1;
        }
        assert_eq!(chunks, 60);
        // And the connection behind it, by way of all the processes between.
        let next = Ask::get("/p").key(&key("exec")).header("E2b-Sandbox-Id", &sandbox);
        assert_eq!(stream.ask(&next.header("E2b-Sandbox-Port", "8080")).status, 200);
    }
    eventually("only the last process is left", PATIENCE, || processes.alive().len() == 1);
}

#[test]
fn http2_is_told_to_come_again() {
    let world = World::new();
    let processes = Processes::of(&world.gateway);
    let mut frames = Frames::connect(world.control());
    processes.upgrade();
    loop {
        let frame = frames.read().expect("a GOAWAY before the end");
        if frame.kind == GOAWAY {
            break;
        }
    }
    let mut again = Frames::connect(world.control());
    let fields =
        [(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/health")];
    again.head(1, &fields, true);
    assert_eq!(again.end_of(1), crate::support::frames::End::Answered(204, String::new()));
}

#[test]
fn a_removed_key_ends_streams_in_every_process() {
    let file = KeysFile::new("team-a:k-one:exec\nteam-a:k-two:exec\nteam-a:k-three:exec\n");
    let directory = tempfile::tempdir().unwrap();
    let settings = directory.path().join("gateway.toml");
    std::fs::write(&settings, "").unwrap();
    let world = World::with(Options::default(), |setup| {
        setup
            .env("COPPICE_API_KEYS_FILE", file.path().to_str().unwrap())
            .env("COPPICE_CONFIG", settings.to_str().unwrap())
    });
    let processes = Processes::of(&world.gateway);
    let (sandbox, _) = world.create("exec");
    let mut first = [
        stream(&world, &sandbox, "k-one", 100_000),
        stream(&world, &sandbox, "k-two", 100_000),
        stream(&world, &sandbox, "k-three", 100_000),
    ];
    processes.upgrade();
    let mut second = stream(&world, &sandbox, "k-one", 100_000);
    processes.upgrade();
    // The file alone, and then a signal to the process that is in place.
    file.write("team-a:k-two:exec\nteam-a:k-three:exec\n");
    let since = Instant::now();
    first[0].until_closed(PATIENCE);
    second.until_closed(PATIENCE);
    assert!(since.elapsed() < SOON + Duration::from_secs(1), "{:?}", since.elapsed());
    file.write("team-a:k-three:exec\n");
    // To the processes before, what only a newer version knows is no reason to let anybody go on.
    std::fs::write(&settings, "[server]\nof_tomorrow = 1\n").unwrap();
    processes.signal("HUP");
    first[1].until_closed(SOON);
    assert!(first[2].chunk().is_some());
}

#[test]
fn a_signal_to_end_reaches_every_process() {
    let world =
        World::with(Options::default(), |setup| setup.env("COPPICE_DRAIN_TIMEOUT", "500ms"));
    let processes = Processes::of(&world.gateway);
    let (sandbox, _) = world.create("exec");
    let mut streams = Vec::new();
    for _ in 0..2 {
        streams.push(stream(&world, &sandbox, &key("exec"), 100_000));
        processes.upgrade();
    }
    streams.push(stream(&world, &sandbox, &key("exec"), 100_000));
    let since = Instant::now();
    processes.signal("TERM");
    for stream in &mut streams {
        stream.until_closed(PATIENCE);
    }
    assert!(since.elapsed() >= Duration::from_millis(500), "cut off early: {:?}", since.elapsed());
    eventually("all processes end", PATIENCE, || processes.alive().is_empty());
    assert_eq!(world.gateway.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_every_process_at_once() {
    let world = World::new();
    let processes = Processes::of(&world.gateway);
    let (sandbox, _) = world.create("exec");
    let mut endless = stream(&world, &sandbox, &key("exec"), 100_000);
    processes.upgrade();
    processes.signal("TERM");
    world.gateway.wait_for_logs(1, &["draining: no new connections"]);
    assert!(endless.chunk().is_some());
    processes.signal("TERM");
    endless.until_closed(PATIENCE);
    eventually("all processes end", Duration::from_secs(5), || processes.alive().is_empty());
}

#[test]
fn a_process_that_was_replaced_does_not_wait_forever() {
    let world =
        World::with(Options::default(), |setup| setup.env("COPPICE_UPGRADE_TIMEOUT", "500ms"));
    let processes = Processes::of(&world.gateway);
    let (sandbox, _) = world.create("exec");
    let mut endless = stream(&world, &sandbox, &key("exec"), 100_000);
    processes.upgrade();
    endless.until_closed(PATIENCE);
    assert_eq!(world.gateway.wait().code(), Some(0));
    assert_eq!(Ask::get("/health").send(world.control()).status, 204);
}

#[test]
fn tokens_stay_good_where_only_memory_knows_the_secret() {
    let world = World::with(Options::default(), |setup| setup.without("COPPICE_SECRET"));
    let processes = Processes::of(&world.gateway);
    let (sandbox, token) = world.create("exec");
    for _ in 0..2 {
        processes.upgrade();
        let ask = Ask::get("/envs").header("X-Access-Token", &token);
        assert_eq!(world.ask_sandbox(&sandbox, 49_983, ask).status, 200);
    }
    assert!(!world.gateway.log().join("\n").contains(SECRET));
}

#[test]
fn the_audit_journal_is_one_chain() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("audit.jsonl");
    let world = World::with(Options::default(), |setup| {
        setup.flag(format!("--audit-log={}", journal.display()))
    });
    let processes = Processes::of(&world.gateway);
    let (sandbox, _) = world.create("exec");
    // Streams are told of when they end, by the processes that they began in.
    let mut streams = Vec::new();
    let refused = |id: &str| {
        let ask = Ask::get("/sandboxes").key("k-wrong").header("X-Request-Id", id);
        assert_eq!(ask.send(world.control()).status, 401);
    };
    for round in 0..3 {
        refused(&format!("before-{round}"));
        let ask = Ask::post("/stream?chunks=20&ms=50", "{}").key(&key("exec"));
        let ask = ask.header("E2b-Sandbox-Id", &sandbox).header("E2b-Sandbox-Port", "8080");
        let mut wire = Wire::open(world.data());
        let ask = ask.header("X-Request-Id", format!("stream-{round}"));
        assert_eq!(wire.start(&ask).status, 200);
        streams.push(wire);
        processes.upgrade();
    }
    for mut wire in streams {
        while wire.chunk().is_some() {}
    }
    eventually("only the last process is left", PATIENCE, || processes.alive().len() == 1);
    processes.signal("TERM");
    eventually("the last process ends", PATIENCE, || processes.alive().is_empty());
    let text = std::fs::read_to_string(&journal).unwrap();
    for id in (0..3).flat_map(|round| [format!("before-{round}"), format!("stream-{round}")]) {
        assert_eq!(text.matches(&format!("\"{id}\"")).count(), 1, "{id} in {text}");
    }
    let verified = Program::new().run(&["audit", "verify", journal.to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[test]
fn a_create_under_way_is_counted_once_whichever_process_hears_of_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let (creates, may_answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (counted, gate) = (Arc::clone(&creates), Arc::clone(&may_answer));
    let upstream = Upstream::start(move |_, talk| {
        while let Some(head) = talk.request() {
            if !head.starts_with("POST ") {
                talk.send(answer("200 OK", "[]"));
                continue;
            }
            let number = counted.fetch_add(1, Ordering::SeqCst);
            eventually("it may be answered", PATIENCE, || gate.load(Ordering::SeqCst));
            let body = format!(
                r#"{{"sandboxID":"islow{number}","templateID":"base","envdVersion":"0.2.0","metadata":{{"coppice_tenant_id":"team-a"}}}}"#
            );
            talk.send(answer("201 Created", &body));
        }
    });
    let world = World::with(Options::default(), |setup| {
        setup
            .without("--upstream=")
            .flag(format!("--upstream={}", upstream.url()))
            .state_dir(directory.path())
            .env("COPPICE_TENANT_SANDBOX_LIMITS", "team-a=2")
    });
    let processes = Processes::of(&world.gateway);
    let control = world.control();
    let (tell, told) = mpsc::channel();
    let create = || {
        let tell = tell.clone();
        std::thread::spawn(move || {
            let ask = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).key(&key("exec"));
            tell.send(ask.send(control).status).unwrap();
        });
    };
    create();
    eventually("a create is under way", PATIENCE, || creates.load(Ordering::SeqCst) == 1);
    processes.upgrade();
    create();
    create();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(403), "one place is left beside the one under way");
    // Once more while it is still under way.
    processes.upgrade();
    create();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(403));
    may_answer.store(true, Ordering::SeqCst);
    assert_eq!((told.recv_timeout(PATIENCE), told.recv_timeout(PATIENCE)), (Ok(201), Ok(201)));
    assert_eq!(creates.load(Ordering::SeqCst), 2);
    let whoami = Ask::get("/auth/usage").key(&key("exec")).send(control).json();
    assert_eq!(whoami["pending"], 0, "{whoami}");
}
