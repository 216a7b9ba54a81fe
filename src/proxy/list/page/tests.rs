//! Entries that say whose they are, that lie about it, and that say it in two ways.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MARKED: &str = r#""metadata":{"coppice_tenant_id":"team-a"}"#;

fn tenant() -> TenantId {
    TenantId::parse("team-a").unwrap()
}

fn id(text: &str) -> SandboxId {
    SandboxId::parse(text).unwrap()
}

fn kept(json: &str, listing: Listing, own: &[&str], unsaid: bool) -> (String, usize) {
    let own = own.iter().map(|text| id(text)).collect();
    let kept = Page::read(json.as_bytes(), listing).unwrap().keep(&tenant(), &own, unsaid, false);
    (String::from_utf8(kept.json).unwrap(), kept.left_out)
}

fn sandboxes(json: &str) -> String {
    kept(json, Listing::Sandboxes, &[], false).0
}

#[test]
fn ones_own_keep_their_bytes_but_for_the_marker() {
    let json = r#" [ {"sandboxID":"i1" , "n":1.0e400,"metadata":{"k":"\u0041","coppice_tenant_id":"team-a"}},
        {"sandboxID":"i2","metadata":{"coppice_tenant_id":"team-b"}},
        {"metadata":{"\u0063oppice_tenant_id":"team-\u0061"},"envdAccessToken":"real","sandboxID":"i3"} ] "#;
    let expected = r#" [ {"sandboxID":"i1" , "n":1.0e400,"metadata":{"k":"\u0041"}},
        {"metadata":{},"sandboxID":"i3"} ] "#;
    assert_eq!(sandboxes(json), expected);
}

#[test]
fn what_is_not_clearly_ones_own_goes() {
    for entry in [
        "{}",
        "null",
        "7",
        r#""team-a""#,
        "[]",
        r#"["coppice_tenant_id","team-a"]"#,
        r#"{"sandboxID":"i1"}"#,
        r#"{"sandboxID":"i1","metadata":null}"#,
        r#"{"sandboxID":"i1","metadata":{}}"#,
        r#"{"sandboxID":"i1","coppice_tenant_id":"team-a"}"#,
        r#"{"sandboxID":"i1","metadata":{"coppice_tenant_id":"team-b"}}"#,
        r#"{"sandboxID":"i1","metadata":{"coppice_tenant_id":"team-A"}}"#,
        r#"{"sandboxID":"i1","metadata":{"coppice_tenant_id":["team-a"]}}"#,
        r#"{"sandboxID":"i1","metadata":{"coppice_tenant_id":null}}"#,
        r#"{"sandboxID":"i1","metadata":{"Coppice_Tenant_ID":"team-a"}}"#,
        r#"{"sandboxID":"i1","metadata":{"x":{"coppice_tenant_id":"team-a"}}}"#,
        r#"{"sandboxID":"i1","metadata":"{\"coppice_tenant_id\":\"team-a\"}"}"#,
        r#"{"sandboxID":"i1","Metadata":{"coppice_tenant_id":"team-a"}}"#,
        // Some readers take the first of two, others the last.
        r#"{"sandboxID":"i1","metadata":{"coppice_tenant_id":"team-a","coppice_tenant_id":"team-b"}}"#,
        r#"{"sandboxID":"i1","metadata":{"coppice_tenant_id":"team-b","\u0063oppice_tenant_id":"team-a"}}"#,
        r#"{"sandboxID":"i1","metadata":{"coppice_tenant_id":"team-a","COPPICE_TENANT_ID":"team-b"}}"#,
        r#"{"metadata":{"coppice_tenant_id":"team-a"},"metadata":{"coppice_tenant_id":"team-b"}}"#,
        r#"{"metadata":{"coppice_tenant_id":"team-b"},"m\u0065tadata":{"coppice_tenant_id":"team-a"}}"#,
        r#"{"metadata":{"coppice_tenant_id":"team-a"},"METADATA":{"coppice_tenant_id":"team-b"}}"#,
        r#"{"sandboxID":"i1","sandboxID":"i2","metadata":{"coppice_tenant_id":"team-a"}}"#,
        r#"{"sandboxID":7,"metadata":{"coppice_tenant_id":"team-a"}}"#,
        r#"{"sandboxID":"../i1","metadata":{"coppice_tenant_id":"team-a"}}"#,
    ] {
        assert_eq!(sandboxes(&format!("[{entry}]")), "[]", "{entry}");
        let among = format!("[{{{MARKED}}},{entry},{{{MARKED}}}]");
        assert_eq!(sandboxes(&among), r#"[{"metadata":{}},{"metadata":{}}]"#, "{entry}");
    }
}

#[test]
fn where_there_is_no_marker_the_record_counts_and_only_there() {
    let json = r#"[{"sandboxID":"i1"},{"sandboxID":"i2","metadata":{}},{"sandboxID":"i3","metadata":null},{"n":1},
        {"sandboxID":"i4","metadata":{"coppice_tenant_id":"team-b"}},{"sandboxID":"i5","metadata":"?"},
        {"sandboxID":"i6","sandboxID":"i1"},{"sandboxID":"i7"}]"#;
    let page = Page::read(json.as_bytes(), Listing::Sandboxes).unwrap();
    let unmarked: Vec<_> = page.unmarked().map(SandboxId::as_str).collect();
    assert_eq!(unmarked, ["i1", "i2", "i3", "i7"]);
    assert!(page.unknown().is_empty(), "the upstream has said it");
    let own = ["i1", "i2", "i3", "i4", "i5", "i6"];
    let (text, left_out) = kept(json, Listing::Sandboxes, &own, false);
    let expected = r#"[{"sandboxID":"i1"},{"sandboxID":"i2","metadata":{}},{"sandboxID":"i3","metadata":null}]"#;
    assert_eq!((text.as_str(), left_out), (expected, 5));
}

