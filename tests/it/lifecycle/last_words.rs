//! How processes of which one has taken the other's place end: together, with everything told, and never unnoticed.

use std::path::Path;
use std::time::{Duration, Instant};

use coppice_gateway::simulator::Options;

use super::succession::stream;
use super::{Processes, signal};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::key;
use crate::support::{Ask, Program, Wire, World};

/// A stream without end that the audit trail knows by `id`.
fn named_stream(world: &World, sandbox: &str, id: &str) -> Wire {
    let ask = Ask::post("/stream?chunks=100000&ms=50", "{}").key(&key("exec"));
    let ask = ask.header("E2b-Sandbox-Id", sandbox).header("E2b-Sandbox-Port", "8080");
    let mut wire = Wire::open(world.data());
    assert_eq!(wire.start(&ask.header("X-Request-Id", id)).status, 200);
    wire
}

fn assert_told(journal: &Path, ids: &[&str]) {
    let text = std::fs::read_to_string(journal).unwrap();
    for id in ids {
        assert_eq!(text.matches(&format!("\"{id}\"")).count(), 1, "{id} in {text}");
    }
    let verified = Program::new().run(&["audit", "verify", journal.to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[test]
fn what_is_cut_off_is_told_of_whichever_process_it_is_in() {
    for (limit, signals) in [("500ms", 1), ("1h", 2)] {
        let directory = tempfile::tempdir().unwrap();
        let journal = directory.path().join("audit.jsonl");
        let world = World::with(Options::default(), |setup| {
            setup
                .flag(format!("--audit-log={}", journal.display()))
                .env("COPPICE_DRAIN_TIMEOUT", limit)
        });
        let processes = Processes::of(&world.gateway);
        let (sandbox, _) = world.create("exec");
        let mut streams = vec![named_stream(&world, &sandbox, "cut-0")];
        processes.upgrade();
        streams.push(named_stream(&world, &sandbox, "cut-1"));
        processes.upgrade();
        streams.push(named_stream(&world, &sandbox, "cut-2"));
        for count in 1..=signals {
            processes.signal("TERM");
            world.gateway.wait_for_logs(1, &["draining: no new connections"]);
            assert!(count == signals || streams[2].chunk().is_some());
        }
        for mut stream in streams {
            stream.until_closed(PATIENCE);
        }
        eventually("all processes end", PATIENCE, || processes.alive().is_empty());
        assert_eq!(world.gateway.wait().code(), Some(0));
        assert_told(&journal, &["cut-0", "cut-1", "cut-2"]);
    }
}

#[test]
fn one_signal_to_all_processes_is_one_signal() {
    const LIMIT: Duration = Duration::from_millis(1_500);
    let world =
        World::with(Options::default(), |setup| setup.env("COPPICE_DRAIN_TIMEOUT", "1500ms"));
    let processes = Processes::of(&world.gateway);
    let (sandbox, _) = world.create("exec");
    let mut endless = stream(&world, &sandbox, &key("exec"), 100_000);
    processes.upgrade();
    let since = Instant::now();
    processes.signal("TERM");
    world.gateway.wait_for_log(&["asked to end: streams have less time"]);
    signal(world.gateway.id(), "TERM");
    endless.until_closed(PATIENCE);
    assert!(since.elapsed() >= LIMIT, "cut off after {:?}", since.elapsed());
    eventually("all processes end", PATIENCE, || processes.alive().is_empty());
}

#[test]
fn a_second_signal_to_a_process_that_was_replaced_ends_it() {
    let world = World::new();
    let processes = Processes::of(&world.gateway);
    let (sandbox, _) = world.create("exec");
    let mut endless = stream(&world, &sandbox, &key("exec"), 100_000);
    processes.upgrade();
    for _ in 0..2 {
        assert!(endless.chunk().is_some());
        signal(world.gateway.id(), "TERM");
        world.gateway.wait_for_log(&["asked to end: streams have less time"]);
    }
    endless.until_closed(PATIENCE);
    assert_eq!(world.gateway.wait().code(), Some(0));
    assert_eq!(Ask::get("/health").send(world.control()).status, 204);
}

#[test]
fn who_is_left_alone_ends_soon_and_says_that_something_went_wrong() {
    let world =
        World::with(Options::default(), |setup| setup.env("COPPICE_DRAIN_TIMEOUT", "500ms"));
    let processes = Processes::of(&world.gateway);
    let (sandbox, _) = world.create("exec");
    let mut endless = stream(&world, &sandbox, &key("exec"), 100_000);
    processes.upgrade();
    assert!(endless.chunk().is_some());
    processes.signal("KILL");
    world.gateway.wait_for_log(&["the process that took this one's place is gone"]);
    endless.until_closed(PATIENCE);
    assert_eq!(world.gateway.wait().code(), Some(1));
}
