//! HTTP/2: nothing that its framing lets through may become something else on the way to an HTTP/1.1 upstream.

use super::OK;
use crate::support::frames::{DATA, END_STREAM, End, Frames, GOAWAY, HEADERS, RST_STREAM};
use crate::support::world::key;
use crate::support::{Ask, Gateway, Upstream};

type Fields<'a> = Vec<(&'a str, &'a str)>;

/// A sound request head with `more` fields.
fn with<'a>(
    path: &'a str,
    method: &'a str,
    key: &'a str,
    more: &[(&'a str, &'a str)],
) -> Fields<'a> {
    let mut fields = vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "api.coppice.test"),
        (":path", path),
        ("x-api-key", key),
    ];
    fields.extend_from_slice(more);
    fields
}

fn ask(gateway: &Gateway, fields: &[(&str, &str)], body: Option<&[u8]>) -> End {
    let mut frames = Frames::connect(gateway.control());
    frames.head(1, fields, body.is_none());
    if let Some(body) = body {
        frames.send(DATA, END_STREAM, 1, body);
    }
    frames.end_of(1)
}

#[test]
fn a_sound_request_arrives_as_one_canonical_http1_request() {
    let upstream = Upstream::always(OK);
    let gateway = upstream.gateway();
    let key = key("exec");
    let more =
        [("te", "trailers"), ("cookie", "a=1"), ("cookie", "b=2"), ("host", "API.coppice.test")];
    let answered = ask(&gateway, &with("/templates?a=%zz", "GET", &key, &more), None);
    assert_eq!(answered, End::Answered(200, "ok".into()));
    let request = upstream.requests().pop().unwrap();
    assert!(request.starts_with("GET /templates?a=%zz HTTP/1.1\r\n"), "{request}");
    assert_eq!(request.matches("\r\nhost: ").count(), 1, "{request}");
    // HTTP/2 clients may send cookies in pieces; HTTP/1.1 has one line for them (RFC 9113 8.2.3).
    assert!(request.contains("\r\ncookie: a=1; b=2\r\n"), "{request}");
    assert!(request.contains("\r\nte: trailers\r\n"), "{request}");

    let fields = with("/files/batch", "POST", &key, &[]);
    assert_eq!(ask(&gateway, &fields, Some(b"hello")), End::Answered(200, "ok".into()));
    let request = upstream.requests().pop().unwrap();
    // The host that the client named is told, although it was only in :authority.
    assert!(request.contains("\r\nx-forwarded-host: api.coppice.test\r\n"), "{request}");
}

#[test]
fn nothing_doubtful_goes_upstream() {
    let upstream = Upstream::always(OK);
    let gateway = upstream.gateway();
    let key = key("exec");
    let get = |more: &[(&'static str, &'static str)]| {
        let more: Vec<_> = more.to_vec();
        with("/templates", "GET", &key, &[]).into_iter().chain(more).collect::<Fields<'_>>()
    };
    let replaced = |name: &str, value: &'static str| -> Fields<'_> {
        let fields = get(&[]).into_iter();
        fields.map(|(own, old)| if own == name { (own, value) } else { (own, old) }).collect()
    };
    let without = |name: &str| -> Fields<'_> {
        get(&[]).into_iter().filter(|(own, _)| *own != name).collect()
    };
    let refused = [
        get(&[("host", "evil.example")]),
        get(&[("host", "api.coppice.test"), ("host", "api.coppice.test")]),
        get(&[("te", "gzip")]),
        get(&[("connection", "close")]),
        get(&[("connection", "x-api-key")]),
        get(&[("transfer-encoding", "chunked")]),
        get(&[("upgrade", "websocket")]),
        get(&[("keep-alive", "timeout=5")]),
        get(&[("proxy-connection", "keep-alive")]),
        get(&[("X-Upper", "a")]),
        get(&[("x y", "a")]),
        get(&[("x:y", "a")]),
        get(&[("", "a")]),
        get(&[("x-value", "a\r\nx-smuggled: b")]),
        get(&[("x-value", "a\nb")]),
        get(&[("x-value", "a\0b")]),
        get(&[("x-value\r\nx-smuggled", "b")]),
        get(&[(":path", "/other")]),
        get(&[(":unknown", "x")]),
        get(&[(":protocol", "websocket")]),
        get(&[("content-length", "5")]),
        get(&[("content-length", "0"), ("content-length", "5")]),
        get(&[("content-length", "+0")]),
        replaced(":path", ""),
        replaced(":path", "templates"),
        replaced(":path", "*"),
        replaced(":path", "http://evil.example/templates"),
        replaced(":path", "/templates HTTP/1.1\r\nX-Smuggled: y"),
        replaced(":path", "/templates x"),
        replaced(":path", "//templates"),
        replaced(":path", "/ui/%2e%2e/admin"),
        replaced(":method", "GET /x HTTP/1.1\r\nx: "),
        replaced(":method", ""),
        replaced(":method", "CONNECT"),
        replaced(":method", "TRACE"),
        replaced(":method", "get"),
        replaced(":authority", "a, b"),
        replaced(":authority", "user@api.coppice.test"),
        replaced(":authority", "a/b"),
        replaced(":authority", "a\r\nx: y"),
        without(":method"),
        without(":path"),
        without(":authority"),
        vec![(":method", "CONNECT"), (":authority", "127.0.0.1:80"), ("x-api-key", &key)],
        vec![
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/templates"),
            (":authority", "a"),
        ],
    ];
    for fields in refused {
        match ask(&gateway, &fields, None) {
            End::Answered(status, body) => {
                assert!(matches!(status, 400 | 405), "{status} to {fields:?}");
                // Nothing but the gateway's own words.
                assert!(body.is_empty() || body.starts_with("{\"code\":"), "{body}");
            }
            End::Reset | End::Gone => {}
        }
        assert_eq!(String::from_utf8_lossy(&upstream.bytes()), "", "{fields:?}");
    }
}

