//! How long one side may let the other wait: nobody holds the gateway, or its upstream, for as long as it likes.

use crate::support::upstream::Upstream;
use crate::support::world::key;
use crate::support::{Ask, Wire};

#[test]
fn a_stranger_cannot_hold_the_upstream_by_sending_slowly() {
    let upstream = Upstream::start(|_, talk| talk.stall());
    let gateway = upstream.gateway_with(|setup| {
        setup
            .env("COPPICE_API_KEYS", crate::support::world::key_list())
            .flag("--upstream-response-timeout=1s")
    });
    for path in ["/health", "/ui/app.js", "/files/download-token/t"] {
        let mut wire = Wire::open(gateway.control());
        let ask = Ask::get(path).header("Content-Length", "10");
        wire.send(&ask.kept_bytes(gateway.control()));
        wire.send(b"x");
        assert_eq!(wire.answer_to("GET").status, 504, "{path}");
    }
}

#[test]
fn an_answer_that_has_to_be_read_must_end() {
    let upstream = Upstream::start(|_, talk| {
        let _ = talk.request();
        talk.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
        talk.stall();
    });
    let gateway = upstream.gateway_with(|setup| {
        setup
            .env("COPPICE_API_KEYS", crate::support::world::key_list())
            .flag("--upstream-response-timeout=1s")
    });
    for (role, path) in [("admin", "/sandboxes/i1"), ("exec", "/sandboxes")] {
        let answer = Ask::get(path).key(&key(role)).send(gateway.control());
        assert_eq!(answer.status, 504, "{path}");
    }
}
