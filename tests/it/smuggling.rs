//! Request smuggling: what two HTTP readers could understand differently never reaches an upstream.
//!
//! Raw bytes go in; a recording upstream shows what came out: nothing, or one request in its one canonical form.

mod http2;
mod paths;
mod upstreams;

use crate::support::upstream::gateway_before;
use crate::support::world::{UPSTREAM_KEY, key};
use crate::support::{Answer, Ask, Gateway, Upstream, exchange};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// Rides behind every payload; must never be taken for a request.
const SECOND: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\nX-API-Key: KEY\r\n\r\n";

/// A request line and headers with a valid key, in which the payload's own lines stand.
fn post(lines: &str, body: &str) -> String {
    format!("POST /files/batch HTTP/1.1\r\nHost: a\r\nX-API-Key: KEY\r\n{lines}\r\n{body}")
}

fn get(lines: &str) -> String {
    format!("GET /templates HTTP/1.1\r\nHost: a\r\nX-API-Key: KEY\r\n{lines}\r\n")
}

fn sent(gateway: &Gateway, text: &[u8]) -> Vec<u8> {
    let key = key("exec");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(3).position(|window| window == b"KEY") {
        bytes.extend_from_slice(&rest[..at]);
        bytes.extend_from_slice(key.as_bytes());
        rest = &rest[at + 3..];
    }
    bytes.extend_from_slice(rest);
    exchange(gateway.control(), &bytes)
}