#[test]
fn a_body_of_another_length_than_announced_is_no_request() {
    let upstream = Upstream::always(OK);
    let gateway = upstream.gateway();
    let key = key("exec");
    for (length, body) in [("3", "GET /smuggled HTTP/1.1\r\n\r\n"), ("50", "short")] {
        let fields = with("/files/batch", "POST", &key, &[("content-length", length)]);
        let end = ask(&gateway, &fields, Some(body.as_bytes()));
        assert!(!matches!(end, End::Answered(200, _)), "{length}: {end:?}");
        assert!(!String::from_utf8_lossy(&upstream.bytes()).contains("smuggled"));
    }
    // No client after them meets what was left.
    for _ in 0..5 {
        let answer = Ask::get("/templates").key(&key).send(gateway.control());
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }
}

#[test]
fn head_lists_and_streams_are_bounded_and_extended_connect_is_not_offered() {
    let upstream = Upstream::always(OK);
    let gateway = upstream.gateway();
    let key = key("exec");
    let settings = Frames::connect(gateway.control()).settings;
    let setting = |id| settings.iter().find(|(own, _)| *own == id).map(|(_, value)| *value);
    assert_eq!(setting(0x3), Some(200), "concurrent streams");
    assert_eq!(setting(0x6), Some(32 * 1024), "header list");
    assert!(matches!(setting(0x8), None | Some(0)), "extended CONNECT");

    let long = "x".repeat(33 * 1024);
    let end = ask(&gateway, &with("/templates", "GET", &key, &[("x-long", &long)]), None);
    assert!(matches!(end, End::Answered(431, _) | End::Reset | End::Gone), "{end:?}");
    let many = vec![("x-many", "y"); 100];
    let end = ask(&gateway, &with("/templates", "GET", &key, &many), None);
    assert!(matches!(end, End::Answered(431, _)), "{end:?}");
    assert!(upstream.bytes().is_empty());
}

#[test]
fn a_flood_of_resets_ends_its_connection_and_hurts_nobody_else() {
    const FLOOD: u32 = 20_000;
    let upstream = Upstream::start(|_, talk| talk.stall());
    let gateway = upstream.gateway();
    let key = key("exec");
    let fields = with("/templates", "GET", &key, &[]);
    let mut frames = Frames::connect(gateway.control());
    for number in 0..FLOOD {
        let stream = 2 * number + 1;
        frames.head(stream, &fields, true);
        frames.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    }
    let mut last = None;
    while let Some(frame) = frames.read() {
        if frame.kind == GOAWAY {
            last = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
        }
        assert!(frame.kind != HEADERS, "nobody answers a stream that was reset");
    }
    // Either the connection was ended with GOAWAY, or at once.
    assert_ne!(last, Some(0), "GOAWAY without an error");
    let whoami = Ask::get("/auth/whoami").key(&key).send(gateway.control());
    assert_eq!(whoami.status, 200);
}
