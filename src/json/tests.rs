//! What is JSON and what is not, how keys compare, and that edits touch nothing else.

mod properties;

use super::*;

fn parse(text: &str) -> Result<Document<'_>, JsonError> {
    Document::parse(text.as_bytes(), Limits::default())
}

fn root_object(text: &str) -> Object<'_> {
    parse(text).unwrap().root().as_object().unwrap()
}

const ACCEPTED: &[&str] = &[
    "[]",
    "{}",
    "[[] ]",
    "[{}]",
    "[\"\"]",
    "[1]",
    " [1] ",
    "\t\r\n[1]\n",
    "null",
    "true",
    "false",
    "\"asd\"",
    "42",
    "-0",
    "-0.1",
    "-123",
    "0",
    "0e1",
    "0e+1",
    "1E22",
    "1E-2",
    "1e1",
    "123.456e78",
    "123.456789",
    "100000000000000000000000",
    "1e400",
    "0.000000000000000000000000000000000000000000000000000000000001",
    "[null, 1, \"1\", {}]",
    "[ 4]",
    "[1,null,null,null,2]",
    "[2] ",
    "{\"a\":\"b\"}",
    "{\"a\":\"b\",\"a\":\"b\"}",
    "{\"\":0}",
    "{\"foo\\u0000bar\": 42}",
    "{ \"min\": -1.0e+28, \"max\": 1.0e+28 }",
    "{\"a\":[]}",
    "{\n\"a\": \"b\"\n}",
    "[\"\\u0060\\u012a\\u12AB\"]",
    "[\"\\uD801\\udc37\"]",
    "[\"\\ud83d\\ude39\\ud83d\\udc8d\"]",
    "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
    "[\"\\\\u0000\"]",
    "[\"\\\"\"]",
    "[\"a/*b*/c\"]",
    "[\"\\\\n\"]",
    "[\"\\u0012\"]",
    "[\"\\uFFFF\"]",
    "[\"\u{7f}\"]",
    "[\"\u{20ac}\u{1d11e}\"]",
    "[\"\u{2028}\u{2029}\"]",
    "[\"\\uDBFF\\uDFFE\"]",
    "[\"new\\u000Aline\"]",
    "[\"\u{feff}\"]",
    "\"\"",
    "[\"a\",\n\n4\n,1]",
];

const REJECTED: &[&str] = &[
    "",
    " ",
    "[",
    "]",
    "{",
    "}",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1,,2]",
    "[,]",
    "[1 true]",
    "[3[4]]",
    "[1}",
    "[\"a\"",
    "[\"a",
    "[\"",
    "[\"\\",
    "[\"\\\"]",
    "[\"\\u",
    "[\"\\u00A\"]",
    "[\"\\u00G0\"]",
    "[\"\\x00\"]",
    "[\"\\a\"]",
    "[\"\\\u{1f300}\"]",
    "[\"\\uD800\"]",
    "[\"\\uD800\\\"]",
    "[\"\\uD800\\u\"]",
    "[\"\\uD800\\u0041\"]",
    "[\"\\uD800\\uD800\"]",
    "[\"\\uDC00\"]",
    "[\"\\uD800x\"]",
    "[\"\\uD800\\n\"]",
    "[\"\\u+123\"]",
    "[\"a\nb\"]",
    "[\"\t\"]",
    "[\"\0\"]",
    "[\"\x1f\"]",
    "['a']",
    "[a]",
    "{a:1}",
    "{'a':1}",
    "{\"a\"}",
    "{\"a\" 1}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{,\"a\":1}",
    "{\"a\":1 \"b\":2}",
    "{\"a\":1,,\"b\":2}",
    "{\"a\"::1}",
    "{\"a\",1}",
    "{1:1}",
    "{null:1}",
    "{\"a\":1",
    "{\"a\":1]",
    "{\"a\"",
    "{\"a",
    "{[]:1}",
    "-",
    "+1",
    "01",
    "-01",
    "1.",
    ".1",
    "-.1",
    "1.e1",
    "1e",
    "1e+",
    "1E-",
    "1ee1",
    "1e1.5",
    "0x1",
    "1_0",
    "1 000",
    "--1",
    "-+1",
    "-a",
    "1a",
    "0.1.2",
    "Infinity",
    "-Infinity",
    "NaN",
    "nul",
    "nulll",
    "True",
    "TRUE",
    "tru",
    "fals",
    "truefalse",
    "[] []",
    "{}x",
    "1 2",
    "\"a\"b",
    "[]]",
    "{}}",
    "\u{feff}[]",
    "[\u{a0}1]",
    "\u{c}[]",
    "[1\u{b}]",
    "[]\0",
    "/**/[]",
    "[] // x",
    "[\u{2060}]",
    "<null>",
    "[1:2]",
    "[\"a\":1]",
    "[-]",
    "[\u{ff11}]",
    "{\"a\":\"b\"}#",
    "abc",
    "\\u0041",
    "*",
    "[\"\u{0}\"]",
    "[--2.]",
    "{\"a\":true false}",
];

