//! Failures of those whom the gateway asks: what they say in their last breath is nobody else's business.

use super::{Needles, STATE, STEM, Watch, follow, key, secret};
use crate::support::callback::{Deaf, Reply, Scripted};
use crate::support::gateway::Setup;
use crate::support::upstream::{Talk, gateway_before};
use crate::support::{Ask, Gateway, Upstream};

/// envd's own token, as the upstream would say it.
const REAL: &str = "ReAlToKeN8sD3fG6hJ9k";

/// Ways to answer a question about tokens badly; `R` stands for them.
const BAD: [&str; 14] = [
    "R\r\n\r\n",
    "HTTP/1.1 200 R\r\nContent-Length: R\r\n\r\n",
    "HTTP/1.1 R OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nR\r\n\r\n",
    "HTTP/1.1 200 OK\r\nSet-Cookie: R\r\n R\u{1}\r\n\r\n",
    "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 26\r\n\r\nR\"}",
    "HTTP/1.1 201 Created\r\nContent-Length: 400\r\n\r\n{\"sandboxID\":\"i1\",\"envdAccessToken\":\"R\"",
    "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nR\r\n{}\r\n0\r\n\r\n",
    "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2;R=R\r\n{}\r\n0\r\nR: R\r\n\r\n",
    "HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\nR",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: R\r\nConnection: upgrade\r\n\r\nR",
    "HTTP/1.1 103 Early Hints\r\nLink: R\r\n\r\nR",
    "HTTP/1.1 201 Created\r\nContent-Length: 99\r\nContent-Length: 98\r\nX: R\r\n\r\n{\"envdAccessToken\":\"R\"}",
    "",
];

/// Requests whose answers the gateway has to read, the last three for those alone who may not see everything.
const ASKS: [(&str, &str); 8] = [
    ("POST", "/v2/sandboxes"),
    ("POST", "/sandboxes"),
    ("GET", "/sandboxes/i1"),
    ("POST", "/sandboxes/i1/connect"),
    ("POST", "/sandboxes/i1/fork"),
    ("GET", "/v2/sandboxes"),
    ("GET", "/sandboxes/metrics?sandbox_ids=i1"),
    ("DELETE", "/sandboxes/i1"),
];

fn loud(ask: Ask, number: usize) -> Ask {
    ask.header("traceparent", format!("00-{:032x}-b7ad6b7169203331-01", number + 1))
        .header("tracestate", format!("v={STATE}"))
        .header("Cookie", secret("cookie", number))
        .header("Content-Type", "application/json")
}

/// Sends every request, with the keys of both tenants, and what is wrong with an answer is all that anybody learns.
fn exercise(gateway: &Gateway, needles: &Needles, round: usize) {
    for (number, (method, path)) in ASKS.into_iter().enumerate() {
        let roles = if number < 5 { &["exec", "other", "admin"][..] } else { &["exec", "other"] };
        for role in roles {
            let number = round * 100 + number;
            let ask = loud(Ask::new(method, path), number).key(&key(role));
            let ask = match method {
                "POST" => ask.body(format!(
                    r#"{{"templateID":"base","count":1,"envVars":{{"K":"{}"}}}}"#,
                    secret("variable", number)
                )),
                _ => ask,
            };
            let answer = ask.send(gateway.control());
            let text = format!("{:?} {}", answer.headers, answer.text());
            let what = format!("the answer to {method} {path} by {role} ({round})");
            assert!(answer.status >= 400, "{what}: {text}");
            needles.assert_none_in(text.as_bytes(), &what);
        }
        let into = loud(Ask::get("/files?path=a"), number).key(&key("exec"));
        let into = into.header("E2b-Sandbox-Id", "i1").header("E2b-Sandbox-Port", "49983");
        let answer = into.send(gateway.address("port=*"));
        assert!(answer.status >= 400, "{}", answer.text());
        needles.assert_none_in(&answer.body, "the answer from a sandbox");
    }
}

fn needles() -> Needles {
    let mut needles = Needles::new();
    needles.add(REAL);
    needles
}

#[test]
fn nothing_secret_is_told_of_an_upstream_that_answers_badly() {
    let (watch, needles) = (Watch::new(), needles());
    let service = Scripted::always(Reply::status(401));
    let round = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let now = std::sync::Arc::clone(&round);
    let upstream = Upstream::start(move |_, talk: &mut Talk| {
        if talk.request().is_some() {
            let bad = BAD[now.load(std::sync::atomic::Ordering::SeqCst)];
            talk.send(bad.replace('R', REAL));
        }
    });
    let gateway = gateway_before(&upstream.url(), |setup| settings(&watch, setup, &service.url()));
    let following = follow(gateway.control());
    for number in 0..BAD.len() {
        round.store(number, std::sync::atomic::Ordering::SeqCst);
        exercise(&gateway, &needles, number);
    }
    // It was asked all that, with all that.
    let seen = String::from_utf8_lossy(&upstream.bytes()).into_owned();
    for round in 0..BAD.len() {
        for place in ["cookie", "variable"] {
            assert!(seen.contains(&secret(place, round * 100)), "{round}: no {place}");
        }
    }
    assert!(seen.contains(&format!("{STEM}-upstream-key")) && !seen.contains(&key("admin")));
    gateway.wait_for_log(&["\"WARN\""]);
    needles.assert_none_told(&watch.end(&gateway, following));
}

#[test]
fn nothing_secret_is_told_of_those_who_cannot_be_asked() {
    let (watch, needles, deaf) = (Watch::new(), needles(), Deaf::new());
    let nobody = format!("http://{}", deaf.address());
    let gateway = gateway_before(&nobody, |setup| settings(&watch, setup, &nobody));
    let following = follow(gateway.control());
    exercise(&gateway, &needles, 0);
    for number in 0..5 {
        let signed = [
            Ask::get("/templates").key(&secret("unknown", number)),
            Ask::post("/v2/sandboxes", secret("body", number)).bearer(&secret("unknown", number)),
        ];
        for ask in signed {
            let answer = loud(ask, number).send(gateway.control());
            assert_eq!(answer.status, 500);
            needles.assert_none_in(&answer.body, "the answer without the auth service");
        }
    }
    gateway.wait_for_log(&["could not be asked"]);
    gateway.wait_for_log(&["the auth callback did not answer"]);
    needles.assert_none_told(&watch.end(&gateway, following));
}

fn settings(watch: &Watch, setup: Setup, callback: &str) -> Setup {
    watch.setup(setup, callback).env("COPPICE_UPSTREAM_API_KEY", format!("{STEM}-upstream-key"))
}
