//! What a list of limits may hold, and which of several caps counts.

use proptest::prelude::*;

use super::*;

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

#[test]
fn lists_are_read_however_they_are_laid_out() {
    let expected = Limits::parse("team-a=2,team-b=10,*=4").unwrap();
    for text in [
        "team-a=2\nteam-b=10\n*=4\n",
        " team-a = 2 ,\tteam-b= 10,\r\n,* =4,",
        "*=4,team-b=10,team-a=2",
        "team-a=2,\n\nteam-b=0010\n* = 4",
    ] {
        assert_eq!(Limits::parse(text).as_ref(), Ok(&expected), "{text:?}");
    }
    assert_eq!(expected.lines().collect::<Vec<_>>(), [("team-a", 2), ("team-b", 10), ("*", 4)]);
}

#[test]
fn the_nearest_cap_counts_and_a_principals_own_only_lowers_it() {
    let all = Limits::parse("team-a=2,none=0,*=4").unwrap().with_maximum(Some(8));
    let named = Limits::parse("team-a=20").unwrap().with_maximum(Some(8));
    let maximum = Limits::default().with_maximum(Some(8));
    let nothing = Limits::default();
    for (limits, name, own, cap) in [
        (&all, "team-a", None, Some(2)),
        (&all, "none", None, Some(0)),
        (&all, "other", None, Some(4)),
        (&named, "team-a", None, Some(20)),
        (&named, "other", None, Some(8)),
        (&maximum, "other", None, Some(8)),
        (&nothing, "other", None, None),
        (&nothing, "other", Some(3), Some(3)),
        (&all, "team-a", Some(1), Some(1)),
        (&all, "team-a", Some(3), Some(2)),
        (&all, "team-a", Some(0), Some(0)),
        (&all, "none", Some(9), Some(0)),
    ] {
        assert_eq!(limits.meeting(&tenant(name), own), cap, "{name} {own:?} {limits:?}");
    }
    assert!(nothing.is_empty() && !maximum.is_empty() && !named.is_empty());
}

#[test]
fn every_fault_is_named_with_its_entry() {
    for (text, said) in [
        ("", "holds no entry; write TENANT=N"),
        (" ,\n,", "holds no entry; write TENANT=N"),
        ("team-a", "entry 1: write TENANT=N"),
        ("team-a:sk-canary:read", "entry 1: write TENANT=N"),
        ("=3", "entry 1: the tenant is missing"),
        ("*=", "entry 1 (tenant *): the number is missing"),
        ("a=1=2", "entry 1 (tenant a): the limit is no whole number from 0 to 4294967295"),
        ("ok=1,a=-1", "entry 2 (tenant a): the limit is no whole number from 0 to 4294967295"),
        ("a=abc", "entry 1 (tenant a): the limit is no whole number from 0 to 4294967295"),
        ("a=+1", "entry 1 (tenant a): the limit is no whole number from 0 to 4294967295"),
        ("a=4294967296", "entry 1 (tenant a): the limit is no whole number from 0 to 4294967295"),
        ("a=1.5", "entry 1 (tenant a): the limit is no whole number from 0 to 4294967295"),
        ("a=1,a=1", "entry 2 (tenant a): has a limit already"),
        ("*=1\n*=2", "entry 2 (tenant *): has a limit already"),
        (
            "a:sk-canary=1",
            "entry 1: the tenant may hold only visible ASCII characters other than ':', ',', '=' and '|'",
        ),
        ("a=,b", "entry 1 (tenant a): the number is missing; entry 2: write TENANT=N"),
    ] {
        assert_eq!(Limits::parse(text).unwrap_err().to_string(), said, "{text:?}");
    }
}

proptest! {
    #[test]
    fn what_is_shown_reads_back(caps in proptest::collection::btree_map("[a-z-]{1,9}", 0u32.., 1..9)) {
        let text: Vec<_> = caps.iter().map(|(name, cap)| format!("{name}={cap}")).collect();
        let limits = Limits::parse(&text.join(",")).unwrap();
        for (name, cap) in &caps {
            prop_assert_eq!(limits.of(&tenant(name)), Some(*cap));
        }
        let shown: Vec<_> = limits.lines().map(|(name, cap)| format!("{name}={cap}")).collect();
        prop_assert_eq!(Limits::parse(&shown.join("\n")), Ok(limits));
    }

    #[test]
    fn anything_is_read_or_refused(text in "\\PC*|[a-c*=,0-9\n ]{0,30}") {
        let _ = Limits::parse(&text);
    }
}
