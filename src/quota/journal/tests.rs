//! What a journal tells the next process, however the last one ended.

use proptest::prelude::*;

use super::*;

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn open(entries: &[(u64, &str)]) -> Open {
    entries.iter().map(|(slot, name)| (*slot, tenant(name))).collect()
}

#[test]
fn whole_lines_tell_and_the_rest_is_passed_over() {
    for (text, expected) in [
        ("", &[][..]),
        ("+a 1 2\n+b 3\n-2 \n", &[(1, "a"), (3, "b")]),
        ("+a 1\n+a 2", &[(1, "a")]),
        ("+a 1\n-1", &[(1, "a")]),
        ("+a 1\n+", &[(1, "a")]),
        ("+a 1\nnonsense\n+: 2\n+a x 3\n-x 1\n", &[(3, "a")]),
    ] {
        assert_eq!(read(text), open(expected), "{text:?}");
    }
}

#[test]
fn the_file_does_not_grow_forever() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quota");
    let journal = Arc::new(FileJournal::open(&path).unwrap().0);
    journal.opened(&tenant("a"), &[1]).unwrap();
    for slot in 2..20_000 {
        journal.opened(&tenant("b"), &[slot]).unwrap();
        journal.closed(&[slot]);
    }
    assert!(fs::read_to_string(&path).unwrap().lines().count() <= LINES);
    assert_eq!(FileJournal::open(&path).unwrap().1, open(&[(1, "a")]));
}

#[test]
fn a_slot_that_cannot_be_written_down_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deeper").join("quota");
    assert!(FileJournal::open(&path).is_err());
    fs::create_dir(directory.path().join("deeper")).unwrap();
    let journal = Arc::new(FileJournal::open(&path).unwrap().0);
    journal.state().file = File::open(&path).unwrap();
    assert!(journal.opened(&tenant("a"), &[1]).is_err());
    journal.opened(&tenant("a"), &[2]).unwrap();
    assert_eq!(FileJournal::open(&path).unwrap().1, open(&[(2, "a")]));
}

proptest! {
    /// Whatever of the file a kill left behind: what was written in whole counts.
    #[test]
    fn a_cut_loses_no_line_but_the_last(
        events in proptest::collection::vec((any::<bool>(), 0..9_u64), 0..30),
        cut in 0..400_usize,
    ) {
        let mut text = String::new();
        let mut states = vec![(0, Open::new())];
        for (is_opening, slot) in events {
            let mut state = states.last().unwrap().1.clone();
            if is_opening {
                text += &opening(&tenant("a"), &[slot]);
                state.insert(slot, tenant("a"));
            } else {
                text += &format!("-{slot} \n");
                state.remove(&slot);
            }
            states.push((text.len(), state));
        }
        let cut = cut.min(text.len());
        let expected = &states.iter().rfind(|(end, _)| *end <= cut).unwrap().1;
        prop_assert_eq!(&read(&text[..cut]), expected);
    }
}
