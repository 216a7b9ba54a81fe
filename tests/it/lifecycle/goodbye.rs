//! What clients are told when the gateway is about to end.

use std::time::Duration;

use coppice_gateway::simulator::Options;

use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::{DOMAIN, key};
use crate::support::{App, Ask, Wire, World};

#[test]
fn balancers_are_told_before_connections_are_refused() {
    let world = World::with(Options::default(), |setup| {
        setup.flag("--ops-listen=127.0.0.1:0").env("COPPICE_DRAIN_DELAY", "1500ms")
    });
    let (ops, control) = (world.gateway.address("metrics"), world.control());
    let ask = Ask::get("/auth/whoami").key(&key("read"));
    let mut kept = Wire::open(control);
    assert_eq!(kept.ask(&ask).status, 200);
    world.gateway.signal("TERM");
    world.gateway.wait_for_log(&["about to drain"]);
    assert_eq!(Ask::get("/readyz").send(ops).status, 503);
    // Who has not heard it yet is served as ever.
    assert_eq!((ask.send(control).status, kept.ask(&ask).status), (200, 200));
    world.gateway.wait_for_log(&["draining: no new connections"]);
    assert_eq!(world.gateway.wait().code(), Some(0));
}

#[test]
fn a_second_signal_does_not_wait_for_balancers() {
    let world = World::with(Options::default(), |setup| setup.env("COPPICE_DRAIN_DELAY", "1h"));
    world.gateway.signal("TERM");
    world.gateway.wait_for_log(&["about to drain"]);
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.wait().code(), Some(0));
}

#[test]
fn an_answer_while_draining_says_that_it_is_the_last() {
    let app = App::new();
    let mut client = app.begin(8080, "GET /last HTTP/1.1\r\n");
    let (mut upstream, _) = app.accept();
    app.world.gateway.signal("TERM");
    app.world.gateway.wait_for_log(&["draining"]);
    eventually("connections are refused", PATIENCE, || {
        std::net::TcpStream::connect(app.world.control()).is_err()
    });
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let answer = client.head();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(client.until_finished(), b"ok");
    assert_eq!(app.world.gateway.wait().code(), Some(0));
}

/// A WebSocket through the gateway: the client's end, and the sandbox's.
fn websocket(app: &App) -> (Wire, Wire) {
    let head = "GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut client = app.begin(8080, head);
    let (mut upstream, _) = app.accept();
    upstream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    assert_eq!(client.head().status, 101);
    (client, upstream)
}

/// One that has to end soon.
fn impatient() -> App {
    App::with(|setup| setup.env("COPPICE_DRAIN_TIMEOUT", "200ms"))
}

#[test]
fn a_websocket_is_closed_with_a_word_to_both_sides() {
    let app = impatient();
    let (mut client, mut upstream) = websocket(&app);
    upstream.send(&[0x81, 2, b'h', b'i']);
    assert_eq!(client.take(4), [0x81, 2, b'h', b'i']);
    app.world.gateway.signal("TERM");
    // 1012: the service restarts.
    assert_eq!(client.take(4), [0x88, 2, 0x03, 0xf4]);
    let frame = upstream.take(8);
    assert_eq!(frame[..2], [0x88, 0x82], "a client's frames are masked");
    let code: Vec<u8> = (0..2).map(|at| frame[6 + at] ^ frame[2 + at]).collect();
    assert_eq!(code, [0x03, 0xf4]);
    assert_eq!((client.until_finished(), upstream.until_finished()), (vec![], vec![]));
    assert_eq!(app.world.gateway.wait().code(), Some(0));
}

#[test]
fn a_frame_that_has_begun_ends_before_anything_else_is_said() {
    let app = impatient();
    let (mut client, mut upstream) = websocket(&app);
    upstream.send(&[0x82, 6, 1, 2, 3]);
    assert_eq!(client.take(5), [0x82, 6, 1, 2, 3]);
    app.world.gateway.signal("TERM");
    // The other side is between two frames, but hears no sooner.
    assert!(client.is_silent_for(Duration::from_millis(300)));
    upstream.send(&[4, 5, 6]);
    assert_eq!(client.take(7), [4, 5, 6, 0x88, 2, 0x03, 0xf4]);
    assert_eq!(upstream.take(8)[..2], [0x88, 0x82]);
}

#[test]
fn a_frame_that_does_not_end_is_cut_off_and_nothing_is_put_into_it() {
    let app = impatient();
    let (mut client, mut upstream) = websocket(&app);
    upstream.send(&[0x82, 6, 1, 2, 3]);
    assert_eq!(client.take(5), [0x82, 6, 1, 2, 3]);
    app.world.gateway.signal("TERM");
    assert_eq!(client.until_closed(PATIENCE), b"");
    assert_eq!(upstream.take(8)[..2], [0x88, 0x82]);
    assert_eq!(app.world.gateway.wait().code(), Some(0));
}

#[test]
fn a_tunnel_that_is_no_websocket_gets_no_frames() {
    let app = impatient();
    let mut client =
        app.begin(2375, "GET /attach HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n");
    let (mut upstream, _) = app.accept();
    upstream
        .send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
    assert_eq!(client.head().status, 101);
    app.world.gateway.signal("TERM");
    assert_eq!((client.until_closed(PATIENCE), upstream.until_closed(PATIENCE)), (vec![], vec![]));
    assert!(app.world.gateway.wait().success(), "{DOMAIN}");
}
