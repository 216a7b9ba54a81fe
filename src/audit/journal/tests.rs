//! What a journal holds after restarts, crashes and trouble with the disk.

mod disk;
mod sharing;

use std::fs;
use std::path::Path;
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use super::verify::{Report, verify};
use super::*;
use disk::Disk;

#[derive(Serialize)]
struct Event {
    #[serde(rename = "eventID")]
    id: String,
    path: &'static str,
}

fn event(number: u64) -> Arc<Event> {
    Arc::new(Event { id: format!("e{number}"), path: "/sandboxes/\n\u{1b}[31m" })
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("logs/audit.jsonl");
    (directory, path)
}

fn offer(journal: &Journal, events: std::ops::Range<u64>) {
    for number in events {
        journal.offer(event(number));
    }
}

fn close(journal: &Journal) {
    assert!(journal.close(Duration::from_secs(20)), "closed in time");
}

/// Waits for what another thread does.
fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..4_000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("never: {what}");
}

/// All files of a journal.
fn files(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_none_or(|end| end != "head")).collect()
}

fn intact(paths: &[PathBuf]) -> Report {
    let report = verify(paths).unwrap();
    assert!(report.intact, "{report:#?}");
    report
}

/// The events in a file, by what they are called.
fn ids(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| Some(line.get("eventID")?.as_str()?.to_owned())).collect()
}

fn names(events: std::ops::Range<u64>) -> Vec<String> {
    events.map(|number| format!("e{number}")).collect()
}

#[test]
fn the_chain_goes_on_after_restarts() {
    let (_directory, path) = place();
    for run in 0..3 {
        let journal = Journal::open(Settings::new(path.clone())).unwrap();
        offer(&journal, run * 5..run * 5 + 5);
        close(&journal);
        assert_eq!((journal.written(), journal.dropped(), journal.queued()), (5, 0, 0));
    }
    assert_eq!(ids(&path), names(0..15));
    let report = intact(&[path]);
    assert_eq!((report.files[0].first, report.files[0].last), (Some(1), Some(15)));
    assert_eq!(report.files[0].remarks, []);
}

#[test]
fn what_has_no_json_object_is_counted() {
    let (_directory, path) = place();
    let journal = Journal::open(Settings::new(path.clone())).unwrap();
    journal.offer(Arc::new("text"));
    offer(&journal, 0..1);
    close(&journal);
    assert_eq!((journal.written(), journal.dropped(), journal.queued()), (1, 1, 0));
    assert_eq!(intact(&[path]).files[0].lost, 1);
}

#[test]
fn after_a_kill_at_any_byte_the_chain_goes_on() {
    let (_directory, path) = place();
    let settings = Settings { sync: Syncing::Never, ..Settings::new(path.clone()) };
    let journal = Journal::open(settings).unwrap();
    offer(&journal, 0..3);
    until("all is written", || journal.written() == 3);
    let (text, head) = (fs::read(&path).unwrap(), fs::read(head::Head::path(&path)).unwrap());
    let ends = || text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    let near: Vec<usize> = ends().flat_map(|at| [at - 1, at, at + 1]).collect();
    for cut in (0..text.len()).step_by(23).chain(near) {
        let (_directory, path) = place();
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, &text[..cut]).unwrap();
        fs::write(head::Head::path(&path), &head).unwrap();
        let whole = ends().filter(|end| *end <= cut).count() as u64;
        for next in 0..2 {
            let settings = Settings { sync: Syncing::Each, ..Settings::new(path.clone()) };
            let journal = Journal::open(settings).unwrap();
            offer(&journal, 10 + next..11 + next);
            close(&journal);
        }
        let expected = [names(0..whole), names(10..12)].concat();
        assert_eq!(ids(&path), expected, "cut at {cut}");
        let report = intact(&[path]);
        let is_torn = cut > 0 && text[cut - 1] != b'\n' && text[cut] != b'\n';
        assert_eq!(report.files[0].lost, u64::from(is_torn), "cut at {cut}: {report:?}");
    }
}