/// Heads that are refused whole, with the status of the refusal.
fn refused() -> Vec<(String, u16)> {
    let both = |lines: &str| (post(lines, "0\r\n\r\n"), 400);
    let line = |text: &str| (format!("{text}\r\nHost: a\r\nX-API-Key: KEY\r\n\r\n"), 400);
    let mut all = vec![
        // Both kinds of length, in both orders.
        both("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        both("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        both("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"),
        both("content-length: 5\r\nX-Between: 1\r\ntransfer-encoding: chunked\r\n"),
        // Transfer-Encoding that is not exactly one chunked.
        both("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        both("Transfer-Encoding: chunked, chunked\r\n"),
        both("Transfer-Encoding: gzip, chunked\r\n"),
        both("Transfer-Encoding: chunked, identity\r\n"),
        both("Transfer-Encoding: identity\r\n"),
        both("Transfer-Encoding: xchunked\r\n"),
        both("Transfer-Encoding: \"chunked\"\r\n"),
        both("Transfer-Encoding: chunked;q=1\r\n"),
        both("Transfer-Encoding: \x0bchunked\r\n"),
        both("Transfer-Encoding:\r\n"),
        both("Transfer-Encoding : chunked\r\n"),
        both("Transfer-Encoding\t: chunked\r\n"),
        both("Transfer-Encoding:\r\n chunked\r\n"),
        both(" Transfer-Encoding: chunked\r\n"),
        both("X: y\nTransfer-Encoding: chunked\r\n"),
        both("X: y\rTransfer-Encoding: chunked\r\n"),
        both("Transfer-Encoding\x00: chunked\r\n"),
        both("Content-Length: 5\r\nTransfer-Encoding: identity, chunked\r\n"),
        // Content-Length that is not exactly one plain number.
        both("Content-Length: 5\r\nContent-Length: 5\r\n"),
        both("Content-Length: 5\r\nContent-Length: 6\r\n"),
        both("Content-Length: 5, 5\r\n"),
        both("Content-Length: 5,6\r\n"),
        both("Content-Length: +5\r\n"),
        both("Content-Length: -5\r\n"),
        both("Content-Length: 0x5\r\n"),
        both("Content-Length: 5 5\r\n"),
        both("Content-Length: 5.0\r\n"),
        both("Content-Length: 5e0\r\n"),
        both("Content-Length:\r\n"),
        both("Content-Length: 99999999999999999999\r\n"),
        both("Content-Length: 18446744073709551621\r\n"),
        both("Content-Length : 5\r\n"),
        both("Content-Length: \u{665}\r\n"),
        // Lines.
        both("X: a\nContent-Length: 5\r\n"),
        both("X: a\r\n folded: b\r\n"),
        both("X: a\r\n\tfolded\r\n"),
        both("No colon\r\n"),
        both(": no name\r\n"),
        both("X y: 1\r\n"),
        both("X: a\x00b\r\n"),
        both("X: a\x08b\r\n"),
        both("X: a\x7fb\r\n"),
        both("X\u{e9}: a\r\n"),
        both("X(y): a\r\n"),
        // Hosts.
        both("Host: b\r\n"),
        both("host: a\r\n"),
        ("GET /templates HTTP/1.1\r\nX-API-Key: KEY\r\n\r\n".into(), 400),
        ("GET /templates HTTP/1.1\r\nHost: a, b\r\nConnection: close\r\n\r\n".into(), 400),
        ("GET /templates HTTP/1.1\r\nHost: user@a\r\nConnection: close\r\n\r\n".into(), 400),
        ("GET /templates HTTP/1.1\r\nHost: a/b\r\nConnection: close\r\n\r\n".into(), 400),
        ("GET /templates HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n".into(), 400),
        ("GET /templates HTTP/1.1\r\nHost: a:70000\r\nConnection: close\r\n\r\n".into(), 400),
        // Request lines.
        line("GET http://a/templates HTTP/1.1"),
        line("GET HTTP://evil/templates HTTP/1.1"),
        line("GET a:80 HTTP/1.1"),
        line("GET * HTTP/1.1"),
        line("OPTIONS http://a/ HTTP/1.1"),
        line("GET /templates#x HTTP/1.1"),
        line("GET /templates?x#y HTTP/1.1"),
        line("GET  /templates HTTP/1.1"),
        line("GET /templates  HTTP/1.1"),
        line("GET\t/templates HTTP/1.1"),
        line(" GET /templates HTTP/1.1"),
        line("GET /templates HTTP/1.1 "),
        line("GET /temp lates HTTP/1.1"),
        line("GET /templates"),
        line("GET /templates http/1.1"),
        line("GET /templates\x00 HTTP/1.1"),
        line("GET /templ\u{e4}tes HTTP/1.1"),
        line("G(T /templates HTTP/1.1"),
        line("\r\nGET /templates HTTP/1.1"),
        ("GET /templates HTTP/1.1\nHost: a\nX-API-Key: KEY\n\n".into(), 400),
        ("GET /templates HTTP/2.0\r\nHost: a\r\nX-API-Key: KEY\r\n\r\n".into(), 400),
        ("GET /templates HTTP/1.2\r\nHost: a\r\nX-API-Key: KEY\r\n\r\n".into(), 400),
        ("GET /templates HTTP/1.10\r\nHost: a\r\nX-API-Key: KEY\r\n\r\n".into(), 400),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nX-API-Key: KEY\r\n\r\n".into(), 405),
        ("TRACE /templates HTTP/1.1\r\nHost: a\r\nX-API-Key: KEY\r\n\r\n".into(), 405),
        // HTTP/1.0 knows no chunks.
        ("POST /files/batch HTTP/1.0\r\nHost: a\r\nX-API-Key: KEY\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), 400),
        // Sizes.
        (get(&"X: y\r\n".repeat(99)), 431),
        (get(&format!("X: {}\r\n", "y".repeat(33_000))), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(40_000)), 431),
    ];
    // A method that no upstream should have to interpret.
    for method in ["get", "GETX", "PROPFIND", "QUERY", "LOCK"] {
        all.push((format!("{method} /templates HTTP/1.1\r\nHost: a\r\nX-API-Key: KEY\r\nConnection: close\r\n\r\n"), 405));
    }
    all
}

#[test]
fn a_doubtful_head_is_refused_and_nothing_goes_upstream() {
    let upstream = Upstream::always(OK);
    let gateway = upstream.gateway();
    let corpus = refused();
    assert!(corpus.len() >= 60, "{}", corpus.len());
    for (payload, status) in corpus {
        let answers = sent(&gateway, format!("{payload}{SECOND}").as_bytes());
        let answer = Answer::parse(&answers);
        assert_eq!(answer.status, status, "{payload:?}");
        assert_eq!(answer.json()["code"], status, "{payload:?}");
        assert!(answer.header("x-request-id").is_some(), "{payload:?}");
        let text = String::from_utf8_lossy(&answers);
        let count = text.matches("\r\nx-request-id: ").count();
        assert_eq!(count, 1, "more than one answer to {payload:?}");
        assert_eq!(String::from_utf8_lossy(&upstream.bytes()), "", "{payload:?}");
    }
}

#[test]
fn what_is_accepted_goes_upstream_once_in_its_canonical_form() {
    let chunks = "Transfer-Encoding: chunked\r\n";
    let cases = [
        (get(""), "GET /templates", ""),
        (get("X:\ta \r\n"), "GET /templates", ""),
        (
            get(
                "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            ),
            "GET /templates",
            "",
        ),
        (get("Content-Length: 0\r\n"), "GET /templates", ""),
        (post("Content-Length: 5\r\n", "hello"), "POST /files/batch", "hello"),
        (post("Content-Length: 005\r\n", "hello"), "POST /files/batch", "hello"),
        (post(chunks, "5\r\nhello\r\n0\r\n\r\n"), "POST /files/batch", "5\r\nhello\r\n0\r\n\r\n"),
        (
            post("transfer-ENCODING:  Chunked \r\n", "5\r\nhello\r\n0\r\n\r\n"),
            "POST /files/batch",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            post(chunks, "05\r\nhello\r\n000\r\n\r\n"),
            "POST /files/batch",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            post(chunks, "5;x=\"y\"\r\nhello\r\n0;z\r\n\r\n"),
            "POST /files/batch",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            post(chunks, "5\r\nhello\r\n0\r\nX-API-Key: forged\r\n\r\n"),
            "POST /files/batch",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
    ];
    for (payload, line, body) in cases {
        let upstream = Upstream::always(OK);
        let gateway = upstream.gateway();
        let last = SECOND
            .replace("/smuggled", "/pools")
            .replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        let answers = sent(&gateway, format!("{payload}{last}").as_bytes());
        let text = String::from_utf8(answers).unwrap();
        assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{payload:?}: {text}");
        let bytes = String::from_utf8(upstream.bytes()).unwrap();
        let (first, second) = bytes.split_once("GET /pools HTTP/1.1\r\n").unwrap();
        assert!(first.starts_with(&format!("{line} HTTP/1.1\r\n")), "{payload:?}: {first}");
        assert!(
            second.ends_with("\r\n\r\n") && second.matches("\r\n\r\n").count() == 1,
            "{second}"
        );
        let (head, sent_body) = first.split_once("\r\n\r\n").unwrap();
        assert_eq!(sent_body, body, "{payload:?}");
        assert!(head.contains(UPSTREAM_KEY) && !head.contains(&key("exec")), "{head}");
        let head = head.to_ascii_lowercase();
        assert_eq!(head.matches("\r\nhost: ").count(), 1, "{head}");
        let lengths = head.matches("\r\ncontent-length: ").count()
            + head.matches("\r\ntransfer-encoding: ").count();
        assert_eq!(
            lengths,
            usize::from(line.starts_with("POST") || head.contains("content-length: 0")),
            "{head}"
        );
        assert!(!head.contains("upgrade") && !head.contains("http2-settings"), "{head}");
    }
}

#[test]
fn a_broken_chunked_body_never_becomes_a_request() {
    for body in [
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5_\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5;a=\nb\r\nhello\r\n0\r\n\r\n",
        "5;\x00\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\nZ: a\r\n\r\n",
        "5\r\nhello\r\n0\r\n X: folded\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    ] {
        let upstream = Upstream::always(OK);
        let gateway = upstream.gateway();
        let answers = sent(
            &gateway,
            format!("{}{SECOND}", post("Transfer-Encoding: chunked\r\n", body)).as_bytes(),
        );
        let answer = Answer::parse(&answers);
        assert_eq!(answer.status, 400, "{body:?}: {}", answer.text());
        let seen = String::from_utf8(upstream.bytes()).unwrap();
        assert!(!seen.contains("smuggled"), "{body:?}: {seen}");
        assert!(!seen.ends_with("0\r\n\r\n"), "the body was completed: {body:?}: {seen}");
    }
}

#[test]
fn a_slow_head_is_answered_408() {
    let upstream = Upstream::always(OK);
    let gateway = upstream.gateway_with(|setup| setup.flag("--head-timeout=300ms"));
    for part in [
        "GET /templates HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        "G",
        "GET /templates HTTP/1.1\r\nHost: a\r\n",
    ] {
        let answer = Answer::parse(&exchange(gateway.control(), part.as_bytes()));
        assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"), "{part:?}");
    }
    assert!(upstream.bytes().is_empty());
    assert_eq!(Ask::get("/templates").send(gateway.control()).status, 200);
}

#[test]
fn bytes_behind_an_upgrade_are_no_tunnel_until_the_upstream_switched() {
    for refusal in ["HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", OK] {
        let upstream = Upstream::always(refusal);
        let gateway = gateway_before(&upstream.url(), |setup| setup);
        let ask = "GET /sandboxes/i1/terminal/ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let bad = "GET /%2e%2e/admin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answers = exchange(gateway.control(), format!("{ask}{bad}").as_bytes());
        let text = String::from_utf8(answers).unwrap();
        assert!(!text.contains("101 Switching"), "{text}");
        let seen = String::from_utf8(upstream.bytes()).unwrap();
        assert!(!seen.contains("admin"), "{seen}");
        // What follows is read as a request, and judged like one.
        assert!(text.contains("HTTP/1.1 400 Bad Request"), "{text}");
    }
}
