//! Ways on which secrets are no part of a head that is read: tunnels, trailers and signatures.

use super::every_route::service;
use super::{Needles, STEM, Watch, follow, key, secret};
use crate::signed::{encode, sign};
use crate::support::upstream::{Talk, gateway_before};
use crate::support::world::DOMAIN;
use crate::support::{Ask, Upstream, Wire};

const REAL: &str = "ReAlToKeN8sD3fG6hJ9k";
const TRAFFIC: &str = "TrAfFiCtOkEn5gH7jK2p";

/// Knows one sandbox, opens every tunnel, and ends all other answers with a trailer.
fn answer(talk: &mut Talk) {
    while let Some(head) = talk.request() {
        if head.to_ascii_lowercase().contains("upgrade: websocket") {
            talk.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Protocol: {STEM}-agreed\r\n\r\n{STEM}-hello"
            ));
            return talk.stall();
        }
        if head.starts_with("GET /sandboxes/i1 ") {
            let body = format!(
                r#"{{"sandboxID":"i1","templateID":"base","state":"running","envdAccessToken":"{REAL}","trafficAccessToken":"{TRAFFIC}","metadata":{{"coppice_tenant_id":"team-a"}}}}"#
            );
            let length = body.len();
            talk.send(format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"));
        } else {
            talk.send(format!("HTTP/1.1 200 OK\r\nTrailer: X-Check\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Check: {STEM}-below\r\n\r\n"));
        }
    }
}

fn loud(ask: Ask, number: usize) -> Ask {
    ask.header("traceparent", format!("00-{:032x}-b7ad6b7169203331-01", number + 1))
        .header("tracestate", "v=1")
        .header("Sec-WebSocket-Protocol", secret("protocol", number))
        .header("Sec-WebSocket-Extensions", format!("x; key={}", secret("extension", number)))
}

#[test]
fn nothing_secret_is_told_of_tunnels_trailers_and_signatures() {
    let (watch, service, mut needles) = (Watch::new(), service(), Needles::new());
    [REAL, TRAFFIC].into_iter().for_each(|token| needles.add(token));
    let upstream = Upstream::start(|_, talk| answer(talk));
    let gateway = gateway_before(&upstream.url(), |setup| watch.setup(setup, &service.url()));
    let (control, data) = (gateway.control(), gateway.address("port=*"));
    let following = follow(control);

    // The gateway's own token, in place of the real one.
    let seen = Ask::get("/sandboxes/i1").key(&key("exec")).send(control);
    assert!(!seen.text().contains(REAL) && !seen.text().contains(TRAFFIC), "{}", seen.text());
    let token = seen.json()["envdAccessToken"].as_str().unwrap().to_owned();
    needles.add(&token);

    let mut wires = Vec::new();
    let into = |ask: Ask| ask.header("E2b-Sandbox-Id", "i1").header("E2b-Sandbox-Port", "8080");
    for (number, (address, ask)) in [
        (
            control,
            Ask::get(&format!("/sandboxes/i1/terminal/ws?t={}", secret("query", 0)))
                .key(&key("exec")),
        ),
        (data, into(Ask::get(&format!("/ws?t={}", secret("query", 1))).key(&key("exec")))),
        (
            data,
            into(
                Ask::get(&format!("/ws?t={}", secret("query", 2))).header("X-Access-Token", &token),
            ),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut wire = Wire::open(address);
        assert_eq!(wire.start(&loud(ask.upgrading(), number)).status, 101, "{number}");
        wire.until(format!("{STEM}-hello").as_bytes());
        wire.send(secret("tunnel", number).as_bytes());
        wires.push(wire);
    }
    for ask in [
        Ask::get("/sandboxes/i1/terminal/ws").key(&secret("Refused", 0)),
        Ask::get("/sandboxes/i1/terminal/ws").key(&key("other")),
        Ask::get("/sandboxes/i1/terminal/ws").key(&key("read")),
    ] {
        let refused = loud(ask.upgrading(), 9).send(control);
        assert!(refused.status >= 400);
        needles.assert_none_in(&refused.body, "the refusal of a tunnel");
    }

    let mut wire = Wire::open(data);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: 8080-i1.{DOMAIN}\r\nX-API-Key: {}\r\nTE: trailers\r\nTrailer: X-Sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: {}\r\nX-API-Key: {}\r\n\r\n",
        key("exec"),
        secret("trailer", 0),
        secret("stripped", 0),
    );
    wire.send(head.as_bytes());
    assert_eq!(wire.head().status, 200);
    wire.until(format!("{STEM}-below\r\n").as_bytes());

    let signature = sign("a", "read", "user", &token, None);
    needles.add(&signature);
    needles.add(&encode(&signature));
    for (signature, status) in [(encode(&signature), 200), (format!("v1_{STEM}"), 401)] {
        let path = format!("/files?path=a&username=user&signature={signature}");
        let answer = Ask::get(&path).host(&format!("49983-i1.{DOMAIN}")).send(control);
        assert_eq!(answer.status, status, "{}", answer.text());
    }

    drop((wires, wire));
    let sent = String::from_utf8_lossy(&upstream.bytes()).into_owned();
    for number in 0..3 {
        for place in ["query", "protocol", "extension", "tunnel"] {
            assert!(sent.contains(&secret(place, number)), "no {place} of {number}: {sent}");
        }
    }
    assert!(sent.contains(&secret("trailer", 0)) && !sent.contains(&secret("stripped", 0)));
    assert!(sent.contains(REAL) && sent.contains(TRAFFIC));
    assert!(!sent.contains(&token) && !sent.contains(&encode(&signature)), "{sent}");
    needles.assert_none_told(&watch.end(&gateway, following));
}
