//! Kills under load, and what a power failure may leave besides: the newest events are lost, and nothing else.

use std::fs::{self, OpenOptions};
use std::thread;

use coppice_gateway::simulator::Options;
use serde_json::Value;

use super::{Kept, assert_numbered, change, events_of_series, settled, stranger};
use crate::support::World;
use crate::support::gateway::Gateway;
use crate::support::load::Load;
use crate::support::wait::{PATIENCE, eventually};

const CONNECTIONS: u64 = 4;
/// Lines that a run adds before it is killed, at least.
const LINES: u64 = 1_500;
/// What a line takes at least.
const BYTES: u64 = 400;

#[test]
fn with_each_line_synced_a_kill_takes_the_newest_events_alone() {
    killed("each");
}

#[test]
fn with_an_interval_a_kill_takes_the_newest_events_alone() {
    killed("50ms");
}

#[test]
fn without_syncing_a_kill_takes_the_newest_events_alone() {
    killed("none");
}

/// Runs gateways on one journal after another, each killed under load, and holds what is left against what was asked.
fn killed(sync: &str) {
    let kept = Kept::new();
    let world = World::with(Options { record: false, ..Options::default() }, |setup| setup);
    let (sandbox, _) = world.create("exec");
    let start = || {
        world.sibling(|setup| {
            let setup = setup.flag(kept.flag()).flag(format!("--audit-sync={sync}"));
            setup.flag("--audit-rotate-size=256K").flag("--ops-listen=127.0.0.1:0")
        })
    };
    for run in 0..3 {
        let before = kept.lines();
        let goal = kept.size() + LINES * BYTES;
        let gateway = start();
        let answered = load_until_killed(&gateway, &sandbox, run, || kept.size() > goal);
        let (text, report) = kept.intact();
        let lines = kept.lines();
        assert_numbered(&lines);
        assert_eq!(lines[..before.len()], before, "what was there is gone");
        assert!(lines.len() as u64 > before.len() as u64 + LINES / 2, "{} lines", lines.len());
        // What the disk may not have yet is told, and is no fault.
        let newer = lines.len() as u64 - kept.synced();
        let told = format!("{newer} lines are newer than the head");
        assert_eq!(text.contains(&told), newer > 0, "{newer}: {text}");
        // Of each connection there is every event up to one of the last.
        let events = events_of_series(&lines);
        for (connection, answered) in answered.iter().enumerate() {
            let recorded = events[&format!("{run}-{connection}")];
            assert!(recorded <= answered + Load::AT_ONCE, "{recorded} of {answered}");
        }
        let lost =
            report["files"].as_array().unwrap().iter().map(|file| file["lost"].as_u64().unwrap());
        // A line for each end that a restart found unfinished.
        assert!(lost.sum::<u64>() <= run, "{text}");
        if run == 1 {
            fail_power(&kept);
        }
    }
    let gateway = start();
    Load::open(gateway.control()).must(401, [stranger("end")]);
    settled(&gateway);
    let is_synced = || kept.lines().last().unwrap()["seq"] == kept.synced();
    if sync != "none" {
        eventually("all is synced", PATIENCE, is_synced);
    }
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(is_synced());
    kept.intact();
    let lines = kept.lines();
    assert_numbered(&lines);
    assert_eq!(lines.last().unwrap()["requestID"], "end");
}

/// Sends requests on all connections until it is `enough`, and kills the gateway in the midst of it. How many were
/// answered on each.
fn load_until_killed(
    gateway: &Gateway,
    sandbox: &str,
    run: u64,
    enough: impl FnMut() -> bool,
) -> Vec<u64> {
    thread::scope(|scope| {
        let connections = (0..CONNECTIONS).map(|connection| {
            let mut load = Load::open(gateway.control());
            scope.spawn(move || {
                let asks = (0..).map(|number: u64| {
                    let id = format!("{run}-{connection}-{number}");
                    if number.is_multiple_of(2) { stranger(&id) } else { change(sandbox, &id) }
                });
                let mut answered = 0;
                let has_all = load.send(asks, |status| {
                    assert!(matches!(status, 204 | 401), "{status}");
                    answered += 1;
                });
                assert!(!has_all, "the requests have an end");
                answered
            })
        });
        let connections: Vec<_> = connections.collect();
        eventually("it is under load", PATIENCE, enough);
        gateway.signal("KILL");
        gateway.wait();
        connections.into_iter().map(|connection| connection.join().unwrap()).collect()
    })
}

/// Takes away what was not synced, but for a piece of a line.
fn fail_power(kept: &Kept) {
    if !kept.path.exists() {
        // It was killed after a file was put aside, which is synced before that, and before there was another.
        return;
    }
    let (text, synced) = (fs::read(&kept.path).unwrap(), kept.synced());
    let mut end = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let seq = serde_json::from_slice::<Value>(line).ok().and_then(|line| line["seq"].as_u64());
        if seq.is_some_and(|seq| seq > synced) {
            end += line.len() / 2;
            break;
        }
        end += line.len();
    }
    OpenOptions::new().write(true).open(&kept.path).unwrap().set_len(end as u64).unwrap();
}
