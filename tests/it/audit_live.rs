//! The audit journal behind a running gateway: what stalled and full disks, kills and full load leave of what requests
//! did, told by the file, `audit verify`, metrics and the log.

mod disk;
mod kill;
mod rate;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::telemetry::Scrape;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::key;
use crate::support::{Ask, Gateway, Program};

/// A journal in a directory of its own.
struct Kept {
    path: PathBuf,
    directory: TempDir,
}

impl Kept {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { path: directory.path().join("audit.jsonl"), directory }
    }

    fn flag(&self) -> String {
        format!("--audit-log={}", self.path.display())
    }

    /// Its files, the oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.directory).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| !path.to_str().unwrap().contains(".head") && *path != self.path);
        files.sort();
        files.extend(self.path.exists().then(|| self.path.clone()));
        files
    }

    /// Bytes in all of them.
    fn size(&self) -> u64 {
        self.files().into_iter().map(|file| fs::metadata(file).map_or(0, |file| file.len())).sum()
    }

    /// Every line of all files, less what is no line because a crash cut it.
    fn lines(&self) -> Vec<Value> {
        let mut texts: Vec<String> = Vec::new();
        // A file may be put aside after it was listed.
        eventually("all files are where they were listed", PATIENCE, || {
            let read: Result<_, _> = self.files().into_iter().map(fs::read_to_string).collect();
            read.map(|read| texts = read).is_ok()
        });
        let lines = texts.iter().flat_map(|text| text.lines());
        lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The number of the last line that is known to be on the disk.
    fn synced(&self) -> u64 {
        let head = fs::read(beside(&self.path, ".head")).unwrap();
        serde_json::from_slice::<Value>(&head).unwrap()["seq"].as_u64().unwrap()
    }

    /// What `audit verify` says to all files, which must be intact: for people, and for machines.
    fn intact(&self) -> (String, Value) {
        let files = self.files();
        let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
        let [text, json] = [&[][..], &["--json"]].map(|flags| {
            let ended = Program::new().run(&[&["audit", "verify"], flags, &files].concat());
            assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
            ended.out
        });
        (text, serde_json::from_str(&json).unwrap())
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    format!("{}{end}", path.display()).into()
}

/// Lines are numbered from 1 without a hole.
fn assert_numbered(lines: &[Value]) {
    for (line, number) in lines.iter().zip(1_u64..) {
        assert_eq!(line["seq"], number);
    }
}

/// How many events there are of each series of requests, whose ids are `SERIES-NUMBER` from 0 on: all up to the last one,
/// or the test fails.
fn events_of_series(lines: &[Value]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in lines {
        let id = line["requestID"].as_str();
        let Some((series, number)) = id.and_then(|id| id.rsplit_once('-')) else { continue };
        let count = counts.entry(series.to_owned()).or_insert(0_u64);
        assert_eq!(number, count.to_string(), "an event of series {series} is missing before it");
        *count += 1;
    }
    counts
}

/// A metric, all its series together.
fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = Scrape::of(gateway, "text/plain").text;
    let value = |line: &str| -> Option<u64> {
        let rest = line.strip_prefix("coppice_gateway_")?.strip_prefix(name)?;
        let is_whole_name = rest.starts_with(['{', ' ']);
        rest.rsplit_once(' ').filter(|_| is_whole_name)?.1.parse().ok()
    };
    let values: Vec<u64> = text.lines().filter_map(value).collect();
    assert!(!values.is_empty(), "{name} is not there");
    values.iter().sum()
}

/// Waits until everything that is on its way to the journal is in its file.
fn settled(gateway: &Gateway) {
    eventually("nothing waits", PATIENCE, || metric(gateway, "audit_queue_length") == 0);
}

/// A request that goes through, and is recorded.
fn change(sandbox: &str, id: &str) -> Ask {
    let path = format!("/sandboxes/{sandbox}/timeout");
    let ask = Ask::post(&path, r#"{"timeout":600}"#).key(&key("exec"));
    ask.header("X-Request-Id", id)
}

/// A request that the gateway itself refuses, which is recorded, and which no policy holds back.
fn stranger(id: &str) -> Ask {
    Ask::post("/sandboxes/any/timeout", "{}").header("X-Request-Id", id)
}