#[test]
fn takes_json_and_nothing_else() {
    for text in ACCEPTED {
        assert!(parse(text).is_ok(), "{text:?}: {:?}", parse(text));
        assert!(serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok(), "{text:?}");
    }
    for text in REJECTED {
        assert!(parse(text).is_err(), "{text:?}");
        assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text:?}");
    }
    for bytes in [&b"[\"\xff\"]"[..], b"[\"\xc0\xaf\"]", b"[\"\xed\xa0\x80\"]", b"\xff\xfe[\0]\0"] {
        let result = Document::parse(bytes, Limits::default());
        assert!(matches!(result, Err(JsonError::NotUtf8(_))), "{result:?}");
    }
}

#[test]
fn says_where_and_never_what() {
    for (text, error, shown) in [
        ("[1,x]", JsonError::Syntax(3), "not JSON at byte 3"),
        ("[\"secret\n\"]", JsonError::Syntax(8), "not JSON at byte 8"),
        ("{\"a\":", JsonError::Truncated, "JSON ends too early"),
    ] {
        assert_eq!(parse(text).unwrap_err(), error);
        assert_eq!(error.to_string(), shown);
    }
}

#[test]
fn depth_is_bounded_and_a_bomb_costs_nothing() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(64)).is_ok());
    assert_eq!(parse(&nested(65)).unwrap_err(), JsonError::TooDeep(64));
    assert_eq!(parse(&"[".repeat(100_000)).unwrap_err(), JsonError::TooDeep(64));
    assert_eq!(parse(&"{\"a\":".repeat(100_000)).unwrap_err(), JsonError::TooDeep(64 * 5));
    let limits = Limits { max_depth: 200_000 };
    let deep = nested(100_000);
    let document = Document::parse(deep.as_bytes(), limits).unwrap();
    assert_eq!(document.root().span(), Span { start: 0, end: 200_000 });
    assert!(Document::parse(b"1", Limits { max_depth: 0 }).is_ok());
    assert!(Document::parse(b"[]", Limits { max_depth: 0 }).is_err());
}

