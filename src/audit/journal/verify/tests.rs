//! Whatever is done to a journal: the place is named.

use std::fs;

use tempfile::TempDir;

use super::super::chain::Link;
use super::*;

/// A journal of events in files that follow each other, each with its head.
struct Files {
    directory: TempDir,
    paths: Vec<PathBuf>,
}

impl Files {
    /// Each with so many events.
    fn new(files: &[u64]) -> Self {
        Self::named("e", files)
    }

    fn named(name: &str, files: &[u64]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut link = Link::GENESIS;
        let mut paths = Vec::new();
        for (number, events) in files.iter().enumerate() {
            let path = directory.path().join(format!("audit.{number}"));
            let first = link.seq + 1;
            let mut text = Vec::new();
            for _ in 0..*events {
                let event = link.seq;
                let start = text.len();
                text.extend(
                    format!("{{\"eventID\":\"{name}{event}\",\"path\":\"/a\\u0000b\"}}").bytes(),
                );
                link = link.seal(&mut text, start).unwrap();
            }
            fs::write(&path, text).unwrap();
            Head { first, link }.write(&path).unwrap();
            paths.push(path);
        }
        Self { directory, paths }
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.paths[0]).unwrap();
        text.split_inclusive('\n').map(str::to_owned).collect()
    }

    fn put(&self, text: impl AsRef<[u8]>) -> Report {
        fs::write(&self.paths[0], text).unwrap();
        verify(&self.paths).unwrap()
    }
}

/// The line and the text of the first fault.
fn fault(report: &Report) -> (Option<u64>, &str) {
    assert!(!report.intact);
    let fault = report.files.iter().flat_map(|file| &file.faults).next().expect("a fault");
    (fault.line, &fault.text)
}

fn remarks(report: &Report) -> Vec<&str> {
    assert!(report.intact, "{report:?}");
    report.files.iter().flat_map(|file| &file.remarks).map(|remark| remark.text.as_str()).collect()
}

#[test]
fn whole_journals_are_intact() {
    for files in [&[1][..], &[5], &[2, 1, 6]] {
        let files = Files::new(files);
        let mut paths = files.paths.clone();
        paths.reverse();
        assert_eq!(remarks(&verify(&paths).unwrap()), [""; 0]);
    }
}

#[test]
fn every_byte_counts() {
    let files = Files::new(&[4]);
    let sound = fs::read(&files.paths[0]).unwrap();
    let mut line = 1;
    for at in 0..sound.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut text = sound.clone();
            text[at] ^= flip;
            let report = files.put(&text);
            assert_eq!(fault(&report).0, Some(line), "byte {at}: {report:?}");
        }
        line += u64::from(sound[at] == b'\n');
    }
}

#[test]
fn removed_swapped_repeated_and_inserted_lines_are_named() {
    let files = Files::new(&[5]);
    let sound = files.lines();
    for at in 0..5 {
        let mut lines = sound.clone();
        lines.remove(at);
        let report = files.put(lines.concat());
        let (line, text) = fault(&report);
        assert_eq!(line, Some(at as u64 + 1), "{text}");
        let why = ["removed", "missing", "missing", "missing", "cut"][at];
        assert!(text.contains(why), "{text}");
    }
    for at in 0..4 {
        let mut lines = sound.clone();
        lines.swap(at, at + 1);
        assert_eq!(fault(&files.put(lines.concat())).0, Some(at as u64 + 1));
        let mut lines = sound.clone();
        lines.insert(at, sound[at].clone());
        let report = files.put(lines.concat());
        assert_eq!(fault(&report).0, Some(at as u64 + 2));
        assert!(fault(&report).1.contains("out of order"));
        let mut lines = sound.clone();
        lines.insert(at, "{}\n".to_owned());
        assert_eq!(fault(&files.put(lines.concat())), (Some(at as u64 + 1), NOT_A_LINE));
    }
    assert_eq!(files.put(sound.concat()).files[0].faults, []);
}

const NOT_A_LINE: &str = "was edited or put there: it is no line of a journal";

#[test]
fn one_edit_is_one_fault() {
    let files = Files::new(&[5]);
    let mut lines = files.lines();
    lines[2] = lines[2].replace("\"e2\"", "\"eX\"");
    let report = files.put(lines.concat());
    assert_eq!(fault(&report), (Some(3), "was edited: its hash does not fit its content"));
    assert_eq!(report.files[0].faults.len(), 1);
    lines[2] = "rubbish\n".to_owned();
    assert_eq!(files.put(lines.concat()).files[0].faults.len(), 1);
}

#[test]
fn a_line_written_anew_with_a_hash_that_fits_breaks_the_chain() {
    let files = Files::new(&[5]);
    let mut lines = files.lines();
    let before = Line::parse(lines[1].trim_end().as_bytes()).unwrap().link;
    let mut forged = b"{\"eventID\":\"forged\"}".to_vec();
    before.seal(&mut forged, 0).unwrap();
    lines[2] = String::from_utf8(forged).unwrap();
    let report = files.put(lines.concat());
    assert_eq!(fault(&report).0, Some(4));
    assert!(fault(&report).1.contains("replaced"));
    // The whole chain written anew: only the head, and whoever noted a hash, can tell.
    let forged = Files::named("f", &[5]);
    let report = files.put(forged.lines().concat());
    assert_eq!(fault(&report), (Some(5), "is not the line that the head says was here"));
    drop(forged.directory);
}

