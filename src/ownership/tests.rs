//! What survives a restart, what a broken file costs, and what settles whether markers are kept.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;

fn id(text: &str) -> SandboxId {
    SandboxId::parse(text).unwrap()
}

fn tenant(text: &str) -> TenantId {
    TenantId::parse(text).unwrap()
}

fn open(directory: &tempfile::TempDir) -> Ownership {
    Ownership::open(Some(directory.path())).unwrap()
}

#[test]
fn what_was_bound_outlives_the_process_and_what_was_released_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(&directory);
    first.bind(&id("i1"), &tenant("team-a"), true);
    first.bind(&id("i2"), &tenant("team-b"), true);
    first.bind(&id("i3"), &tenant("-"), true);
    first.release(&id("i2"));
    first.release(&id("i9"));
    for _ in 0..2 {
        let again = open(&directory);
        assert_eq!(again.owner(&id("i1")), Some(tenant("team-a")));
        assert_eq!(again.owner(&id("i2")), None);
        assert_eq!(again.owner(&id("i3")), Some(tenant("-")));
    }
    let path = directory.path().join("ownership");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2, "compacted");
}

#[test]
fn no_file_is_made_before_there_is_something_to_write() {
    let directory = tempfile::tempdir().unwrap();
    assert!(open(&directory).is_durable() && !Ownership::default().is_durable());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_second_gateway_may_compact_the_file_under_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(&directory);
    first.bind(&id("i1"), &tenant("team-a"), true);
    let second = open(&directory);
    first.bind(&id("i2"), &tenant("team-a"), true);
    second.bind(&id("i3"), &tenant("team-a"), true);
    let third = open(&directory);
    for sandbox in ["i1", "i2", "i3"] {
        assert_eq!(third.owner(&id(sandbox)), Some(tenant("team-a")), "{sandbox}");
    }
}

#[test]
fn broken_lines_cost_themselves_only() {
    let directory = tempfile::tempdir().unwrap();
    let text = b"i1\tteam-a\t1\nnonsense\n\n\xff\xfe\t\t\ni2\tteam-b\tx\ni3\tteam b\t3\ni4\tteam-b\t4\ti5\tteam-a\t5\n\
                 i6\tteam-b\t6\ni1\tteam-c\t7\ni7\tteam-victi";
    fs::write(directory.path().join("ownership"), text).unwrap();
    let read = open(&directory);
    assert_eq!(read.owner(&id("i1")), Some(tenant("team-c")), "the last line counts");
    assert_eq!(read.owner(&id("i6")), Some(tenant("team-b")));
    for lost in ["i2", "i3", "i4", "i5", "i7"] {
        assert_eq!(read.owner(&id(lost)), None, "{lost}");
    }
}

#[test]
fn a_file_that_cannot_be_used_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("ownership")).unwrap();
    assert!(Ownership::open(Some(directory.path())).is_err());
}

#[test]
fn the_oldest_go_first() {
    let mut records = Records::default();
    for name in ["i1", "i2", "i3", "i1", "i4"] {
        records.bind(id(name), tenant("team-a"), true, 3);
    }
    let mut left: Vec<_> = records.iter().map(|(id, ..)| id.as_str().to_owned()).collect();
    left.sort();
    assert_eq!(left, ["i1", "i3", "i4"], "i1 was bound anew");
    assert_eq!(records.doubtful(&tenant("team-a"), 9), [id("i4"), id("i1"), id("i3")]);
}

#[test]
fn a_marker_settles_it_and_so_does_one_that_is_missed() {
    let ownership = Ownership::default();
    assert!(ownership.wants_a_look() && !ownership.wants_a_look());
    ownership.bind(&id("fork"), &tenant("team-a"), false);
    ownership.bind(&id("i1"), &tenant("team-a"), true);
    assert_eq!(ownership.owner(&id("stranger")), None);
    assert_eq!(ownership.owner(&id("fork")), Some(tenant("team-a")));
    assert_eq!(ownership.keeping(), Keeping::Unknown, "neither was made with a marker");
    assert_eq!(ownership.owner(&id("i1")), Some(tenant("team-a")));
    assert_eq!(ownership.keeping(), Keeping::Drops);
    ownership.saw_marker(&id("i1"));
    assert_eq!(ownership.keeping(), Keeping::Keeps);
    assert_eq!(ownership.owner(&id("i1")), Some(tenant("team-a")), "on record all the same");
    assert_eq!(ownership.keeping(), Keeping::Keeps);
}

