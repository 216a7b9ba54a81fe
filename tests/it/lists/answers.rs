//! Answers that no well-behaved upstream gives: nothing of another tenant gets through, whatever they look like.

use std::io::Write as _;

use crate::support::upstream::Upstream;
use crate::support::world::key;
use crate::support::{Answer, Ask};

/// What a client of team-a gets of an upstream that answers with `body` under `head`, and knows no single sandbox.
fn answered(head: &str, body: &[u8], path: &str) -> Answer {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\n{head}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    let upstream = Upstream::start(move |_, talk| {
        while let Some(asked) = talk.request() {
            if asked.starts_with("GET /sandboxes/s") {
                talk.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            } else {
                talk.send(&answer);
            }
        }
    });
    let gateway = upstream.gateway();
    Ask::get(path).key(&key("read")).send(gateway.control())
}

fn is_not_passed_on(answer: &Answer, what: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_bad_answer"), "{what}");
    assert!(!answer.text().contains("stranger"), "{what}");
}

#[test]
fn odd_json_shows_nothing_of_others() {
    let own = r#"{"sandboxID":"own","n":1.0E+400,"metadata":{"k":"\u0041"}}"#;
    let marked = own.replace(r#""k""#, r#""coppice_tenant_id":"team-a","k""#);
    for foreign in [
        r#"{"sandboxID":"stranger"}"#,
        r#"{"sandboxID":"stranger","metadata":{"coppice_tenant_id":"team-b"}}"#,
        r#"{"sandboxID":"stranger","metadata":{"\u0063oppice_tenant_id":"team-b"}}"#,
        r#"{"sandboxID":"stranger","metadata":{"coppice_tenant_id":"team-a"},"metadata":{"coppice_tenant_id":"team-b"}}"#,
        r#"{"sandboxID":"stranger","metadata":{"coppice_tenant_id":"team-b"},"metadata":{"coppice_tenant_id":"team-a"}}"#,
        r#"{"sandboxID":"stranger","metadata":{"coppice_tenant_id":"team-b","\u0063oppice_tenant_id":"team-a"}}"#,
        r#"{"sandboxID":"stranger","metadata":{"coppice_tenant_id":"team-a","Coppice_Tenant_Id":"team-b"}}"#,
        r#"{"sandboxID":"stranger","METADATA":{"coppice_tenant_id":"team-b"},"metadata":{"coppice_tenant_id":"team-a"}}"#,
        r#"{"sandboxID":"stranger","n":123456789012345678901234567890,"metadata":{}}"#,
        r#"{"sandboxID":"stranger","metadata":"coppice_tenant_id=team-a"}"#,
        r#"["stranger",{"metadata":{"coppice_tenant_id":"team-a"}}]"#,
        r#""stranger""#,
    ] {
        for path in ["/sandboxes", "/v2/sandboxes", "/snapshots", "/events/sandboxes"] {
            let body = format!("[{foreign},{marked} , {foreign}]");
            let answer = answered("X-Total-Running: 3\r\nETag: \"x\"\r\n", body.as_bytes(), path);
            assert_eq!(answer.text(), format!("[{own}]"), "{path} {foreign}");
            assert_eq!(answer.header("etag"), None);
            assert!(answer.header("x-total-running").is_none_or(|total| total == "0"));
        }
    }
}

#[test]
fn what_cannot_be_read_is_not_passed_on() {
    let stranger = r#"[{"sandboxID":"stranger"}]"#;
    for body in [
        "",
        "null",
        "{}",
        r#"{"sandboxes":[{"sandboxID":"stranger"}]}"#,
        r#"{"sandboxID":"stranger"}"#,
        r#""stranger""#,
        r#"[{"sandboxID":"stranger"}"#,
        r#"[{"sandboxID":"stranger"},]"#,
        r#"[{"sandboxID":"stranger"}] []"#,
        "<html>stranger</html>",
        "\u{feff}[]",
    ] {
        for path in ["/sandboxes", "/v2/sandboxes?limit=1", "/snapshots", "/events/sandboxes"] {
            is_not_passed_on(&answered("", body.as_bytes(), path), body);
        }
    }
    for body in
        [stranger, "{}", r#"{"sandboxes":[]}"#, r#"{"sandboxes":{},"sandboxes":{"stranger":{}}}"#]
    {
        is_not_passed_on(&answered("", body.as_bytes(), "/sandboxes/metrics"), body);
    }
    let deep = format!("[{}{}]", "[".repeat(70), "]".repeat(70));
    is_not_passed_on(&answered("", deep.as_bytes(), "/sandboxes"), "deep");
    is_not_passed_on(&answered("", b"[\"stranger\xff\"]", "/sandboxes"), "no UTF-8");
    for coding in ["gzip", "identity", "br"] {
        let head = format!("Content-Encoding: {coding}\r\n");
        is_not_passed_on(&answered(&head, stranger.as_bytes(), "/sandboxes"), coding);
    }
    let mut huge = Vec::with_capacity(17 * 1024 * 1024);
    huge.push(b'[');
    while huge.len() < 16 * 1024 * 1024 {
        write!(huge, r#"{{"sandboxID":"stranger","x":"{}"}},"#, "x".repeat(1000)).unwrap();
    }
    huge.extend_from_slice(b"{}]");
    is_not_passed_on(&answered("", &huge, "/v2/sandboxes"), "huge");
}

#[test]
fn a_large_list_is_filtered() {
    let mut body = String::from("[");
    for number in 0..20_000 {
        let tenant = if number % 100 == 0 { "team-a" } else { "team-b" };
        let comma = if number == 0 { "" } else { "," };
        body.push_str(&format!(
            r#"{comma}{{"sandboxID":"i{number}","state":"running","metadata":{{"coppice_tenant_id":"{tenant}","of":"{tenant}"}}}}"#
        ));
    }
    body.push(']');
    let answer = answered("X-Total-Running: 20000\r\n", body.as_bytes(), "/sandboxes");
    assert_eq!(answer.json().as_array().unwrap().len(), 200);
    assert!(!answer.text().contains("team-b"));
    assert_eq!(answer.header("x-total-running"), Some("200"));
}

#[test]
fn errors_pass_as_they_come() {
    let upstream = Upstream::always(
        "HTTP/1.1 400 Bad Request\r\nX-Total-Running: 9\r\nContent-Length: 19\r\n\r\n{\"message\":\"token\"}",
    );
    let gateway = upstream.gateway();
    let answer = Ask::get("/v2/sandboxes?nextToken=x").key(&key("read")).send(gateway.control());
    assert_eq!((answer.status, answer.text().as_str()), (400, r#"{"message":"token"}"#));
    assert_eq!(answer.header("x-total-running"), None);
    let asked = &upstream.requests()[0];
    assert!(!asked.to_ascii_lowercase().contains("accept-encoding"), "{asked}");
}
