//! Filters as clients write them, and as attackers do, against readers that decode once, twice and three times.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn to_a(query: &str) -> Result<Narrowed, GatewayError> {
    narrow(Some(query).filter(|query| !query.is_empty()), Some(&tenant("team-a")))
}

fn to(query: &str, is_sure: bool) -> Result<Narrowed, GatewayError> {
    Ok(Narrowed::To { query: query.to_owned(), is_sure })
}

#[test]
fn the_marker_joins_the_callers_own_filter() {
    for (asked, narrowed, is_sure) in [
        ("", "metadata=coppice_tenant_id%3Dteam-a", true),
        ("limit=2&x=%7e", "limit=2&x=%7e&metadata=coppice_tenant_id%3Dteam-a", true),
        ("&limit=2&", "&limit=2&&metadata=coppice_tenant_id%3Dteam-a", true),
        ("metadata=", "metadata=coppice_tenant_id%3Dteam-a", true),
        ("metadata", "metadata=coppice_tenant_id%3Dteam-a", true),
        ("metadata=a%3Db&limit=2", "metadata=a%3Db%26coppice_tenant_id%3Dteam-a&limit=2", true),
        (
            "m%65tadata=a%253Db%2526c%253Dd",
            "m%65tadata=a%253Db%2526c%253Dd%26coppice_tenant_id%3Dteam-a",
            true,
        ),
        ("metadata=a=b", "metadata=a=b%26coppice_tenant_id%3Dteam-a", true),
        // A reader that gives up on these could go on without any filter: its count proves nothing.
        ("metadata=a", "metadata=a%26coppice_tenant_id%3Dteam-a", false),
        ("metadata=a%3Db%3Dc", "metadata=a%3Db%3Dc%26coppice_tenant_id%3Dteam-a", false),
        ("metadata=a%3D100%25", "metadata=a%3D100%25%26coppice_tenant_id%3Dteam-a", false),
        ("metadata=%25", "metadata=%25%26coppice_tenant_id%3Dteam-a", false),
    ] {
        assert_eq!(to_a(asked), to(narrowed, is_sure), "{asked}");
    }
}

#[test]
fn without_a_marker_a_filter_is_checked_all_the_same() {
    for query in ["", "limit=2", "metadata=a%3Db&limit=2"] {
        assert_eq!(narrow(Some(query), None), to(query, false), "{query}");
    }
    let by_marker = "metadata=coppice_tenant_id%3Dteam-b";
    assert_eq!(narrow(Some(by_marker), None), Ok(Narrowed::ToNothing));
    assert_eq!(narrow(Some("metadata=a&metadata=b"), None), Err(BAD_FILTER));
}

#[test]
fn nobody_filters_by_the_marker() {
    let mut name = MARKER.to_owned();
    for level in 0..5 {
        for key in [name.clone(), name.to_ascii_uppercase(), format!("+{name}")] {
            for query in [
                format!("metadata={key}%3Dteam-b"),
                format!("metadata=a%3Db%26{key}%3Dteam-b"),
                format!("metadata=a%253Db%2526{key}%253Dteam-b"),
                format!("limit=1&metadata={key}"),
                format!("metadata={key}%3Dteam-a"),
                format!("metadata=a%3Db%3B{key}%3Dteam-b"),
            ] {
                assert_eq!(to_a(&query), Ok(Narrowed::ToNothing), "{level} {query}");
            }
        }
        name = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
    }
    let mention = "metadata=note%3Dcoppice_tenant_id";
    assert!(matches!(to_a(mention), Ok(Narrowed::To { .. })), "as a value it is like any other");
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    for query in [
        "metadata=a%3Db&metadata=c%3Dd",
        "metadata=a%3Db&m%65tadata=c%3Dd",
        "metadata&metadata",
        "Metadata=a%3Db",
        "METADATA=a%3Db&metadata=c%3Dd",
        "metadata=a%3Db;c",
        "x=1;metadata=c%3Dd",
        "metadata=%zz",
        "metadata=a%3Db%2",
        "metadata=%",
        "metadata=%ff",
        &format!("metadata=a%3D%{}31", "25".repeat(40)),
    ] {
        assert_eq!(to_a(query), Err(BAD_FILTER), "{query}");
    }
}

