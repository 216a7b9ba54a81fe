//! The audit journal as an auditor and an operator see it: files, `audit verify`, and what kills and full disks leave.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use coppice_gateway::audit::journal::verify::{Report, verify};
use coppice_gateway::audit::journal::{Journal, Settings, Syncing};
use coppice_gateway::simulator::Options;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::program::Ended;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::{Program, World};

/// Set where a test runs as the process that another one kills.
const CHILD: &str = "AUDIT_JOURNAL_OF_CHILD";

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    (directory, path)
}

fn event(number: u64) -> Arc<Value> {
    Arc::new(
        json!({"eventID": format!("e{number}"), "path": "/sandboxes/\u{e9}\n\"", "status": 201}),
    )
}

/// Writes events in a journal, and ends it.
fn write(settings: Settings, events: u64) {
    let journal = Journal::open(settings).unwrap();
    (0..events).for_each(|number| journal.offer(event(number)));
    assert!(journal.close(PATIENCE));
}

fn intact(path: &Path) -> Report {
    let report = verify(&[path.to_path_buf()]).unwrap();
    assert!(report.intact, "{report:#?}");
    report
}

/// This program, running the test of this name as somebody else's child.
fn child(test: &str, path: &Path, wrapper: &[&str]) -> Child {
    let test = format!("audit_journal::{test}");
    let words = wrapper.iter().map(OsString::from).chain([std::env::current_exe().unwrap().into()]);
    let mut words = words.chain(["--exact", &test, "--nocapture"].map(OsString::from));
    let mut command = Command::new(words.next().unwrap());
    command.args(words).env(CHILD, path).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn a_third_party_can_verify_it_with_what_the_documentation_shows() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operate/audit.md");
    let page = fs::read_to_string(page).unwrap();
    let start = page.find("# verify_audit.py").unwrap();
    let script = &page[start..][..page[start..].find("```").unwrap()];
    let (directory, path) = place();
    let tool = directory.path().join("verify_audit.py");
    fs::write(&tool, script).unwrap();
    let run = |paths: &[&Path]| {
        let output = Command::new("python3").arg(&tool).args(paths).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    write(Settings { rotate_size: Some(1_000), ..Settings::new(path.clone()) }, 10);
    let mut files: Vec<PathBuf> =
        fs::read_dir(&directory).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end.to_str().unwrap().starts_with('0')));
    files.sort();
    assert!(files.len() > 1, "{files:?}");
    files.push(path.clone());
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    assert_eq!(run(&files), (Some(0), String::new()));
    let sound = fs::read_to_string(files[1]).unwrap();
    let lines: Vec<&str> = sound.split_inclusive('\n').collect();
    for (text, place) in [
        (sound.replacen("201", "200", 1), ":1:"),
        (lines[1..].concat(), ":1:"),
        (lines[..lines.len() - 1].concat(), ": cut"),
    ] {
        fs::write(files[1], text).unwrap();
        let (code, said) = run(&files);
        assert_eq!(code, Some(1));
        assert!(said.contains(&format!("{}{place}", files[1].display())), "{said}");
    }
}

