//! The guard holds bytes back behind exactly the requests whose verdict the other side of it will give.

use http::Request;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::permit::Upgrade;
use crate::proxy::tunnel::upgrade_of;
use crate::request::upgrade::asks;

const NEXT: &str = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n";

fn head(version: &str, fields: &str) -> String {
    format!("GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n")
}

/// Whether what follows this head waits for a verdict.
fn is_held_back(head: &str) -> bool {
    let sent = format!("{head}{NEXT}").into_bytes();
    let (out, end) = feed([sent.clone()], 8192);
    assert_eq!(end, End::Silent);
    if out == sent {
        return false;
    }
    assert_eq!(out, head.as_bytes(), "neither the head alone nor everything");
    true
}

/// The head as the HTTP server reads it.
fn as_read(head: &str) -> Request<()> {
    let mut space = [httparse::EMPTY_HEADER; 20];
    let mut parsed = httparse::Request::new(&mut space);
    assert!(parsed.parse(head.as_bytes()).unwrap().is_complete());
    let version =
        if parsed.version == Some(1) { http::Version::HTTP_11 } else { http::Version::HTTP_10 };
    let mut request = Request::builder().method(parsed.method.unwrap()).version(version);
    for field in parsed.headers {
        request = request.header(field.name, field.value);
    }
    request.body(()).unwrap()
}

#[test]
fn all_who_ask_for_an_upgrade_wait() {
    let runtime = still_clock();
    let _context = runtime.enter();
    for (version, fields, waits) in [
        ("1.1", "Connection: upgrade\r\nUpgrade: websocket\r\n", true),
        ("1.1", "Connection: Upgrade\r\nUpgrade: tcp\r\n", true),
        ("1.1", "upgrade:irc/6.9\r\nCONNECTION:keep-alive ,\tUPGRADE\r\n", true),
        ("1.1", "Connection: close\r\nConnection: upgrade\r\nUpgrade: tcp\r\n", true),
        ("1.1", "Connection: upgrade\r\nUpgrade: h2c, tcp\r\n", true),
        ("1.1", "Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: tcp\r\n", true),
        ("1.1", "Connection: upgrade\r\nUpgrade: h2c/1\r\n", true),
        ("1.1", "Connection: upgrade\r\nUpgrade: HTTP/2.0\r\n", true),
        ("1.1", "Connection: upgrade\r\nUpgrade: caf\u{e9}\r\n", true),
        ("1.1", "Connection: upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n", true),
        ("1.1", "Connection: upgrade, HTTP2-Settings\r\nUpgrade: H2C\r\n", false),
        ("1.1", "Connection: upgrade\r\nUpgrade: h2c ,\t, h2c\r\n", false),
        ("1.1", "Connection: upgrade\r\nUpgrade:\r\n", false),
        ("1.1", "Connection: upgrade\r\n", false),
        ("1.1", "Upgrade: tcp\r\n", false),
        ("1.1", "Connection: upgrades\r\nUpgrade: tcp\r\n", false),
        ("1.1", "Connection: up grade\r\nUpgrade: tcp\r\n", false),
        ("1.1", "X-Connection: upgrade\r\nUpgrade: tcp\r\n", false),
        ("1.0", "Connection: upgrade\r\nUpgrade: tcp\r\n", false),
    ] {
        let head = head(version, fields);
        assert_eq!(is_held_back(&head), waits, "{fields}");
        assert_eq!(asks(&as_read(&head)), waits, "{fields}");
    }
}

proptest! {
    #[test]
    fn both_sides_of_the_guard_read_alike(
        version in prop_oneof!["1\\.1", "1\\.0"],
        lines in vec((
            proptest::sample::select(vec!["Connection", "upgrade", "UPGRADE", "x-upgrade"]),
            vec(proptest::sample::select(vec![
                "upgrade", "Upgrade", "websocket", "h2c", "H2C", "tcp", "close", ",", ", ", " ", "\t", "/1", "\u{e9}",
            ]), 0..5),
        ), 0..5),
    ) {
        let runtime = still_clock();
        let _context = runtime.enter();
        let fields = lines.iter().map(|(name, words)| format!("{name}:{}\r\n", words.concat()));
        let head = head(&version, &fields.collect::<String>());
        let request = as_read(&head);
        prop_assert_eq!(is_held_back(&head), asks(&request));
        // Nothing is tunnelled that was not held back.
        prop_assert_eq!(upgrade_of(&request) != Upgrade::None, asks(&request));
    }
}