#[test]
fn finds_members_and_elements_where_they_are() {
    let text = r#" { "a" : [1, "x]}\"", {"b":-2.5e3}, [], true] , "\u0063oppice":null,"":false } "#;
    let object = root_object(text);
    let members: Vec<_> = object.members().collect();
    let keys: Vec<_> = members.iter().map(|member| &*member.key).collect();
    assert_eq!(keys, ["a", "coppice", ""]);
    assert_eq!(&text[std::ops::Range::from(members[1].key_span)], r#""\u0063oppice""#);
    let elements: Vec<_> = members[0].value.as_array().unwrap().elements().collect();
    let texts: Vec<_> = elements.iter().map(Value::text).collect();
    assert_eq!(texts, ["1", r#""x]}\"""#, r#"{"b":-2.5e3}"#, "[]", "true"]);
    let kinds: Vec<_> = elements.iter().map(Value::kind).collect();
    assert_eq!(kinds, [Kind::Number, Kind::String, Kind::Object, Kind::Array, Kind::Bool]);
    assert_eq!(elements[1].as_str().as_deref(), Some("x]}\""));
    assert_eq!(elements[2].as_object().unwrap().get("b").unwrap().value.text(), "-2.5e3");
    assert_eq!(elements[3].as_array().unwrap().elements().count(), 0);
    assert_eq!(members[1].value.kind(), Kind::Null);
    assert!(elements[0].as_str().is_none() && elements[0].as_object().is_none());
    assert_eq!(object.get("coppice").unwrap(), members[1]);
    assert!(object.get("b").is_none());
}

#[test]
fn keys_that_some_reader_takes_for_the_same_are_refused() {
    for (first, second) in [
        ("a", "a"),
        ("metadata", "Metadata"),
        ("metadata", "\\u006detadata"),
        ("metadata", "METADAT\\u0041"),
        ("k", "\u{212a}"),
        ("K", "\u{212a}"),
        ("s", "\u{17f}"),
        ("task\u{17f}", "TAS\\u212as"),
        ("", ""),
        ("\u{e9}", "\u{c9}"),
        ("\u{3c3}", "\u{3c2}"),
    ] {
        let text = format!("{{\"{first}\":1,\"x\":2,\"{second}\":3}}");
        let second_at = text.rfind(",\"").unwrap() + 1;
        let repeated = Err(JsonError::RepeatedKey(second_at));
        assert_eq!(root_object(&text).check_keys(), repeated, "{text}");
    }
    for (first, second) in
        [("a", "b"), ("a", "a "), ("\u{131}", "i"), ("\u{df}", "ss"), ("a", "\u{e1}")]
    {
        let text = format!("{{\"{first}\":{{\"x\":1,\"x\":2}},\"{second}\":3}}");
        assert_eq!(root_object(&text).check_keys(), Ok(()), "{text}");
    }
}

#[test]
fn tells_a_key_from_its_variants() {
    let found = |text: &str| match root_object(text).find_folded("metadata") {
        Found::Exact(member) => format!("exact {}", member.value.text()),
        Found::Variant(member) => format!("variant {}", member.value.text()),
        Found::Absent => "absent".to_owned(),
    };
    assert_eq!(found(r#"{"a":0,"metadata":1}"#), "exact 1");
    assert_eq!(found(r#"{"Metadata":0,"metadata":1}"#), "exact 1");
    assert_eq!(found(r#"{"m\u0065tadata":1}"#), "exact 1");
    assert_eq!(found(r#"{"metaData":1,"METADATA":2}"#), "variant 1");
    assert_eq!(found(r#"{"a":{"metadata":1}}"#), "absent");
    assert_eq!(found("{}"), "absent");
}

#[test]
fn quotes_what_must_be_quoted() {
    for (text, quoted) in [
        ("", "\"\""),
        ("plain \u{e9}\u{1f600}/", "\"plain \u{e9}\u{1f600}/\""),
        ("\"\\\n\r\t\0\x1f\x7f", "\"\\\"\\\\\\n\\r\\t\\u0000\\u001f\x7f\""),
    ] {
        assert_eq!(quote(text), quoted);
    }
}

#[test]
fn removes_and_inserts_with_the_right_commas() {
    let text = "{ \"a\" : 1 , \"b\" : 2 , \"c\" : 3 }";
    for (removed, inserted, expected) in [
        (&["a"][..], &[][..], "{ \"b\" : 2 , \"c\" : 3 }"),
        (&["b"], &[], "{ \"a\" : 1 , \"c\" : 3 }"),
        (&["c"], &[], "{ \"a\" : 1 , \"b\" : 2 }"),
        (&["a", "b"], &[], "{ \"c\" : 3 }"),
        (&["c", "a"], &[], "{ \"b\" : 2 }"),
        (&["b", "c"], &[], "{ \"a\" : 1 }"),
        (&["a", "b", "c"], &[], "{  }"),
        (&[], &["x"], "{ \"a\" : 1 , \"b\" : 2 , \"c\" : 3,\"x\":[] }"),
        (&["c"], &["x", "y"], "{ \"a\" : 1 , \"b\" : 2,\"x\":[],\"y\":[] }"),
        (&["a", "b", "c"], &["x"], "{ \"x\":[] }"),
    ] {
        let document = parse(text).unwrap();
        let object = root_object(text);
        let mut edit = Edit::of(&document);
        for key in inserted {
            edit.insert(&object, key, "[]");
        }
        for key in removed {
            edit.remove(&object, &object.get(key).unwrap());
        }
        assert_eq!(String::from_utf8(edit.apply()).unwrap(), expected);
    }
    for (text, expected) in [("{}", "{\"q\\\"\":1}"), (" { } ", " {\"q\\\"\":1 } ")] {
        let mut edit = Edit::of(&parse(text).unwrap());
        edit.insert(&root_object(text), "q\"", "1");
        assert_eq!(String::from_utf8(edit.apply()).unwrap(), expected);
    }
}

#[test]
fn changes_in_several_places_and_inside_each_other_do_not_disturb() {
    let text = r#"[{"id":"a","token":"s1","m":{"x":1}},{"token":"s2"},{"token":null}]"#;
    let document = parse(text).unwrap();
    let mut edit = Edit::of(&document);
    let objects = document.root().as_array().unwrap().elements().filter_map(|v| v.as_object());
    for object in objects {
        let token = object.get("token").unwrap();
        edit.replace(token.value.span(), quote("new"));
        if let Some(member) = object.get("m") {
            edit.insert(&member.value.as_object().unwrap(), "y", "2");
        } else {
            edit.remove(&object, &token);
            edit.insert(&object, "z", "3");
        }
    }
    let expected = r#"[{"id":"a","token":"new","m":{"x":1,"y":2}},{"z":3},{"z":3}]"#;
    assert_eq!(String::from_utf8(edit.apply()).unwrap(), expected);
    assert_eq!(Edit::of(&document).apply(), text.as_bytes());
}

#[test]
fn debug_output_shows_no_text() {
    let document = parse(r#"{"password":"hunter2"}"#).unwrap();
    let object = document.root().as_object().unwrap();
    let mut edit = Edit::of(&document);
    edit.insert(&object, "password", "\"hunter2\"");
    let members: Vec<_> = object.members().collect();
    let found = object.find_folded("password");
    let shown = format!("{document:?} {object:?} {members:?} {found:?} {edit:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("password"), "{shown}");
}