#[test]
fn a_sandbox_is_doubtful_until_its_marker_is_seen_or_it_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(&directory);
    for name in ["i1", "i2", "i3", "i4"] {
        first.bind(&id(name), &tenant("team-a"), true);
    }
    first.bind(&id("other"), &tenant("team-b"), true);
    for ownership in [first, open(&directory)] {
        let doubtful = |most: usize| {
            let ids = ownership.doubtful(&tenant("team-a"), most);
            ids.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(doubtful(9), ["i4", "i3", "i2", "i1"]);
        assert_eq!(doubtful(2), ["i4", "i3"]);
        ownership.saw_marker(&id("i4"));
        ownership.saw_nothing(&id("i3"));
        assert_eq!(doubtful(9), ["i2", "i1"]);
        // It is there after all, and unmarked; of one that is gone it is still known whose it was.
        assert_eq!(ownership.last_owner(&id("i3")), Some(tenant("team-a")));
        assert_eq!(doubtful(9), ["i2", "i1"]);
        assert_eq!(ownership.owner(&id("i3")), Some(tenant("team-a")));
        assert_eq!(doubtful(9), ["i3", "i2", "i1"]);
        for name in ["i1", "i2", "i3"] {
            ownership.saw_marker(&id(name));
        }
        assert!(doubtful(9).is_empty());
        assert_eq!(ownership.doubtful(&tenant("team-b"), 9), [id("other")]);
    }
    let last = open(&directory);
    for name in ["i1", "i2", "i3", "i4"] {
        last.release(&id(name));
    }
    assert!(last.doubtful(&tenant("team-a"), 9).is_empty());
}

proptest! {
    #[test]
    fn a_file_cut_anywhere_names_nobody_else(cut in 0_usize..200, names in proptest::collection::vec("[a-z0-9]{1,8}", 1..8)) {
        let directory = tempfile::tempdir().unwrap();
        let first = open(&directory);
        for name in &names {
            first.bind(&id(name), &tenant(&format!("team-{name}")), true);
        }
        let path = directory.path().join("ownership");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..cut.min(bytes.len())]).unwrap();
        let again = open(&directory);
        for (id, owner, _) in again.kept().records.iter() {
            prop_assert_eq!(owner.as_str(), format!("team-{id}"));
        }
    }
}

/// What was told, in order.
type Told = std::sync::Arc<Mutex<Vec<(String, Option<TenantId>)>>>;

/// Hands over to somebody who writes down what is told.
fn hand_over(ownership: &Ownership) -> (Vec<(SandboxId, TenantId, bool)>, Told) {
    let told = Told::default();
    let tell = std::sync::Arc::clone(&told);
    let before = ownership.hand_over(move |id, tenant, _| {
        tell.lock().unwrap().push((id.to_string(), tenant.cloned()));
    });
    (before, told)
}

#[test]
fn whatever_is_not_handed_over_is_told() {
    let record = Ownership::default();
    record.bind(&id("i1"), &tenant("team-a"), true);
    let (before, told) = hand_over(&record);
    assert_eq!(before, [(id("i1"), tenant("team-a"), true)]);
    record.bind(&id("i2"), &tenant("team-b"), false);
    record.release(&id("i1"));
    record.learn(&id("i3"), Some(&tenant("team-a")), true);
    let expected = [("i2", Some("team-b")), ("i1", None), ("i3", Some("team-a"))];
    let expected = expected.map(|(id, owner)| (id.to_owned(), owner.map(tenant)));
    assert_eq!(*told.lock().unwrap(), expected);
    record.take_back();
    record.bind(&id("i4"), &tenant("team-a"), true);
    assert_eq!(told.lock().unwrap().len(), 3, "nobody has to know any more");
    let (all, _) = hand_over(&record);
    assert_eq!(all.len(), 3, "{all:?}");
}

#[test]
fn what_is_not_told_is_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let record = open(&directory);
    record.bind(&id("i1"), &tenant("team-a"), true);
    let (before, told) = hand_over(&record);
    assert_eq!(before, []);
    assert_eq!(open(&directory).owner(&id("i1")), Some(tenant("team-a")));
    record.bind(&id("i2"), &tenant("team-a"), true);
    assert_eq!(told.lock().unwrap().len(), 1);
}

#[test]
fn an_owner_that_comes_at_the_moment_is_either_handed_over_or_told() {
    let record = Ownership::default();
    std::thread::scope(|scope| {
        let makers = (0..4).map(|maker| {
            let record = &record;
            scope.spawn(move || {
                for number in 0..500 {
                    record.bind(&id(&format!("i{maker}-{number}")), &tenant("team-a"), true);
                }
            })
        });
        let makers: Vec<_> = makers.collect();
        let (before, told) = hand_over(&record);
        for maker in makers {
            maker.join().unwrap();
        }
        let told = told.lock().unwrap().len();
        assert_eq!(before.len() + told, 2_000, "{} and {told}", before.len());
    });
}