#[test]
fn a_cut_does_not_heal_with_a_restart() {
    let forge = |text: &str| {
        let (_directory, path) = place();
        let mut link = chain::Link::GENESIS;
        let mut forged = Vec::new();
        for _ in text.lines() {
            let start = forged.len();
            forged.extend(b"{\"eventID\":\"forged\"}");
            link = link.seal(&mut forged, start).unwrap();
        }
        drop(path);
        String::from_utf8(forged).unwrap()
    };
    let last = |text: &str| text.trim_end().rfind('\n').unwrap() + 1;
    let harms: [&dyn Fn(&str) -> String; 5] = [
        &|text| text[..last(text)].to_owned(),
        &|text| text[..last(text) + 9].to_owned(),
        &|_| String::new(),
        &|text| text.replace("\"e4\"", "\"eX\""),
        &forge,
    ];
    for (number, harm) in harms.iter().enumerate() {
        let (_directory, path) = place();
        for run in 0..2 {
            let journal = Journal::open(Settings::new(path.clone())).unwrap();
            offer(&journal, run * 5..run * 5 + 5);
            close(&journal);
            if run == 0 {
                let text = fs::read_to_string(&path).unwrap();
                fs::write(&path, harm(&text)).unwrap();
            }
        }
        assert!(!verify(std::slice::from_ref(&path)).unwrap().intact, "harm {number}");
    }
}

#[test]
fn a_file_that_nobody_vouches_for_is_refused() {
    let (_directory, path) = place();
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, "{\"eventID\":\"of another program\"}\n").unwrap();
    let error = Journal::open(Settings::new(path.clone())).unwrap_err();
    assert!(error.to_string().contains("audit.jsonl.head is missing"), "{error}");
    assert!(error.to_string().contains("move it away"), "{error}");
    fs::remove_file(&path).unwrap();
    let journal = Journal::open(Settings::new(path.clone())).unwrap();
    let error = Journal::open(Settings::new(path.clone())).unwrap_err();
    assert_eq!(error.to_string(), "another process writes to it");
    close(&journal);
    fs::write(head::Head::path(&path), "").unwrap();
    drop(journal);
    let error = Journal::open(Settings::new(path)).unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
}

#[test]
fn a_file_that_was_moved_or_deleted_is_followed_by_another() {
    for asked in [true, false] {
        let (_directory, path) = place();
        let journal = Journal::open(Settings::new(path.clone())).unwrap();
        offer(&journal, 0..2);
        until("written", || journal.written() == 2);
        let aside = path.with_extension("old");
        fs::rename(&path, &aside).unwrap();
        if asked {
            journal.reopen();
        }
        until("a new file", || path.exists());
        offer(&journal, 2..4);
        until("written", || journal.written() == 4);
        assert_eq!((ids(&aside), ids(&path)), (names(0..2), names(2..4)));
        intact(&[path.clone(), aside.clone()]);
        fs::remove_file(&path).unwrap();
        journal.reopen();
        until("a new file", || path.exists());
        offer(&journal, 4..5);
        close(&journal);
        let report = intact(std::slice::from_ref(&path));
        assert_eq!((report.files[0].first, report.files[0].lines), (Some(5), 1));
        // The chain shows that a file is missing.
        assert!(!verify(&[path, aside]).unwrap().intact);
    }
}

#[test]
fn the_same_file_is_not_opened_twice() {
    let (_directory, path) = place();
    let journal = Journal::open(Settings::new(path.clone())).unwrap();
    for number in 0..5 {
        offer(&journal, number..number + 1);
        journal.reopen();
    }
    close(&journal);
    assert_eq!(ids(&path), names(0..5));
    assert_eq!(intact(&[path]).files[0].remarks, []);
}

#[test]
fn rotation_keeps_the_chain() {
    let (_directory, path) = place();
    for run in 0..2 {
        let settings = Settings { rotate_size: Some(2_000), ..Settings::new(path.clone()) };
        let journal = Journal::open(settings).unwrap();
        offer(&journal, run * 50..run * 50 + 50);
        close(&journal);
    }
    let mut files = files(&path);
    files.sort();
    assert!(files.len() > 5, "{files:?}");
    assert!(files[1].to_str().unwrap().ends_with("audit.jsonl.000000000001"), "{files:?}");
    assert!(files.iter().all(|file| fs::metadata(file).unwrap().len() < 2_500));
    let all: Vec<String> =
        files[1..].iter().chain(&files[..1]).flat_map(|file| ids(file)).collect();
    assert_eq!(all, names(0..100));
    intact(&files);
    // Each has a head of its own.
    for file in &files {
        intact(std::slice::from_ref(file));
    }
    files.remove(2);
    assert!(!verify(&files).unwrap().intact);
}

