//! HTTP/1.1 upgrades to other protocols than WebSocket: tunnels into sandboxes, and nowhere else.

use std::time::Duration;

use coppice_gateway::simulator::Options;

use crate::support::upstream::Upstream;
use crate::support::wait::PATIENCE;
use crate::support::{App, Ask, World};

const TO_TCP: &str = "Connection: Upgrade\r\nUpgrade: tcp\r\n";

/// The head of a request for a daemon in a sandbox; `extra` are whole header lines.
fn request(app: &App, first_line: &str, extra: &str) -> String {
    app.head(2375, &format!("{first_line}\r\n{extra}"))
}

/// No credential, so that it is refused if it is read as a request.
const UNAUTHENTICATED: &[u8] = b"GET /unauthenticated HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn any_protocol_is_tunnelled_into_a_sandbox() {
    let app = App::new();
    for (first_line, extra) in [
        ("GET /attach HTTP/1.1", ""),
        ("POST /containers/a1/attach?stream=1 HTTP/1.1", ""),
        ("POST /containers/a1/attach?stream=1 HTTP/1.1", "Content-Length: 0\r\n"),
    ] {
        let mut client = app.client();
        let asking = format!("{extra}{TO_TCP}");
        client.send((request(&app, first_line, &asking) + "early").as_bytes());
        let (mut upstream, head) = app.accept();
        assert!(head.starts_with(&first_line.to_ascii_lowercase()), "{head}");
        assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
        assert!(head.contains("\r\nupgrade: tcp\r\n"), "{head}");
        assert!(upstream.is_silent_for(Duration::from_millis(100)), "before it has switched");
        upstream.send(
            b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/x-raw\r\nConnection: Upgrade\r\nUpgrade: TCP\r\n\r\nhello",
        );
        let answer = client.head();
        assert_eq!(answer.status, 101, "{first_line} {extra}");
        assert_eq!(answer.header("upgrade"), Some("tcp"));
        assert_eq!(answer.header("content-type"), Some("application/x-raw"));
        assert_eq!(client.until(b"hello"), b"hello");
        assert_eq!(upstream.until(b"early"), b"early");
        // Not even a whole head is one here.
        client.send(UNAUTHENTICATED);
        assert_eq!(upstream.until(b"x\r\n\r\n"), UNAUTHENTICATED);
        drop(client);
        assert_eq!(upstream.until_closed(PATIENCE), b"");
    }
}

#[test]
fn a_switch_says_nothing_of_a_length() {
    let app = App::new();
    for extra in ["Content-Length: 5\r\n", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"] {
        let mut client = app.client();
        client.send(request(&app, "GET /attach HTTP/1.1", TO_TCP).as_bytes());
        let (mut upstream, _) = app.accept();
        let switched =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: tcp\r\n";
        upstream.send(format!("{switched}{extra}\r\nhello, and more").as_bytes());
        // RFC 9110 8.6 and RFC 9112 6.1: whoever believed it would take some of what follows for a body.
        let answer = client.head();
        assert_eq!(answer.status, 101, "{extra}");
        assert_eq!(answer.header("content-length"), None, "{extra}");
        assert_eq!(answer.header("transfer-encoding"), None, "{extra}");
        assert_eq!(client.until(b"more"), b"hello, and more");
    }
}