#[test]
fn verify_says_what_it_found_and_where() {
    let (_directory, path) = place();
    write(Settings::new(path.clone()), 3);
    let name = path.to_str().unwrap();
    let run =
        |args: &[&str]| -> Ended { Program::new().run(&[&["audit", "verify"], args].concat()) };
    let ended = run(&[name]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert_eq!(ended.out, format!("{name}: intact: 3 lines, numbers 1 to 3\n"));
    let answer: Value = serde_json::from_str(&run(&[name, "--json"]).out).unwrap();
    assert_eq!((&answer["intact"], &answer["files"][0]["last"]), (&json!(true), &json!(3)));

    let sound = fs::read_to_string(&path).unwrap();
    fs::write(&path, sound.replacen("e1", "e9", 1)).unwrap();
    let ended = run(&[name]);
    assert_eq!((ended.code, ended.err.as_str()), (1, ""));
    assert!(ended.out.starts_with(&format!("{name}:2: was edited")), "{ended:?}");
    let answer: Value = serde_json::from_str(&run(&["--json", name]).out).unwrap();
    assert_eq!(answer["files"][0]["faults"][0]["line"], 2);

    let ended = run(&[name, "/nowhere/audit.jsonl"]);
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
    assert!(ended.err.starts_with("error: /nowhere/audit.jsonl: No such file"), "{ended:?}");
    for args in [&[][..], &["--token", "x", name]] {
        assert_eq!(run(args).code, 64, "{args:?}");
    }
}

#[test]
fn a_kill_under_load_costs_at_most_what_was_not_synced() {
    if let Some(path) = std::env::var_os(CHILD) {
        let sync = Syncing::Every(Duration::from_millis(20));
        let journal = Journal::open(Settings { sync, ..Settings::new(path.into()) }).unwrap();
        let mut number = 0;
        loop {
            if journal.queued() < 10_000 {
                journal.offer(event(number));
                number += 1;
            }
        }
    }
    let (_directory, path) = place();
    let mut lines = 0;
    for _ in 0..3 {
        let mut child = child("a_kill_under_load_costs_at_most_what_was_not_synced", &path, &[]);
        let head = || fs::read_to_string(path.with_extension("jsonl.head")).unwrap_or_default();
        let before = head();
        let size = || fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let goal = size() + 200_000;
        eventually("it writes and syncs", PATIENCE, || size() > goal && head() != before);
        child.kill().unwrap();
        child.wait().unwrap();
        let found = &intact(&path).files[0];
        assert!(found.lines > lines);
        lines = found.lines;
    }
    write(Settings::new(path.clone()), 1);
    let found = &intact(&path).files[0];
    assert!(found.last > Some(lines) && found.lost <= 3, "{found:?}");
}

#[test]
fn a_full_disk_leaves_a_gap_that_is_told() {
    if let Some(path) = std::env::var_os(CHILD) {
        let path = PathBuf::from(path);
        let journal = Journal::open(Settings { queue: 64, ..Settings::new(path.clone()) }).unwrap();
        let mut offered = 0;
        let is_full = || fs::metadata(&path).unwrap().len() >= 64 << 10;
        while journal.dropped() < 100 {
            if is_full() || journal.queued() < 32 {
                journal.offer(event(offered));
                offered += 1;
            }
        }
        fs::write(path.with_extension("full"), "").unwrap();
        eventually("there is room", PATIENCE, || path.with_extension("room").exists());
        let written = journal.written();
        eventually("it goes on", PATIENCE, || journal.written() > written);
        assert!(journal.close(PATIENCE));
        assert_eq!(journal.written() + journal.dropped(), offered);
        fs::write(path.with_extension("lost"), journal.dropped().to_string()).unwrap();
        return;
    }
    let (_directory, path) = place();
    // No file may be larger than 64 KiB; what goes beyond that is an error, and no signal.
    let script = "trap '' XFSZ; ulimit -S -f 64; exec \"$@\"";
    let wrapper = ["bash", "-c", script, "bash"];
    let mut child = child("a_full_disk_leaves_a_gap_that_is_told", &path, &wrapper);
    eventually("it is full", PATIENCE, || path.with_extension("full").exists());
    let mut prlimit = Command::new("prlimit");
    let raised = prlimit.arg(format!("--pid={}", child.id())).arg("--fsize=unlimited").status();
    assert!(raised.unwrap().success());
    fs::write(path.with_extension("room"), "").unwrap();
    assert!(child.wait().unwrap().success());
    let lost: u64 = fs::read_to_string(path.with_extension("lost")).unwrap().parse().unwrap();
    let report = intact(&path);
    assert_eq!(report.files[0].lost, lost);
    assert!(fs::metadata(&path).unwrap().len() > 64 << 10);
}

#[test]
fn a_gateway_keeps_the_file_and_finds_it_again() {
    let (directory, _) = place();
    let path = directory.path().join("logs/audit/log.jsonl");
    let text = path.to_str().unwrap().to_owned();
    let world = World::with(Options::default(), |setup| {
        setup
            .flag(format!("--audit-log={text}"))
            .flag("--audit-policy=block")
            .env("COPPICE_AUDIT_SYNC", "each")
    });
    world.gateway.wait_for_log(&["the audit journal goes on"]);
    for (path, mode) in [(path.as_path(), 0o600), (path.parent().unwrap(), 0o700)] {
        let found = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{}", path.display());
    }
    // Nobody else may write to it meanwhile.
    let second = Program::new().run(&[
        "--upstream=http://127.0.0.1:9",
        "--listen=127.0.0.1:0",
        "--audit-log",
        &text,
    ]);
    assert_eq!(second.code, 1);
    let said = format!("error: cannot keep the audit log {text}: another process writes to it\n");
    assert!(second.err.ends_with(&said), "{second:?}");

    assert!(!world.create("exec").0.is_empty());
    fs::rename(&path, path.with_extension("1")).unwrap();
    world.gateway.signal("HUP");
    eventually("there is a new file", PATIENCE, || path.exists());
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.wait().code(), Some(0));
    let ended =
        Program::new().run(&["audit", "verify", path.with_extension("1").to_str().unwrap(), &text]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
}
