//! Every spelling of the marker and of reserved names, in creates and nested payloads; and that nothing else changes.

use proptest::prelude::*;
use serde_json::{Value as Tree, json};

use super::super::{Generation, create, nested};
use super::*;

fn creator<'t>(tenant: Option<&'t TenantId>, reserved: &'t Reserved) -> Creator<'t> {
    Creator { tenant, may_mount: tenant.is_none(), reserved }
}

fn marked(body: &str) -> Result<String, GatewayError> {
    let tenant = TenantId::parse("team-a").unwrap();
    let reserved = Reserved::default();
    create(body.as_bytes(), creator(Some(&tenant), &reserved), Generation::AsSent)
        .map(|edited| String::from_utf8(edited).unwrap())
}

#[test]
fn the_marker_is_ours_whatever_the_caller_wrote() {
    for (body, expected) in [
        (
            r#"{"templateID":"b"}"#,
            r#"{"templateID":"b","metadata":{"coppice_tenant_id":"team-a"}}"#,
        ),
        (r#"{"metadata":null}"#, r#"{"metadata":{"coppice_tenant_id":"team-a"}}"#),
        (r#"{"metadata":{}}"#, r#"{"metadata":{"coppice_tenant_id":"team-a"}}"#),
        (
            r#"{"metadata":{"a":"b","coppice_tenant_id":"x","c":1e400}}"#,
            r#"{"metadata":{"a":"b","c":1e400,"coppice_tenant_id":"team-a"}}"#,
        ),
        (
            r#"{"metadata":{"\u0063oppice_tenant_id":["x"]}}"#,
            r#"{"metadata":{"coppice_tenant_id":"team-a"}}"#,
        ),
        (
            r#"{"metadata":{"Coppice_Tenant_ID":"x"}}"#,
            r#"{"metadata":{"coppice_tenant_id":"team-a"}}"#,
        ),
        (
            r#"{"metadata":{"Host-Mount":"[]","a":"b"}}"#,
            r#"{"metadata":{"a":"b","coppice_tenant_id":"team-a"}}"#,
        ),
    ] {
        assert_eq!(marked(body).as_deref(), Ok(expected), "{body}");
    }
}

#[test]
fn ambiguous_bodies_are_refused() {
    for body in [
        "",
        "[]",
        "null",
        "{} {}",
        r#"{"metadata":{},"metadata":{}}"#,
        r#"{"metadata":{},"Metadata":{}}"#,
        r#"{"Metadata":{}}"#,
        r#"{"metadata":"x"}"#,
        r#"{"metadata":[]}"#,
        r#"{"metadata":{"a":1,"a":2}}"#,
        r#"{"metadata":{"coppice_tenant_id":"x","COPPICE_TENANT_ID":"y"}}"#,
        "\u{feff}{}",
    ] {
        assert!(marked(body).is_err(), "{body}");
    }
}

#[test]
fn open_mode_strips_what_the_caller_wrote() {
    let reserved = Reserved::default();
    let open = creator(None, &reserved);
    let edited =
        create(br#"{"metadata":{"coppice_tenant_id":"x","a":"b"}}"#, open, Generation::AsSent);
    assert_eq!(edited.unwrap(), br#"{"metadata":{"a":"b"}}"#);
    assert_eq!(create(b"{ }", open, Generation::AsSent).unwrap(), b"{ }");
    let edited = nested(br#"{"p":{"templateID":"b","metadata":{"coppice_tenant_id":"x"}}}"#, open);
    assert_eq!(edited.unwrap(), br#"{"p":{"templateID":"b","metadata":{}}}"#);
}

fn marked_nested(body: &str) -> Result<String, GatewayError> {
    let (tenant, reserved) = (TenantId::parse("team-a").unwrap(), Reserved::default());
    nested(body.as_bytes(), creator(Some(&tenant), &reserved))
        .map(|edited| String::from_utf8(edited).unwrap())
}

#[test]
fn look_alikes_go_too() {
    for key in [
        "COPPICE_TENANT_ID",
        " coppice_tenant_id",
        "coppice_tenant_id\u{a0}",
        r"coppice_tenant\u005fid",
        r"\u0043oppice_tenant_id\t",
    ] {
        let body = format!(r#"{{"metadata":{{"{key}":"x"}}}}"#);
        let edited = marked(&body).unwrap();
        assert_eq!(edited, r#"{"metadata":{"coppice_tenant_id":"team-a"}}"#, "{key}");
    }
    for key in ["host-mount", "HOST-MOUNT", "ho\u{17f}t-mount", r"ho\u017ft-mount", " host-mount "]
    {
        let edited = marked(&format!(r#"{{"metadata":{{"{key}":"x"}}}}"#)).unwrap();
        assert_eq!(edited, r#"{"metadata":{"coppice_tenant_id":"team-a"}}"#, "{key}");
    }
}

#[test]
fn reserved_names_and_prefixes_are_taken_from_everybody() {
    let reserved = Reserved::new(["cube.*", "Billing", "\u{212a}ey"]);
    let tenant = TenantId::parse("team-a").unwrap();
    let admin = Creator { tenant: Some(&tenant), may_mount: true, reserved: &reserved };
    let body = r#"{"metadata":{"cube.x":"1","CUBE.":"2","cube":"3","billing":"4","billings":"5","KEY":"6","host-mount":"7"}}"#;
    assert_eq!(
        String::from_utf8(create(body.as_bytes(), admin, Generation::AsSent).unwrap()).unwrap(),
        r#"{"metadata":{"cube":"3","billings":"5","host-mount":"7","coppice_tenant_id":"team-a"}}"#
    );
}

#[test]
fn every_nested_payload_is_marked_and_nothing_around_it() {
    const M: &str = r#""metadata":{"coppice_tenant_id":"team-a"}"#;
    for (body, expected) in [
        (r#"{"every":60,"payload":{"templateID":"b"}}"#, format!(r#"{{"every":60,"payload":{{"templateID":"b",{M}}}}}"#)),
        (r#"{"templateID":"b"}"#, format!(r#"{{"templateID":"b",{M}}}"#)),
        (
            r#"{"runs":[1,[{"x":{"templateid":"b","metadata":null}}],{"templateID":null}]}"#,
            format!(r#"{{"runs":[1,[{{"x":{{"templateid":"b",{M}}}}}],{{"templateID":null,{M}}}]}}"#),
        ),
        (
            r#"{"payload":{"templateID":"b","fallback":{"template\u0049D":"c"}}}"#,
            format!(r#"{{"payload":{{"templateID":"b","fallback":{{"template\u0049D":"c",{M}}},{M}}}}}"#),
        ),
        (
            r#"{"metadata":{"coppice_tenant_id":"x","own":"1"},"payload":{"templateID":"b","envVars":{"A":"1","a":"2"}}}"#,
            format!(r#"{{"metadata":{{"own":"1"}},"payload":{{"templateID":"b","envVars":{{"A":"1","a":"2"}},{M}}}}}"#),
        ),
        // A change to a stored payload.
        (
            r#"{"payload":{"metadata":{"Coppice_Tenant_Id":"x"}}}"#,
            format!(r#"{{"payload":{{{M}}}}}"#),
        ),
        (r#"{"enabled":false,"metadata":"no object"}"#, r#"{"enabled":false,"metadata":"no object"}"#.to_owned()),
        (r#"{"payload":{"templateID":"b","metadata":{"metadata":{"templateID":"x"}}}}"#,
         r#"{"payload":{"templateID":"b","metadata":{"metadata":{"templateID":"x"},"coppice_tenant_id":"team-a"}}}"#.to_owned()),
    ] {
        assert_eq!(marked_nested(body).as_deref(), Ok(expected.as_str()), "{body}");
    }
}

#[test]
fn nested_payloads_have_one_reading_all_the_way_down() {
    for body in [
        "",
        "[]",
        r#"[{"templateID":"b"}]"#,
        r#"{"payload":{"templateID":"b"},"Payload":{"metadata":{"coppice_tenant_id":"x"}}}"#,
        r#"{"payload":{"templateID":"b"},"payload":{}}"#,
        r#"{"a":[{"payload":{"templateID":"b"},"pay\u006coad":1}]}"#,
        r#"{"payload":{"templateID":"b","templateId":"c"}}"#,
        r#"{"payload":{"templateID":"b","metadata":{},"Metadata":{}}}"#,
        r#"{"payload":{"templateID":"b","Metadata":{}}}"#,
        r#"{"payload":{"templateID":"b","metadata":[]}}"#,
        r#"{"payload":{"templateID":"b","metadata":{"coppice_tenant_id":"x","COPPICE_tenant_id":"y"}}}"#,
        r#"{"payload":{"Metadata":{"coppice_tenant_id":"x"}}}"#,
    ] {
        assert!(marked_nested(body).is_err(), "{body}");
    }
    let deep = |depth: usize| {
        format!("{}{{\"templateID\":1}}{}", "{\"a\":".repeat(depth), "}".repeat(depth))
    };
    assert!(marked_nested(&deep(63)).is_ok());
    assert!(marked_nested(&deep(64)).is_err());
    assert!(marked_nested(&deep(100_000)).is_err());
}

/// Any JSON, with the names that matter among its keys.
fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        any::<i64>().prop_map(Tree::from),
        "[ -~é\u{212a}]{0,6}".prop_map(Tree::from),
    ];
    let key = prop_oneof![
        Just("templateID".to_owned()),
        Just("metadata".to_owned()),
        Just("coppice_tenant_id".to_owned()),
        "[a-e]{1,2}",
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Tree::from),
            proptest::collection::vec((key.clone(), inner), 0..5)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// What marking should leave of `tree`, by another road: a tree that is changed and written anew.
fn expected(tree: &mut Tree) {
    match tree {
        Tree::Array(elements) => elements.iter_mut().for_each(expected),
        Tree::Object(members) => {
            let payload = members.contains_key("templateID");
            for (key, value) in members.iter_mut() {
                if !(payload && key == "metadata") {
                    expected(value);
                }
            }
            if payload {
                let metadata = members.entry("metadata").or_insert(Tree::Null);
                if metadata.is_null() {
                    *metadata = json!({});
                }
                let metadata = metadata.as_object_mut().unwrap();
                metadata.shift_remove("coppice_tenant_id");
                metadata.insert("coppice_tenant_id".to_owned(), "team-a".into());
            }
        }
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::String(_) => {}
    }
}

/// Whether some payload's metadata is neither absent, null nor an object, or metadata stands outside payloads.
fn is_odd(tree: &Tree, inside: bool) -> bool {
    match tree {
        Tree::Array(elements) => elements.iter().any(|element| is_odd(element, inside)),
        Tree::Object(members) => {
            let payload = members.contains_key("templateID");
            let metadata = members.get("metadata");
            let odd = match metadata {
                Some(Tree::Object(_)) => !payload && !inside,
                Some(Tree::Null) | None => false,
                Some(_) => payload,
            };
            odd || members.iter().any(|(key, value)| {
                !(payload && key == "metadata") && is_odd(value, inside || payload)
            })
        }
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::String(_) => false,
    }
}

proptest! {
    #[test]
    fn marking_changes_nothing_else(members in proptest::collection::vec(("[a-d]", tree()), 0..4)) {
        let tree: Tree = members.into_iter().collect::<serde_json::Map<_, _>>().into();
        prop_assume!(!is_odd(&tree, false));
        let edited = marked_nested(&tree.to_string()).unwrap();
        let mut wanted = tree;
        expected(&mut wanted);
        prop_assert_eq!(edited, wanted.to_string());
    }

    #[test]
    fn a_create_changes_nothing_but_its_own_metadata(
        members in proptest::collection::btree_map("[a-d]", tree(), 0..4),
        metadata in proptest::option::of(proptest::collection::btree_map("[e-h]{1,3}", tree(), 0..4)),
    ) {
        let mut body: serde_json::Map<_, _> = members.into_iter().collect();
        let mut own: serde_json::Map<_, _> = metadata.clone().into_iter().flatten().collect();
        if metadata.is_some() {
            body.insert("metadata".to_owned(), own.clone().into());
        }
        body.insert("templateID".to_owned(), "base".into());
        let edited = marked(&Tree::from(body.clone()).to_string()).unwrap();
        own.insert("coppice_tenant_id".to_owned(), "team-a".into());
        body.insert("metadata".to_owned(), own.into());
        prop_assert_eq!(edited, Tree::from(body).to_string());
    }
}
