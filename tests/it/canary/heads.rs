//! Heads that are refused before anybody reads them: whatever they held is forgotten.

use std::net::SocketAddr;

use super::every_route::service;
use super::{Needles, STEM, Watch, follow, key};
use crate::support::frames::{End, Frames};
use crate::support::upstream::gateway_before;
use crate::support::{Ask, Upstream, exchange};

/// Requests that no two servers read alike, with secrets in them; `S` stands for one.
const HEADS: [&str; 22] = [
    "S\r\n\r\n",
    "GET /S\r\n\r\n",
    "GET / HTTP/1.1\r\nX-API-Key: S\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: S\r\n\r\n",
    "GET / HTTP/1.1\r\nConnection: close\r\nHost: user:S@a\r\n\r\n",
    "GET http://user:S@a/?S HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a/files/download-token/S HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET //files/download-token/S HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /files/Download-Token/S HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /files/%64ownload-token/S HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /x/../files/download%2Dtoken/S HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /files/download-token/S/more?S#S HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?S=\u{1}S HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nAuthorization : Bearer S\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX-API-Key:\r\n S\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\nX-API-Key: S\n\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: S\rS\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: S\r\n\r\nS",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: S\r\n\r\nS",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\nCookie: S\r\n\r\nS",
    "CONNECT S:S@a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "TRACE /S HTTP/1.1\r\nHost: a\r\nCookie: S\r\n\r\n",
];

/// Field names of HTTP/2 requests, each of which gets a secret as its value.
const FIELDS: [&str; 8] = [
    "x-api-key",
    "authorization",
    "x-access-token",
    "cookie",
    "connection",
    "te",
    "X-Upper",
    ":path",
];

/// Sends all of it to one listener; how many got an answer.
fn send(address: SocketAddr, needles: &Needles) -> usize {
    let mut answered = 0;
    for head in HEADS {
        let bytes = head.replace("Host: a\r\n", "Host: a\r\nConnection: close\r\n");
        let bytes = bytes.replace('S', STEM);
        let answer = exchange(address, bytes.as_bytes());
        assert!(answer.starts_with(b"HTTP/1.1 4"), "{head}: {}", String::from_utf8_lossy(&answer));
        needles.assert_none_in(&answer, &format!("the answer to {head}"));
        answered += 1;
    }
    let long = format!("{STEM}={}", "x".repeat(40_000));
    let ask = Ask::get("/templates").key(&key("admin")).header("Cookie", long);
    assert_eq!(ask.send(address).status, 431);
    for name in FIELDS {
        for authority in ["a", STEM, &format!("user:{STEM}@a")] {
            let mut frames = Frames::connect(address);
            let path = format!("/files/download-token/{STEM}/?{STEM}");
            let mut head = vec![
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", authority),
                (":path", &*path),
            ];
            head.push((name, STEM));
            frames.head(1, &head, true);
            if let End::Answered(_, text) = frames.end_of(1) {
                needles.assert_none_in(text.as_bytes(), &format!("the answer to {name}"));
                answered += 1;
            }
        }
    }
    answered
}

#[test]
fn nothing_secret_is_told_of_refused_heads() {
    let (watch, service, needles) = (Watch::new(), service(), Needles::new());
    let upstream = Upstream::always("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let gateway = gateway_before(&upstream.url(), |setup| watch.setup(setup, &service.url()));
    let following = follow(gateway.control());
    for address in [gateway.control(), gateway.address("port=*")] {
        let answered = send(address, &needles);
        assert!(answered > 25, "{answered}");
    }
    let traced = Ask::get("/templates").key(&key("read"));
    let traced = traced.header("traceparent", format!("00-{:032x}-b7ad6b7169203331-01", 7));
    assert_eq!(traced.header("tracestate", "v=1").send(gateway.control()).status, 200);
    needles.assert_none_told(&watch.end(&gateway, following));
}