#[test]
fn a_full_disk_costs_nothing_but_what_finds_no_place() {
    for room in [0, 1, 150, 1_000] {
        let (_directory, path) = place();
        let disk = Disk::with_room(room);
        let settings = Settings { queue: 8, ..Settings::new(path.clone()) };
        let journal = Journal::start(settings, disk.wrap()).unwrap();
        for number in 0..200 {
            offer(&journal, number..number + 1);
            thread::yield_now();
        }
        until("some are lost", || journal.dropped() > 0 && disk.has_refused());
        disk.clear();
        close(&journal);
        assert_eq!(journal.written() + journal.dropped(), 200);
        let report = intact(std::slice::from_ref(&path));
        assert_eq!(report.files[0].lost, journal.dropped());
        let kept = ids(&path);
        assert_eq!(kept.len() as u64, journal.written());
        assert!(kept.is_sorted_by_key(|id| id[1..].parse::<u64>().unwrap()), "{kept:?}");
    }
}

#[test]
fn a_line_cut_by_a_full_disk_is_whole_in_the_next_file() {
    let (_directory, path) = place();
    let disk = Disk::with_room(300);
    let journal = Journal::start(Settings::new(path.clone()), disk.wrap()).unwrap();
    offer(&journal, 0..3);
    until("the disk is full", || disk.has_refused());
    let aside = path.with_extension("old");
    fs::rename(&path, &aside).unwrap();
    journal.reopen();
    until("a new file", || path.exists());
    disk.clear();
    close(&journal);
    assert_eq!(journal.written(), 3);
    assert_eq!([ids(&aside), ids(&path)].concat(), names(0..3));
    let report = intact(&[path, aside]);
    assert!(report.files[0].remarks[0].text.starts_with("is not finished"), "{report:?}");
}

#[tokio::test]
async fn a_stalled_disk_holds_back_those_who_are_to_wait() {
    let (_directory, path) = place();
    let disk = Disk::stalled();
    let patience = Duration::from_millis(50);
    let settings = Settings { queue: 8, patience, ..Settings::new(path.clone()) };
    let dropping = Journal::start(settings.clone(), disk.wrap()).unwrap();
    offer(&dropping, 0..100);
    assert_eq!(dropping.room().await, Ok(()));
    assert!(dropping.dropped() > 0);

    let (_directory, other) = place();
    let settings = Settings { policy: Policy::Block, path: other.clone(), patience, ..settings };
    let blocking = Arc::new(Journal::start(settings, disk.wrap()).unwrap());
    assert_eq!(blocking.room().await, Ok(()));
    let mut offered = 0;
    while blocking.has_room() {
        offer(&blocking, offered..offered + 1);
        offered += 1;
    }
    assert_eq!(blocking.room().await, Err(Full));
    let patient = Journal { patience: Duration::from_secs(20), ..clone(&blocking) };
    let waiting = tokio::spawn(async move { patient.room().await });
    disk.clear();
    assert_eq!(waiting.await.unwrap(), Ok(()));
    close(&blocking);
    close(&dropping);
    assert_eq!((blocking.written(), blocking.dropped()), (offered, 0));
    intact(&[path]);
    intact(&[other]);
}

/// The same journal in other hands.
fn clone(journal: &Journal) -> Journal {
    let Journal { queue, shared, policy, patience, limit } = journal;
    Journal {
        queue: queue.clone(),
        shared: Arc::clone(shared),
        policy: *policy,
        patience: *patience,
        limit: *limit,
    }
}

#[test]
fn an_end_is_not_waited_for_forever() {
    let (_directory, path) = place();
    let disk = Disk::stalled();
    let journal = Journal::start(Settings::new(path), disk.wrap()).unwrap();
    offer(&journal, 0..5);
    assert!(!journal.close(Duration::from_millis(20)));
    disk.clear();
    close(&journal);
    assert_eq!(journal.written(), 5);
}

#[test]
fn a_disk_that_keeps_up_loses_nothing() {
    const EVENTS: u64 = 200_000;
    let (_directory, path) = place();
    let settings = Settings { policy: Policy::Block, ..Settings::new(path.clone()) };
    let journal =
        Journal::open(Settings { patience: Duration::from_secs(60), ..settings }).unwrap();
    thread::scope(|scope| {
        for worker in 0..4 {
            let journal = &journal;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
                runtime.unwrap().block_on(async {
                    for number in worker * EVENTS / 4..(worker + 1) * EVENTS / 4 {
                        journal.room().await.unwrap();
                        journal.offer(event(number));
                    }
                });
            });
        }
    });
    close(&journal);
    assert_eq!((journal.written(), journal.dropped(), journal.queued()), (EVENTS, 0, 0));
    assert_eq!(intact(&[path]).files[0].lines, EVENTS);
}
