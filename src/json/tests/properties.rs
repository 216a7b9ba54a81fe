//! The same answers as an independent reader, and edits that change one thing only.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value as Oracle};

use super::*;

fn any_value() -> impl Strategy<Value = Oracle> {
    let leaf = prop_oneof![
        Just(Oracle::Null),
        any::<bool>().prop_map(Oracle::from),
        any::<i64>().prop_map(Oracle::from),
        any::<u64>().prop_map(Oracle::from),
        (-1e30..1e30).prop_map(Oracle::from),
        any::<String>().prop_map(Oracle::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Oracle::from),
            vec((any::<String>(), inner), 0..6)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// JSON in one of several styles of white space and escapes.
fn any_text() -> impl Strategy<Value = String> {
    (any_value(), 0..3).prop_map(|(value, style)| match style {
        0 => value.to_string(),
        1 => serde_json::to_string_pretty(&value).unwrap(),
        _ => value
            .to_string()
            .chars()
            .map(|char| match char {
                '\0'..='\x7f' => char.to_string(),
                _ => {
                    let mut units = [0; 2];
                    char.encode_utf16(&mut units).iter().map(|u| format!("\\u{u:04X}")).collect()
                }
            })
            .collect(),
    })
}

/// Pieces of JSON in any order.
fn nearly_json() -> impl Strategy<Value = String> {
    let pieces = [
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u00e9", "\\ud83d", "\\ude00", "\"a\"",
        "\"b\":", "1", "-", "0", ".5", "e9", "+", "true", "null", " ", "\n", "\u{1}", "\u{e9}",
        "x",
    ];
    vec(proptest::sample::select(pieces.to_vec()), 0..10).prop_map(|pieces| pieces.concat())
}

fn rebuild(value: Value<'_>) -> Oracle {
    match value.kind() {
        Kind::Null => Oracle::Null,
        Kind::Bool => (value.text() == "true").into(),
        Kind::Number => value.text().parse::<serde_json::Number>().unwrap().into(),
        Kind::String => value.as_str().unwrap().into_owned().into(),
        Kind::Array => value.as_array().unwrap().elements().map(rebuild).collect(),
        Kind::Object => {
            let members = value.as_object().unwrap().members();
            members.map(|m| (m.key.into_owned(), rebuild(m.value))).collect::<Map<_, _>>().into()
        }
    }
}

/// Asserts that both readers take or refuse this text.
fn same_verdict(bytes: &[u8]) {
    let ours = Document::parse(bytes, Limits { max_depth: 100 });
    match serde_json::from_slice::<Oracle>(bytes) {
        Ok(oracle) => assert_eq!(rebuild(ours.unwrap().root()), oracle),
        // The oracle wants numbers to fit; the grammar does not.
        Err(error) if error.to_string().starts_with("number out of range") => {}
        Err(error) => assert!(ours.is_err(), "{bytes:?}: {error}"),
    }
}

/// The texts of an object's members but this one, in order.
fn others<'a>(object: Object<'a>, key: &str) -> Vec<(String, &'a str)> {
    let others = object.members().filter(|member| member.key != key);
    others.map(|member| (member.key.into_owned(), member.value.text())).collect()
}

proptest! {
    #[test]
    fn reads_what_the_oracle_wrote(text in any_text()) {
        same_verdict(text.as_bytes());
        prop_assert!(parse(&text).is_ok());
    }

    #[test]
    fn agrees_on_damaged_texts(
        text in any_text(),
        damage in vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = text.into_bytes();
        for (place, byte) in damage {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        same_verdict(&bytes);
    }

    #[test]
    fn agrees_on_near_misses(text in nearly_json(), bytes in vec(any::<u8>(), 0..20)) {
        same_verdict(text.as_bytes());
        same_verdict(&bytes);
    }

    #[test]
    fn quoting_is_undone_by_reading(text in any::<String>()) {
        let quoted = quote(&text);
        let read = parse(&quoted).unwrap().root().as_str().unwrap().into_owned();
        prop_assert_eq!(&read, &text);
        prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
    }

    #[test]
    fn an_edit_changes_one_member_and_nothing_else(
        members in vec(("[a-z\\n\"\u{e9}]{0,4}", any_text()), 0..6),
        space in "[ \\n\\t]{0,2}",
        chosen in any::<usize>(),
    ) {
        let members: Map<_, _> =
            members.into_iter().map(|(key, text)| (key, Oracle::from(text))).collect();
        let inside: Vec<_> = members
            .iter()
            .map(|(key, text)| format!("{space}{}{space}:{}{space}", quote(key), text.as_str().unwrap()))
            .collect();
        let text = format!("{space}{{{}{space}}}", inside.join(","));
        let document = parse(&text).unwrap();
        let object = document.root().as_object().unwrap();
        let oracle: Map<String, Oracle> = serde_json::from_str(&text).unwrap();

        let mut edit = Edit::of(&document);
        edit.insert(&object, "new key", "{\"n\":1}");
        let edited = String::from_utf8(edit.apply()).unwrap();
        let mut expected = oracle.clone();
        expected.insert("new key".to_owned(), serde_json::json!({"n": 1}));
        let read: Map<String, Oracle> = serde_json::from_str(&edited).unwrap();
        prop_assert!(read.iter().eq(expected.iter()));
        prop_assert_eq!(others(root_object(&edited), "new key"), others(object, "new key"));

        if oracle.is_empty() {
            return Ok(());
        }
        let member = object.members().nth(chosen % oracle.len()).unwrap();
        let mut edit = Edit::of(&document);
        edit.remove(&object, &member);
        let edited = String::from_utf8(edit.apply()).unwrap();
        let mut expected = oracle.clone();
        expected.shift_remove(&*member.key);
        let read: Map<String, Oracle> = serde_json::from_str(&edited).unwrap();
        prop_assert!(read.iter().eq(expected.iter()));
        prop_assert_eq!(others(root_object(&edited), "new key"), others(object, &member.key));

        let mut edit = Edit::of(&document);
        edit.replace(member.value.span(), "\"replaced\"");
        let edited = String::from_utf8(edit.apply()).unwrap();
        let Span { start, end } = member.value.span();
        prop_assert_eq!(edited, format!("{}\"replaced\"{}", &text[..start], &text[end..]));
    }

    #[test]
    fn an_array_loses_the_elements_that_were_named_and_nothing_else(
        elements in vec((any_text(), any::<bool>()), 0..8),
        space in "[ \\n\\t]{0,2}",
    ) {
        let inside: Vec<_> =
            elements.iter().map(|(text, _)| format!("{space}{text}{space}")).collect();
        let text = format!("{space}[{}{space}]", inside.join(","));
        let document = parse(&text).unwrap();
        let array = document.root().as_array().unwrap();
        let mut edit = Edit::of(&document);
        for (element, (_, stays)) in array.elements().zip(&elements) {
            if !stays {
                edit.remove_element(&array, &element);
            }
        }
        let edited = String::from_utf8(edit.apply()).unwrap();
        let read = parse(&edited).unwrap();
        let left: Vec<_> = read.root().as_array().unwrap().elements().map(|e| e.text()).collect();
        let expected: Vec<_> =
            elements.iter().filter(|(_, stays)| *stays).map(|(text, _)| text.trim()).collect();
        prop_assert_eq!(left, expected);
    }
}
