//! Raw requests, good and bad, and what must become of each however the network cuts them.

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::*;
use Refusal as R;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Comes out as it went in.
    Passes,
    /// Its first bytes come out, then the made-up request.
    Refused(usize, Refusal),
    /// Its first bytes come out, then the stream fails.
    Breaks(usize),
    /// Its first bytes come out, the others wait.
    Waits(usize),
}
use Fate::{Breaks, Passes, Refused, Waits};

/// A `GET` with Host and these other header lines.
fn get(fields: &str) -> String {
    format!("GET /p HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
}

/// The request with this target.
fn target(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

fn good() -> Vec<String> {
    let many: String = (0..99).map(|i| format!("x{i}: y\r\n")).collect();
    let exactly_32_kib = 32 * 1024 - get("x: \r\n").len();
    let huge = format!("x: {}\r\n", "y".repeat(exactly_32_kib));
    vec![
        get(""),
        get("").repeat(3),
        get(&many),
        get(&huge),
        get("empty:\r\n"),
        get("tab:\ta\tb\t\r\n"),
        get("latin: caf\u{e9}\r\n"),
        get("!#$%&'*+-.^_`|~09aZ: odd but a token\r\n"),
        get("colons: a:b::c\r\n"),
        get("Content-Length: 0\r\n"),
        get("Content-Length: 5\r\n") + "hello",
        get("content-length:\t 5 \t\r\n") + "he\nlo" + &get(""),
        get("Content-Length: 05\r\n") + "\0\r\n\r\n" + &get(""),
        get("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n",
        get("transfer-encoding: CHUNKED \r\n") + "5;x=y\r\nhello\r\n0\r\na: b\r\n\r\n" + &get(""),
        get("Transfer-Encoding: chunked\r\n") + "2\r\n\r\n\r\n0\r\n\r\n" + &get(""),
        get("Upgrade: h2c\r\nConnection: upgrade\r\n") + &get(""),
        get("Upgrade: websocket\r\n") + &get(""),
        get("Connection: upgrade\r\n") + &get(""),
        "GET / HTTP/1.0\r\n\r\n".into(),
        "GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n".to_owned() + &get(""),
        "POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx".into(),
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n".into(),
        "PROPFIND / HTTP/1.1\r\nHost:\r\n\r\n".into(),
        "PRI / HTTP/1.1\r\nHost: h\r\n\r\n".into(),
        "POST / HTTP/1.1\r\nHost: h\r\n\r\n".into(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\n\n".into(),
        target("//evil/x"),
        target("/a?b=c{}|\\^`&d=/?e"),
        target("/a\"b{}|\\^%zz"),
    ]
}

fn bad_request_lines() -> Vec<(String, Refusal)> {
    let line = |line: &str| format!("{line}\r\nHost: h\r\n\r\n");
    vec![
        (format!("\r\n{}", get("")), R::EmptyLine),
        (format!("\n{}", get("")), R::BareLf),
        ("\r\n\r\n".into(), R::EmptyLine),
        (line("GET / HTTP/1.1\n"), R::BareLf),
        (line("GET / HTTP/1.1\r"), R::BareCr),
        (line("GET /\rx HTTP/1.1"), R::BareCr),
        (line("GET /\0 HTTP/1.1"), R::ControlCharacter),
        (line("GET\t/ HTTP/1.1"), R::ControlCharacter),
        (line("GET  / HTTP/1.1"), R::RequestLine),
        (line("GET /  HTTP/1.1"), R::RequestLine),
        (line("GET / HTTP/1.1 "), R::RequestLine),
        (line(" GET / HTTP/1.1"), R::RequestLine),
        (line("GET / x HTTP/1.1"), R::RequestLine),
        (line("GET /"), R::RequestLine),
        (line("GET"), R::RequestLine),
        (line("GET / http/1.1"), R::RequestLine),
        (line("GET / HTTP"), R::RequestLine),
        (line("G=\": / HTTP/1.1"), R::RequestLine),
        (line("G\u{e9}T / HTTP/1.1"), R::RequestLine),
        (line("GET / HTTP/0.9"), R::Version),
        (line("GET / HTTP/1.2"), R::Version),
        (line("GET / HTTP/2.0"), R::Version),
        (line("GET / HTTP/1.10"), R::Version),
        (line("GET / HTTP/1.1x"), R::Version),
        (line("GET / HTTP/+1.1"), R::Version),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r".into(), R::Version),
        (line("CONNECT h:443 HTTP/1.1"), R::Method),
        (line("TRACE / HTTP/1.1"), R::Method),
        (target("http://evil/"), R::TargetForm),
        (target("http:/evil"), R::TargetForm),
        (target("good:80"), R::TargetForm),
        (target("user@host"), R::TargetForm),
        (target("*"), R::TargetForm),
        (target("?a"), R::TargetForm),
        (line("OPTIONS ** HTTP/1.1"), R::TargetForm),
        (line("OPTIONS http://h/ HTTP/1.1"), R::TargetForm),
        (target("/a#b"), R::TargetFragment),
        (target("#"), R::TargetFragment),
        (target("/a?b#c"), R::TargetFragment),
        (target("/\u{e9}"), R::TargetCharacter),
        (target("/a<b"), R::TargetCharacter),
        (target("/a`b"), R::TargetCharacter),
        (target("/a?\""), R::TargetCharacter),
        (target("/\x7f"), R::ControlCharacter),
        ("A".repeat(40 * 1024), R::HeadTooLarge),
    ]
}

fn bad_fields() -> Vec<(String, Refusal)> {
    let head = |fields: &str| get(&format!("{fields}\r\n"));
    let many: String = (0..100).map(|i| format!("x{i}: y\r\n")).collect();
    let over_32_kib = 32 * 1024 + 1 - get("x: \r\n").len();
    vec![
        (head("a: b\nc: d"), R::BareLf),
        (head("a: b\n"), R::BareLf),
        ("GET / HTTP/1.1\r\nHost: h\n\n".into(), R::BareLf),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n".into(), R::BareLf),
        (head("a: b\rc: d"), R::BareCr),
        (head("a: b\r"), R::BareCr),
        (head("\r"), R::BareCr),
        (head("a: b\0c"), R::ControlCharacter),
        (head("a: \x0b"), R::ControlCharacter),
        (head("a: \x7f"), R::ControlCharacter),
        (head("a\0b: c"), R::ControlCharacter),
        (head("Transfer-Encoding: \x0bchunked"), R::ControlCharacter),
        (head("a: b\r\n c"), R::ObsFold),
        (head("a: b\r\n\tc"), R::ObsFold),
        ("GET / HTTP/1.1\r\n Host: h\r\n\r\n".into(), R::ObsFold),
        (head(" "), R::ObsFold),
        (head("a : b"), R::SpaceBeforeColon),
        (head("a\t: b"), R::SpaceBeforeColon),
        (head("Transfer-Encoding : chunked"), R::SpaceBeforeColon),
        (head("Content-Length \t : 5"), R::SpaceBeforeColon),
        (head(": b"), R::HeaderName),
        (head(":"), R::HeaderName),
        (head("a"), R::HeaderName),
        (head("a b"), R::HeaderName),
        (head("a b: c"), R::HeaderName),
        (head("(a): b"), R::HeaderName),
        (head("\u{e9}: b"), R::HeaderName),
        (head("\"a\": b"), R::HeaderName),
        ("GET / HTTP/1.1\r\n\r\n".into(), R::MissingHost),
        ("GET / HTTP/1.1\r\nHosts: h\r\n\r\n".into(), R::MissingHost),
        (head("Host: h"), R::RepeatedHost),
        (head("hOST: other"), R::RepeatedHost),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n".into(), R::RepeatedHost),
        (head("Content-Length: 5\r\nTransfer-Encoding: chunked"), R::AmbiguousLength),
        (head("Transfer-Encoding: chunked\r\nContent-Length: 0"), R::AmbiguousLength),
        (head("Transfer-Encoding: chunked\r\na: b\r\ncontent-length: 5"), R::AmbiguousLength),
        (head("Transfer-Encoding: gzip"), R::TransferEncoding),
        (head("Transfer-Encoding: gzip, chunked"), R::TransferEncoding),
        (head("Transfer-Encoding: chunked, identity"), R::TransferEncoding),
        (head("Transfer-Encoding: chunked, chunked"), R::TransferEncoding),
        (head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), R::TransferEncoding),
        (head("Transfer-Encoding: chunked\r\nTransfer-Encoding: x"), R::TransferEncoding),
        (head("Transfer-Encoding: xchunked"), R::TransferEncoding),
        (head("Transfer-Encoding: chunked;q=1"), R::TransferEncoding),
        (head("Transfer-Encoding: \"chunked\""), R::TransferEncoding),
        (head("Transfer-Encoding: ,chunked"), R::TransferEncoding),
        (head("Transfer-Encoding: chun ked"), R::TransferEncoding),
        (head("Transfer-Encoding: identity\r\nContent-Length: 5"), R::TransferEncoding),
        (head("Transfer-Encoding:"), R::TransferEncoding),
        (
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            R::TransferEncodingVersion,
        ),
        (head("Content-Length: 5\r\nContent-Length: 5"), R::RepeatedContentLength),
        (head("Content-Length: 5\r\ncontent-length: 6"), R::RepeatedContentLength),
        (head("Content-Length: 5, 5"), R::RepeatedContentLength),
        (head("Content-Length: 5,"), R::RepeatedContentLength),
        (head("Content-Length: +5"), R::ContentLength),
        (head("Content-Length: -5"), R::ContentLength),
        (head("Content-Length: 0x5"), R::ContentLength),
        (head("Content-Length: 5_0"), R::ContentLength),
        (head("Content-Length: 5 0"), R::ContentLength),
        (head("Content-Length: 5.0"), R::ContentLength),
        (head("Content-Length: \u{665}"), R::ContentLength),
        (head("Content-Length:"), R::ContentLength),
        (head("Content-Length: 9223372036854775808"), R::ContentLength),
        (head("Content-Length: 18446744073709551621"), R::ContentLength),
        (head("Content-Length: 99999999999999999999999999999999"), R::ContentLength),
        (get(&many), R::TooManyHeaders),
        (head(&format!("x: {}", "y".repeat(over_32_kib))), R::HeadTooLarge),
        (head(&"x: y\r\n".repeat(5_000)), R::TooManyHeaders),
    ]
}

fn bodies() -> Vec<(String, Fate)> {
    let chunked = get("Transfer-Encoding: chunked\r\n");
    let websocket = get("Upgrade: foo, WebSocket\r\nConnection: keep-alive, Upgrade\r\n");
    let (len, one) = (chunked.len(), get("").len());
    vec![
        (chunked.clone() + "5\nhello", Breaks(len + 1)),
        (chunked.clone() + "5\r\nhello!", Breaks(len + 8)),
        (chunked.clone() + "-1\r\n", Breaks(len)),
        (chunked.clone() + "0\r\na: b\n\r\n", Breaks(len + 7)),
        (get("") + &chunked + "x", Breaks(one + len)),
        (get("") + &target("/#"), Refused(one, R::TargetFragment)),
        (get("Content-Length: 1\r\n") + "x\r\n", Refused(one + 20, R::EmptyLine)),
        (chunked + "1\r\nx\r\n0\r\n\r\nxGET /", Waits(len + 11)),
        (get("") + "GET / HTTP/1.1\r\nHost: h\r\n", Waits(one)),
        (websocket.clone() + "\x01\x05hello", Waits(websocket.len())),
        (websocket.clone() + &get(""), Waits(websocket.len())),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n".into(), Waits(0)),
    ]
}

fn check(raw: &[u8], fate: Fate) {
    let (expected, end) = match fate {
        Passes => (raw.to_vec(), End::Silent),
        Refused(passed, refusal) => {
            ([&raw[..passed], refusal.request().as_bytes()].concat(), End::Silent)
        }
        Breaks(passed) => (raw[..passed].to_vec(), End::Failed),
        Waits(passed) => (raw[..passed].to_vec(), End::Silent),
    };
    let shown = String::from_utf8_lossy(&raw[..raw.len().min(200)]);
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut cuts = vec![vec![raw.to_vec()], raw.chunks(1).map(<[u8]>::to_vec).collect()];
    for _ in 0..8 {
        let places: Vec<_> = (0..5).map(|_| random.next_u32() as usize).collect();
        cuts.push(cut(raw, &places));
    }
    for pieces in cuts {
        for room in [24, 8192] {
            let count = pieces.len();
            let (out, ended) = feed(pieces.clone(), room);
            let same = out == expected && ended == end;
            assert!(
                same,
                "{shown:?} in {count} pieces, room {room}: {ended:?} after {:?}",
                String::from_utf8_lossy(&out[..out.len().min(400)])
            );
        }
    }
}

#[test]
fn good_requests_come_out_as_they_went_in() {
    let runtime = still_clock();
    let _context = runtime.enter();
    for raw in good() {
        check(raw.as_bytes(), Passes);
    }
}

#[test]
fn bad_heads_are_replaced_by_their_reason() {
    let runtime = still_clock();
    let _context = runtime.enter();
    let rows = bad_request_lines().into_iter().chain(bad_fields());
    for (raw, refusal) in rows {
        check(raw.as_bytes(), Refused(0, refusal));
        let second = get("") + &raw;
        if !raw.starts_with("PRI * HTTP/2.0") {
            check(second.as_bytes(), Refused(get("").len(), refusal));
        }
    }
}

#[test]
fn bodies_are_followed_to_their_end_and_no_further() {
    let runtime = still_clock();
    let _context = runtime.enter();
    for (raw, fate) in bodies() {
        check(raw.as_bytes(), fate);
    }
}

#[test]
fn accepts_no_target_the_server_cannot_parse() {
    let runtime = still_clock();
    let _context = runtime.enter();
    for byte in (0..=u8::MAX).filter(|&byte| byte != b'\n') {
        for place in ["/a", "/a?b"] {
            let raw = [b"GET ", place.as_bytes(), &[byte], b" HTTP/1.0\r\n\r\n"].concat();
            let uri = [place.as_bytes(), &[byte]].concat();
            let parses = byte.is_ascii_graphic()
                && byte != b'#'
                && http::Uri::try_from(uri.as_slice())
                    .is_ok_and(|parsed| parsed.to_string().as_bytes() == uri);
            let passes = feed([raw.clone()], 8192).0 == raw;
            assert_eq!(passes, parses, "{byte:#x} after {place}");
        }
    }
}