#[test]
fn a_refused_upgrade_is_an_ordinary_answer() {
    let app = App::new();
    let mut client = app.client();
    // Sent along in the hope of a tunnel: were it passed on, it would be a request that nobody judged.
    let asking = request(&app, "POST /attach HTTP/1.1", TO_TCP);
    client.send(&[asking.as_bytes(), UNAUTHENTICATED].concat());
    let (mut upstream, _) = app.accept();
    assert!(upstream.is_silent_for(Duration::from_millis(100)), "before it has answered");
    upstream.send(b"HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbusy");
    let refused = client.answer();
    assert_eq!((refused.status, &*refused.text()), (409, "busy"));
    assert_eq!(client.answer().status, 401);
    assert_eq!(upstream.until_closed(PATIENCE), b"");
    // The connection is as good as any.
    client.send(request(&app, "GET /after HTTP/1.1", "").as_bytes());
    let (mut upstream, head) = app.accept();
    assert!(head.starts_with("get /after "), "{head}");
    upstream.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_switch_to_anything_else_opens_no_tunnel() {
    let app = App::new();
    for switch in [
        "Connection: upgrade\r\nUpgrade: udp\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\n",
        "Connection: upgrade\r\nUpgrade: h2c\r\n",
        "Connection: upgrade\r\nUpgrade: tcp, udp\r\n",
        "Connection: upgrade\r\nUpgrade: tcp\r\nUpgrade: tcp\r\n",
        "Connection: upgrade\r\n",
        "Upgrade: tcp\r\n",
    ] {
        let mut client = app.client();
        client.send(request(&app, "GET /attach HTTP/1.1", TO_TCP).as_bytes());
        let (mut upstream, _) = app.accept();
        upstream.send(format!("HTTP/1.1 101 Switching Protocols\r\n{switch}\r\n").as_bytes());
        assert_eq!(client.answer().status, 502, "{switch}");
        // What follows is still read as a head.
        client.send(UNAUTHENTICATED);
        assert_eq!(client.answer().status, 401, "{switch}");
        assert_eq!(upstream.until_closed(PATIENCE), b"", "{switch}");
    }
}

#[test]
fn what_asks_for_no_tunnel_goes_on_without_its_upgrade() {
    let app = App::new();
    for (first_line, extra, body) in [
        ("GET /x HTTP/1.1", "Connection: Upgrade\r\nUpgrade: h2c\r\n", ""),
        ("GET /x HTTP/1.1", "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n", ""),
        ("GET /x HTTP/1.1", "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n", ""),
        ("GET /x HTTP/1.1", "Connection: Upgrade\r\nUpgrade: tcp, udp\r\n", ""),
        ("GET /x HTTP/1.1", "Connection: Upgrade\r\nUpgrade: tcp\r\nUpgrade: h2c\r\n", ""),
        ("GET /x HTTP/1.1", "Connection: Upgrade\r\nUpgrade: t cp\r\n", ""),
        ("GET /x HTTP/1.1", "Connection: keep-alive\r\nUpgrade: tcp\r\n", ""),
        ("GET /x HTTP/1.0", TO_TCP, ""),
        ("PUT /x HTTP/1.1", TO_TCP, ""),
        ("POST /x HTTP/1.1", &format!("{TO_TCP}Content-Length: 4\r\n"), "body"),
        ("POST /x HTTP/1.1", &format!("{TO_TCP}Transfer-Encoding: chunked\r\n"), "0\r\n\r\n"),
    ] {
        let mut client = app.client();
        client.send((request(&app, first_line, extra) + body).as_bytes());
        let (mut upstream, head) = app.accept();
        assert!(!head.contains("upgrade"), "{first_line} {extra}: {head}");
        if !body.is_empty() {
            upstream.until(body.as_bytes());
        }
        upstream.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: tcp\r\n\r\n",
        );
        assert_eq!(client.answer().status, 502, "{first_line} {extra}");
    }
}

#[test]
fn the_control_plane_tunnels_websockets_only() {
    let upstream = Upstream::always(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: tcp\r\n\r\n",
    );
    let world = World::with(Options::default(), |setup| {
        setup.without("--upstream=").flag(format!("--upstream={}", upstream.url()))
    });
    let ask = |role| {
        let ask = Ask::get("/v2/templates");
        world.ask(role, ask.header("Connection", "Upgrade").header("Upgrade", "tcp"))
    };
    // It is not passed on, but whoever asks is no mere reader.
    assert_eq!(ask("read").status, 403);
    assert_eq!(upstream.requests(), [""; 0]);
    assert_eq!(ask("exec").status, 502);
    assert!(!upstream.requests()[0].to_ascii_lowercase().contains("upgrade"));
}