#[test]
fn a_cut_tail_is_named_and_an_unfinished_line_is_none() {
    let files = Files::new(&[3]);
    let lines = files.lines();
    for kept in 0..3 {
        let report = files.put(lines[..kept].concat());
        assert_eq!(fault(&report).0, Some(kept as u64 + 1));
        let report = files.put(lines[..kept].concat() + &lines[kept][..9]);
        assert_eq!(fault(&report).0, Some(kept as u64 + 1), "{report:?}");
    }
    let report = files.put(lines.concat() + "{\"eventID\":");
    assert_eq!(report.files[0].remarks[0].line, Some(4));
    assert!(remarks(&report)[0].starts_with("is not finished (11 bytes)"));
    // A killed gateway's head is behind.
    let second = Line::parse(lines[1].trim_end().as_bytes()).unwrap().link;
    Head { first: 1, link: second }.write(&files.paths[0]).unwrap();
    assert!(remarks(&files.put(lines.concat()))[0].starts_with("1 lines are newer"));
    assert_eq!(fault(&files.put(lines[..1].concat())).0, Some(2));
}

#[test]
fn heads_that_are_missing_or_damaged_are_faults() {
    let files = Files::new(&[3]);
    let head = Head::path(&files.paths[0]);
    for text in ["", "{}", "x", "{\"first\":0,\"seq\":0,\"hash\":\"\"}"] {
        fs::write(&head, text).unwrap();
        assert!(
            fault(&verify(&files.paths).unwrap()).1.ends_with("audit.0.head is damaged"),
            "{text}"
        );
    }
    fs::remove_file(&head).unwrap();
    assert!(fault(&verify(&files.paths).unwrap()).1.contains("audit.0.head is missing"));
    assert_eq!(remarks(&files.put("")), ["is empty"]);
}

#[test]
fn files_join_or_the_break_is_named() {
    let files = Files::new(&[2, 2, 2]);
    let [first, second, third] = &files.paths[..] else { panic!() };
    let given = |paths: &[&PathBuf]| {
        let paths: Vec<_> = paths.iter().map(|path| (*path).clone()).collect();
        verify(&paths).unwrap()
    };
    assert_eq!(given(&[second, third, first]).files[0].path, *first);
    // A later part alone cannot show what was before it.
    let report = given(&[third, second]);
    assert_eq!(remarks(&report), ["has number 3: lines before it are in other files"]);
    assert!(given(&[first]).intact);
    let report = given(&[first, third]);
    assert_eq!(fault(&report).0, Some(1));
    assert!(
        fault(&report).1.contains("line numbers 3 to 4 of the chain are missing"),
        "{report:?}"
    );
    assert!(fault(&given(&[first, first, second])).1.contains("out of order"));
    // Moved away by hand, without its head: the file behind it vouches for its end.
    fs::remove_file(Head::path(first)).unwrap();
    assert!(given(&[first, second]).intact);
    assert!(!given(&[first]).intact);
    let (_, error) = verify(&[first.clone(), files.directory.path().join("none")]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_file_without_lines_of_its_own_says_that_it_is_empty() {
    let files = Files::new(&[2, 0]);
    assert_eq!(remarks(&verify(&files.paths).unwrap()), ["is empty"]);
    assert_eq!(remarks(&verify(&files.paths[1..]).unwrap()), ["is empty"]);
    let log = Files::new(&[1]);
    assert_eq!(fault(&log.put("{\"eventID\":\"of another program\"}\n")).0, Some(1));
}

#[test]
fn faults_are_told_up_to_a_number() {
    let files = Files::new(&[50]);
    let lines: Vec<_> = files.lines().iter().map(|line| line.replace("path", "Path")).collect();
    let report = files.put(lines.concat());
    assert_eq!(report.files[0].faults.len(), FileReport::MAX_FAULTS);
    assert_eq!(report.files[0].more_faults, 30);
}

#[test]
fn numbers_at_the_end_of_their_range_are_only_wrong() {
    let files = Files::new(&[2]);
    let mut forged = b"{}".to_vec();
    Link { seq: u64::MAX - 1, hash: Link::GENESIS.hash }.seal(&mut forged, 0).unwrap();
    let forged = String::from_utf8(forged).unwrap();
    let report = files.put(files.lines().concat() + &forged + &forged + "rubbish\n");
    assert_eq!(fault(&report).0, Some(3));
    let link = Link { seq: u64::MAX, hash: Link::GENESIS.hash };
    Head { first: u64::MAX, link }.write(&files.paths[0]).unwrap();
    assert!(!files.put(forged).intact);
}
