//! Which spellings are refused, and that what is accepted has one reading.

use proptest::prelude::*;

use super::*;

#[test]
fn accepts_paths_with_one_reading() {
    for raw in [
        "/",
        "/health",
        "/health/",
        "/sandboxes/i1a2b3/logs",
        "/process.Process/Start",
        "/v2/library/app/manifests/sha256:0a1b",
        "/files/download-token/YWJj.1700000000.0a1b2c",
        "/ui/assets/index-C0ffee~1.js",
        "/ui/a%20b%C3%A9%E2%82%AC%F0%9F%98%80.png",
        "/x/!$&'()*+,=:@-._~",
        "/x/...",
        "/x/.hidden",
        "/x/a..b",
        "/x/%40%3A%5B%7B",
    ] {
        let path = CanonicalPath::parse(raw).unwrap_or_else(|why| panic!("{raw:?}: {why}"));
        assert_eq!(path.as_str(), raw);
        assert!(!path.has_encoded_slash(), "{raw:?}");
    }
}

#[test]
fn remembers_slashes_inside_segments() {
    for raw in ["/templates/team%2Fname%3Atag", "/templates/team%2fname", "/x/a%2Fb/", "/x/a%2F..."]
    {
        assert!(CanonicalPath::parse(raw).unwrap().has_encoded_slash(), "{raw:?}");
    }
    let path = CanonicalPath::parse("/templates/a%2Fb/tags/").unwrap();
    assert_eq!(path.segments().collect::<Vec<_>>(), ["templates", "a%2Fb", "tags", ""]);
}

#[test]
fn refuses_paths_with_two_readings() {
    use BadPath::*;
    for (raw, why) in [
        ("", NotAbsolute),
        ("*", NotAbsolute),
        ("health", NotAbsolute),
        ("http://host/health", NotAbsolute),
        ("//", EmptySegment),
        ("//health", EmptySegment),
        ("/a//b", EmptySegment),
        ("/a//", EmptySegment),
        ("/.", DotSegment),
        ("/..", DotSegment),
        ("/./health", DotSegment),
        ("/a/./b", DotSegment),
        ("/a/../b", DotSegment),
        ("/a/b/..", DotSegment),
        ("/a/b/../", DotSegment),
        ("/a/.%2E/b", NeedlessEscape),
        ("/ui/%2e%2e/sandboxes", NeedlessEscape),
        ("/ui/%2E", NeedlessEscape),
        ("/%69nit", NeedlessEscape),
        ("/template%73", NeedlessEscape),
        ("/a%7E", NeedlessEscape),
        ("/a%5F", NeedlessEscape),
        ("/a%2D", NeedlessEscape),
        ("/a%30", NeedlessEscape),
        ("/ui%2f..%2fsandboxes", DotSegment),
        ("/x/..%2Fy", DotSegment),
        ("/x/y%2F..", DotSegment),
        ("/x/y%2F.", DotSegment),
        ("/x/%2Fy", EmptySegment),
        ("/x/y%2F", EmptySegment),
        ("/x/y%2F/", EmptySegment),
        ("/x/y%2F%2Fz", EmptySegment),
        ("/x/%252e%252e", EncodedDelimiter),
        ("/x/a%25", EncodedDelimiter),
        ("/x/a%5cb", EncodedDelimiter),
        ("/x/a%3Bb", EncodedDelimiter),
        ("/x/a%3fb", EncodedDelimiter),
        ("/x/a%23b", EncodedDelimiter),
        ("/x/a%", BrokenEscape),
        ("/x/a%2", BrokenEscape),
        ("/x/a%zz", BrokenEscape),
        ("/x/a%2g", BrokenEscape),
        ("/x/a% 20", BrokenEscape),
        ("/x/a%u002e", BrokenEscape),
        ("/x/%c0%ae%c0%ae", BrokenEscape),
        ("/x/%c0%af", BrokenEscape),
        ("/x/%e0%80%af", BrokenEscape),
        ("/x/%ff", BrokenEscape),
        ("/x/%C3", BrokenEscape),
        ("/x/%C3a", BrokenEscape),
        ("/x/%ED%A0%80", BrokenEscape),
        ("/x/a%00", Control),
        ("/x/a%0d%0a", Control),
        ("/x/a%7F", Control),
        ("/x/a\0", Control),
        ("/x/a\tb", Control),
        ("/x/a\x7f", Control),
        ("/x\\y", Backslash),
        ("/health;x", Parameter),
        ("/a;b=c/d", Parameter),
        ("/a b", Character),
        ("/a?b", Character),
        ("/a#b", Character),
        ("/a\"b", Character),
        ("/a<b>", Character),
        ("/a[b]", Character),
        ("/a{b}", Character),
        ("/a|b", Character),
        ("/a^b`", Character),
        ("/é", Character),
    ] {
        assert_eq!(CanonicalPath::parse(raw), Err(why), "{raw:?}");
    }
}

#[test]
fn bounds_the_length() {
    let longest = format!("/{}", "a".repeat(CanonicalPath::MAX - 1));
    assert!(CanonicalPath::parse(&longest).is_ok());
    assert_eq!(CanonicalPath::parse(&format!("{longest}a")), Err(BadPath::TooLong));
}

/// Decodes once, as a careless upstream would before it routes.
fn decode(raw: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
            let digits = std::str::from_utf8(&digits).unwrap();
            decoded.push(u8::from_str_radix(digits, 16).unwrap());
        } else {
            decoded.push(byte);
        }
    }
    decoded
}

proptest! {
    /// Whoever decodes an accepted path once sees UTF-8 without dot segments, empty segments, controls or delimiters,
    /// and decoding it again changes nothing.
    #[test]
    fn accepted_paths_decode_to_themselves(raw in "/([a-c./;%\\\\é?]|%2[ef0-9]|%[0-9a-fA-F]{2}|%c3%a9){0,12}") {
        if let Ok(path) = CanonicalPath::parse(&raw) {
            let text = String::from_utf8(decode(&raw)).unwrap();
            prop_assert!(!text.contains(['%', '\\', ';', '?', '#']));
            prop_assert!(!text.bytes().any(|b| b.is_ascii_control()));
            let inner = text.strip_prefix('/').unwrap();
            let inner = inner.strip_suffix('/').unwrap_or(inner);
            for part in inner.split('/').filter(|_| !inner.is_empty()) {
                prop_assert!(!part.is_empty() && part != "." && part != "..", "{raw:?}");
            }
            prop_assert_eq!(path.has_encoded_slash(), raw.to_ascii_lowercase().contains("%2f"));
        }
    }

    /// Unless a path holds an encoded slash, it has as many segments after decoding as before.
    #[test]
    fn segments_survive_decoding(raw in "(/([a-c.:@-]|%20|%2F|%3A){1,4}){1,5}/?") {
        if let Ok(path) = CanonicalPath::parse(&raw) {
            let decoded = decode(&raw).iter().filter(|b| **b == b'/').count();
            let slashes = path.segments().count();
            prop_assert_eq!(decoded == slashes, !path.has_encoded_slash());
        }
    }

    #[test]
    fn never_panics(raw in "\\PC{0,40}") {
        let _ = CanonicalPath::parse(&raw);
    }
}