#[test]
fn a_name_that_decoding_could_change_is_not_asked_for() {
    for name in ["a%b", "a+b", "a&b", "a;b"] {
        let narrowed = narrow(Some("limit=2"), Some(&tenant(name)));
        assert_eq!(narrowed, to("limit=2", false), "{name}");
        let filtered = narrow(Some("metadata=a%3Db"), Some(&tenant(name)));
        assert_eq!(filtered, to("metadata=a%3Db", false), "{name}");
    }
    let odd = narrow(None, Some(&tenant("a/b@c#\"d")));
    assert_eq!(odd, to("metadata=coppice_tenant_id%3Da%2Fb%40c%23%22d", true));
}

#[test]
fn sandboxes_are_named_in_one_way() {
    let ids = |query: &str| {
        let ids = named(Some(query), "sandbox_ids")?;
        Ok(ids.map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")))
    };
    for (query, expected) in [
        ("", None),
        ("x=i1", None),
        ("sandbox_ids=", Some("")),
        ("sandbox_ids=i1,i2-c", Some("i1 i2-c")),
        ("sandbox_ids=i1%2Ci2&x=1&sandbox%5Fids=i3", Some("i1 i2 i3")),
        ("sandbox_ids=,i1,../x,%2e,", Some("i1")),
    ] {
        assert_eq!(ids(query), Ok(expected.map(str::to_owned)), "{query}");
    }
    for query in ["Sandbox_IDs=i1", "sandbox_ids=i1;x", "x;sandbox_ids=i1", "sandbox_ids=%zz"] {
        assert_eq!(ids(query), Err(BAD_FILTER), "{query}");
    }
    let many = |count: usize| format!("sandbox_ids={}", vec!["i1"; count].join(","));
    assert!(ids(&many(100)).is_ok());
    assert_eq!(ids(&many(101)), Err(TOO_MANY));
    assert_eq!(ids(&vec!["sandbox_ids=i1"; 101].join("&")), Err(TOO_MANY));

    let own = [SandboxId::parse("i2").unwrap(), SandboxId::parse("i9").unwrap()];
    let rewritten =
        naming(Some("a=%41&sandbox_ids=i1,i2&b&sandbox_ids=i3"), "sandbox_ids", own.iter());
    assert_eq!(rewritten.unwrap(), "a=%41&sandbox_ids=i2,i9&b");
}

#[test]
fn a_first_page_names_no_place_to_go_on_from() {
    for (query, first) in [
        (None, true),
        (Some("limit=2&state=running"), true),
        (Some("nextToken="), false),
        (Some("a=b&next%54oken=x"), false),
        (Some("NextToken=x"), false),
    ] {
        assert_eq!(is_first_page(query), first, "{query:?}");
    }
}

/// The filter that a reader makes of a query: the parameter decoded once, as a whole `whole` times more, then pair by
/// pair `halves` times. `None` when it gives up.
fn read(query: &str, whole: usize, halves: usize) -> Option<BTreeMap<String, String>> {
    let parameter = query.split('&').filter_map(|piece| piece.split_once('='));
    let (_, value) = parameter.into_iter().find(|(name, _)| decode(name) == METADATA)?;
    let mut value = strictly(value)?;
    for _ in 0..whole {
        value = strictly(&value)?;
    }
    let pairs = value.split('&').map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let mut half = (key.to_owned(), value.to_owned());
        for _ in 0..halves {
            half = (strictly(&half.0)?, strictly(&half.1)?);
        }
        Some(half)
    });
    pairs.collect()
}

proptest! {
    #[test]
    fn no_filter_widens(filter in "([a-c=&%;+]|%2[056]|%3[dDbB]|%25|coppice_tenant_id|team-[ab]){0,12}") {
        let asked = format!("limit=1&metadata={filter}");
        if let Ok(Narrowed::To { query, is_sure }) = to_a(&asked) {
            for (whole, halves) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                match read(&query, whole, halves) {
                    Some(read) => {
                        let marker = read.get(MARKER).map(String::as_str);
                        prop_assert_eq!(marker, Some("team-a"), "{} by {} {}", query, whole, halves);
                    }
                    None => prop_assert!(!is_sure || whole + halves == 0, "{} by {} {}", query, whole, halves),
                }
            }
        }
    }
}