#[test]
fn the_marker_is_shown_to_whom_it_may_be() {
    let json = r#"[{"sandboxID":"i1","envdAccessToken":"real","metadata":{"coppice_tenant_id":"team-a"}},
        {"sandboxID":"i2","metadata":{"k":"v","coppice_tenant_id":"team-b"}},{"sandboxID":"i3"},7]"#;
    let page = Page::read(json.as_bytes(), Listing::Sandboxes).unwrap();
    let shown = page.keep(&tenant(), &HashSet::new(), false, true).json;
    let expected = r#"[{"sandboxID":"i1","metadata":{"coppice_tenant_id":"team-a"}}]"#;
    assert_eq!(String::from_utf8(shown).unwrap(), expected);
    let all = r#"[{"sandboxID":"i1","metadata":{}},
        {"sandboxID":"i2","metadata":{"k":"v"}},{"sandboxID":"i3"},7]"#;
    assert_eq!(String::from_utf8(page.unmark()).unwrap(), all);
}

#[test]
fn what_is_no_array_is_no_listing() {
    for json in ["", "{}", "null", r#"{"sandboxes":[]}"#, "[", "[{}", "[1,]", "[] []", "\u{feff}[]"]
    {
        assert!(Page::read(json.as_bytes(), Listing::Sandboxes).is_none(), "{json}");
    }
    let deep = format!("[{}{}]", "[".repeat(64), "]".repeat(64));
    assert!(Page::read(deep.as_bytes(), Listing::Sandboxes).is_none());
}

#[test]
fn running_ones_are_counted() {
    let one = |state: &str| format!(r#"{{"state":"{state}",{MARKED}}}"#);
    let json = format!(
        r#"[{},{},{{"state":"running"}},{}]"#,
        one("running"),
        one("paused"),
        one("running")
    );
    let kept = Page::read(json.as_bytes(), Listing::Sandboxes).unwrap().keep(
        &tenant(),
        &HashSet::new(),
        false,
        false,
    );
    assert_eq!((kept.running, kept.left_out), (2, 1));
}

#[test]
fn an_event_is_its_sandboxs_or_says_more() {
    let json = r#"[
        {"id":"1","sandboxId":"i1","eventData":null},
        {"id":"2","sandboxID":"i2","eventData":{}},
        {"id":"3","sandbox_id":"i3","event_data":{"sandbox_metadata":{"k":"v","coppice_tenant_id":"team-a"}}},
        {"id":"4","sandboxId":"i1","eventData":{"sandbox_metadata":{"coppice_tenant_id":"team-b"}}},
        {"id":"5","sandboxId":"i1","sandbox_id":"i2"},
        {"id":"6","sandboxId":"i1","sandbox_id":"i1"},
        {"id":"7"}]"#;
    let page = Page::read(json.as_bytes(), Listing::Events).unwrap();
    assert_eq!(page.unknown(), [id("i1"), id("i2")]);
    assert_eq!(page.marked(&tenant()).collect::<Vec<_>>(), [&id("i3")]);
    let (text, left_out) = kept(json, Listing::Events, &["i1"], false);
    let events: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let ids: Vec<_> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!((ids, left_out), (vec!["1", "3", "6"], 4));
    assert!(text.contains(r#""sandbox_metadata":{"k":"v"}"#), "{text}");
}

#[test]
fn a_snapshot_that_says_nothing_stays_only_if_told_to() {
    let json = r#"[{"snapshotID":"s1"},{"snapshotID":"s2","originSandboxID":"i1"},{"snapshotID":"s3","originSandboxID":"i2"}]"#;
    let ids = |unsaid: bool| {
        let (text, _) = kept(json, Listing::Snapshots, &["i1"], unsaid);
        let listed: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        listed.iter().map(|s| s["snapshotID"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(false), ["s2"]);
    assert_eq!(ids(true), ["s1", "s2"]);
    assert!(Page::read(json.as_bytes(), Listing::Snapshots).unwrap().leaves_unsaid());
}

/// One entry in some spelling, and whose it is.
fn any_entry() -> impl Strategy<Value = (String, bool)> {
    let key = prop_oneof![
        Just("coppice_tenant_id"),
        Just("\\u0063oppice_tenant_id"),
        Just("coppice\\u005Ftenant_id"),
        Just("Coppice_tenant_id"),
        Just("other"),
    ];
    let value = prop_oneof![Just("team-a"), Just("team-b"), Just("team-\\u0061"), Just("")];
    (key, value, "[ \\n\\t]{0,2}", any::<i64>(), any::<bool>()).prop_map(
        |(key, value, space, number, first)| {
            let metadata = format!(r#""metadata"{space}:{{{space}"{key}":"{value}"}}"#);
            let other = format!(r#""n":{number}{space}"#);
            let members = if first { [metadata, other] } else { [other, metadata] };
            let is_exact = key.starts_with("\\u0063") || key.starts_with("coppice");
            (
                format!("{{{}}}", members.join(",")),
                is_exact && value.starts_with("team-") && value != "team-b",
            )
        },
    )
}

proptest! {
    #[test]
    fn exactly_ones_own_stay_in_order(entries in vec(any_entry(), 0..12), space in "[ \\n]{0,2}") {
        let texts: Vec<_> = entries.iter().map(|(text, _)| format!("{space}{text}{space}")).collect();
        let json = format!("[{}]", texts.join(","));
        let left = sandboxes(&json);
        let numbers = |text: &str| -> Vec<i64> {
            let listed: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
            listed.iter().map(|entry| entry["n"].as_i64().unwrap()).collect()
        };
        let own: Vec<i64> =
            numbers(&json).into_iter().zip(&entries).filter(|(_, (_, own))| *own).map(|(n, _)| n).collect();
        prop_assert_eq!(numbers(&left), own);
        prop_assert!(!left.contains("team-"));
    }

    #[test]
    fn no_damage_shows_a_strangers(
        entries in vec(any_entry(), 1..6),
        damage in vec((any::<usize>(), any::<u8>()), 1..3),
    ) {
        let texts: Vec<_> = entries.iter().map(|(text, _)| text.as_str()).collect();
        let mut json = format!("[{}]", texts.join(",")).into_bytes();
        for (place, byte) in damage {
            let place = place % json.len();
            json[place] = byte;
        }
        if let Some(page) = Page::read(&json, Listing::Sandboxes) {
            let kept = page.keep(&tenant(), &HashSet::new(), false, false);
            // The oracle wants numbers to fit; the grammar does not.
            let Ok(before) = serde_json::from_slice::<Vec<serde_json::Value>>(&json) else {
                return Ok(());
            };
            let after: Vec<serde_json::Value> = serde_json::from_slice(&kept.json).unwrap();
            let own = before.iter().filter(|entry| entry["metadata"][MARKER] == "team-a").count();
            prop_assert!(after.len() <= own);
        }
    }
}
