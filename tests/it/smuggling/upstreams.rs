//! Upstreams that answer early, twice, too late or not at all: no client sees another's answer, and nothing is asked
//! twice.

use std::net::TcpListener;
use std::time::Duration;

use tokio::time::Instant;

use super::OK;
use crate::support::upstream::{answer, gateway_before};
use crate::support::world::key;
use crate::support::{Answer, Ask, Upstream, exchange};

const CREATE: &str = r#"{"templateID":"base"}"#;

#[test]
fn residue_of_one_answer_is_never_the_next_clients() {
    for residue in [
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        "poison",
        "\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\npoison\r\n0\r\n\r\n",
    ] {
        let upstream = Upstream::start(move |_, talk| {
            while let Some(head) = talk.request() {
                let path = head.split(' ').nth(1).unwrap();
                talk.send(answer("200 OK", path) + residue);
            }
        });
        let gateway = upstream.gateway();
        for round in 0..50 {
            let path = format!("/templates/t{round}");
            let answer = Ask::get(&path).key(&key("read")).send(gateway.control());
            // A connection that was about to be closed may fail, but never lie.
            let text = answer.text();
            assert!(text == path || answer.status == 502, "{residue:?} {round}: {text}");
        }
    }
}

#[test]
fn bodies_of_answers_that_have_none_are_nobodys() {
    for head in ["204 No Content", "304 Not Modified"] {
        let upstream = Upstream::start(move |_, talk| {
            while talk.request().is_some() {
                talk.send(format!(
                    "HTTP/1.1 {head}\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
                ));
            }
        });
        let gateway = upstream.gateway();
        for _ in 0..20 {
            let answer = Ask::get("/templates").key(&key("read")).send(gateway.control());
            assert!(!answer.text().contains("poison"), "{head}");
            assert_ne!(answer.status, 200, "{head}");
        }
    }
}

#[test]
fn an_answer_before_the_body_was_read_does_not_spoil_the_pool() {
    const SIZE: usize = 10 * 1024 * 1024;
    let upstream = Upstream::start(|number, talk| {
        if number == 0 {
            talk.head();
            talk.send("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nbig");
            talk.stall();
            return;
        }
        while talk.request().is_some() {
            talk.send(OK);
        }
    });
    let gateway = upstream.gateway();
    let head = format!(
        "POST /files/batch HTTP/1.1\r\nHost: a\r\nX-API-Key: {}\r\nContent-Length: {SIZE}\r\nConnection: close\r\n\r\n",
        key("exec"),
    );
    // Sends no byte of the body before it has the answer, and then leaves.
    let mut stream = std::net::TcpStream::connect(gateway.control()).unwrap();
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    let mut begin = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 413");
    drop(stream);
    // The rest of that body must not become part of anybody's request.
    for _ in 0..5 {
        let answer = Ask::get("/templates").key(&key("read")).send(gateway.control());
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let upstream = Upstream::start(|_, talk| {
        talk.head();
        talk.send(
            "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
        );
        talk.stall();
    });
    let gateway = upstream.gateway();
    let ask = Ask::post("/files/batch", vec![b'x'; 10 * 1024 * 1024]).key(&key("exec"));
    assert_eq!(ask.send(gateway.control()).status, 413);
}

#[test]
fn what_may_have_been_sent_is_never_sent_again() {
    for reset in [false, true] {
        let upstream = Upstream::start(move |_, talk| {
            talk.request();
            if reset {
                talk.reset();
            }
        });
        let gateway = upstream.gateway();
        let read = Ask::get("/templates").key(&key("read")).send(gateway.control());
        assert_eq!((read.status, read.code().as_str()), (502, "upstream_unreachable"));
        assert_eq!(read.header("should-retry"), None);
        assert_eq!(upstream.requests().len(), 1);
        let create = Ask::post("/sandboxes", CREATE).key(&key("exec")).send(gateway.control());
        assert_eq!((create.status, create.header("should-retry")), (502, Some("false")));
        assert_eq!(upstream.requests().len(), 2);
    }
}

#[test]
fn a_pooled_connection_that_breaks_after_the_request_was_sent_is_an_error() {
    let upstream = Upstream::start(|_, talk| {
        talk.request();
        talk.send(OK);
        talk.request();
    });
    let gateway = upstream.gateway();
    let ask = || Ask::post("/files/batch", "{}").key(&key("exec")).send(gateway.control());
    assert_eq!(ask().status, 200);
    assert_eq!(ask().status, 502);
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn an_upstream_that_comes_back_is_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let gateway = gateway_before(&format!("http://{address}"), |setup| {
        setup.env("COPPICE_API_KEYS", crate::support::world::key_list())
    });
    let read = || Ask::get("/templates").key(&key("read")).send(gateway.control());
    let refused = read();
    assert_eq!((refused.status, refused.code().as_str()), (502, "upstream_unreachable"));
    // Nothing was sent, so a client may well try again.
    let create = Ask::post("/sandboxes", CREATE).key(&key("exec")).send(gateway.control());
    assert_eq!((create.status, create.header("should-retry")), (502, None));

    let upstream = Upstream::on(TcpListener::bind(address).unwrap(), |_, talk| {
        while talk.request().is_some() {
            talk.send(OK);
        }
    });
    assert_eq!(read().status, 200);
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_head_that_comes_too_late_is_a_timeout_but_a_long_body_is_not() {
    let upstream = Upstream::start(|_, talk| {
        while let Some(head) = talk.request() {
            if head.contains("/stuck ") {
                return talk.stall();
            }
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
            for _ in 0..4 {
                // A body that takes longer, in all, than a head may.
                std::thread::sleep(Duration::from_millis(200));
                talk.send("x");
            }
        }
    });
    let gateway = upstream.gateway_with(|setup| {
        setup
            .env("COPPICE_API_KEYS", crate::support::world::key_list())
            .flag("--upstream-response-timeout=400ms")
    });
    let began = Instant::now();
    let late = Ask::get("/templates/stuck").key(&key("read")).send(gateway.control());
    assert_eq!((late.status, late.code().as_str()), (504, "upstream_timeout"));
    assert!(began.elapsed() >= Duration::from_millis(400));
    let slow = Ask::get("/templates/slow").key(&key("read")).send(gateway.control());
    assert_eq!((slow.status, slow.text().as_str()), (200, "xxxx"));
}

#[test]
fn an_answer_that_is_no_http_is_a_bad_gateway() {
    for answer in [
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n",
        "HTTP/1.1 999999 OK\r\n\r\n",
    ] {
        let upstream = Upstream::start(move |_, talk| {
            if talk.request().is_some() {
                talk.send(answer);
            }
        });
        let gateway = upstream.gateway();
        let got = Ask::get("/templates").key(&key("read")).send(gateway.control());
        assert_eq!(got.status, 502, "{answer:?}: {}", got.text());
        assert!(!got.text().contains("OpenSSH"));
    }
}

#[test]
fn interim_answers_do_not_count() {
    let upstream = Upstream::start(|_, talk| {
        while talk.request().is_some() {
            talk.send("HTTP/1.1 100 Continue\r\n\r\n".repeat(20));
            talk.send("HTTP/1.1 103 Early Hints\r\nX-Coppice-Tenant: forged\r\n\r\n");
            talk.send(OK);
        }
    });
    let gateway = upstream.gateway();
    for _ in 0..3 {
        let ask = Ask::get("/templates").key(&key("read"));
        let bytes = exchange(gateway.control(), &ask.bytes(gateway.control()));
        assert!(!String::from_utf8_lossy(&bytes).contains("forged"));
        assert_eq!(Answer::parse(&bytes).text(), "ok");
    }
}
