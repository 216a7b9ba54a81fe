//! WebSockets into sandboxes: tunnels that open with the upstream's 101 and not before, and close with either side.

use std::net::SocketAddr;
use std::time::Duration;

use coppice_gateway::simulator::Plane;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::wait::{PATIENCE, run};
use crate::support::world::DOMAIN;
use crate::support::{App, Ask, Wire, World};

/// What a client sends to become a WebSocket, without the headers that a test is about.
const HANDSHAKE: &str =
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn connect(
    address: SocketAddr,
    host: &str,
    token: &str,
    path: &str,
    protocols: Option<&str>,
) -> Result<(WebSocketStream<TcpStream>, Response), Error> {
    let mut request = format!("ws://{host}{path}").into_client_request().unwrap();
    request.headers_mut().insert("e2b-traffic-access-token", token.parse().unwrap());
    if let Some(protocols) = protocols {
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
    }
    let stream = TcpStream::connect(address).await.unwrap();
    client_async(request, stream).await
}

struct Place {
    world: World,
    id: String,
    token: String,
    host: String,
}

impl Place {
    fn new() -> Self {
        let world = World::new();
        let (id, token) = world.create("exec");
        let host = format!("8080-{id}.{DOMAIN}");
        Self { world, id, token, host }
    }

    /// A handshake as raw text; `extra` are whole header lines.
    fn handshake(&self, first_line: &str, extra: &str) -> Vec<u8> {
        let Self { host, token, .. } = self;
        format!("{first_line}\r\nHost: {host}\r\nX-Access-Token: {token}\r\n{HANDSHAKE}{extra}\r\n")
            .into_bytes()
    }

    /// What the sandbox got, by path.
    fn got(&self, path: &str) -> usize {
        let requests = self.world.simulator.requests();
        requests.iter().filter(|got| got.plane == Plane::Data && got.path == path).count()
    }
}

#[test]
fn messages_of_all_kinds_come_back() {
    let place = Place::new();
    run(async {
        let address = place.world.control();
        let opened = connect(address, &place.host, &place.token, "/ws", Some("v2.chat, v1.chat"));
        let (mut socket, response) = opened.await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "v2.chat");
        assert!(response.headers().contains_key("x-request-id"));
        let large = vec![7_u8; 3 * 1024 * 1024];
        for message in [
            Message::text("héllo"),
            Message::binary(vec![0, 255, 1]),
            Message::binary(large),
            Message::text(""),
        ] {
            socket.send(message.clone()).await.unwrap();
            assert!(socket.next().await.unwrap().unwrap() == message, "another message came back");
        }
        socket.send(Message::Ping(vec![1, 2].into())).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong(vec![1, 2].into()));
        let close = CloseFrame { code: CloseCode::Library(4321), reason: "done".into() };
        socket.close(Some(close.clone())).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::Close(Some(close)));
        assert!(matches!(socket.next().await, None | Some(Err(_))), "and then the connection ends");
    });
    // The app saw neither the caller's token nor who it is.
    let seen = place.world.simulator.requests().pop().unwrap();
    let (_, traffic) = place.world.simulator.tokens_of(&place.id).unwrap();
    assert_eq!(seen.header("e2b-traffic-access-token"), Some(traffic.as_str()));
    assert!(!format!("{:?}", seen.headers).contains(&place.token));
}

#[test]
fn a_refused_handshake_is_an_ordinary_answer() {
    let place = Place::new();
    let address = place.world.data();
    let asking = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let mut wire = Wire::open(address);
    // Sent along in the hope of a tunnel: were it passed on, it would be a request that nobody judged.
    let mut early = place.handshake("GET /ws-refuse HTTP/1.1", asking);
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: {}\r\n\r\n", place.host);
    early.extend_from_slice(smuggled.as_bytes());
    wire.send(&early);
    let refused = wire.answer();
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("No WebSockets here"), "{}", refused.text());
    // What was sent early is the next request, and that carries no credential.
    assert_eq!(wire.answer().status, 401);
    assert_eq!(place.got("/smuggled"), 0);
    // The connection is as good as any.
    wire.send(&place.handshake("GET /after HTTP/1.1", ""));
    assert_eq!(wire.answer().status, 200);
    assert_eq!(place.got("/after"), 1);
}

#[test]
fn bytes_sent_early_wait_for_the_tunnel() {
    let place = Place::new();
    let mut wire = Wire::open(place.world.data());
    let asking = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let mut early = place.handshake("GET /ws HTTP/1.1", asking);
    // A masked text frame: "hi" under the mask 0.
    early.extend_from_slice(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    wire.send(&early);
    assert_eq!(wire.head().status, 101);
    assert_eq!(wire.until(b"hi"), [0x81, 2, b'h', b'i']);
}

#[test]
fn nothing_else_becomes_a_tunnel() {
    let place = Place::new();
    for (first_line, extra) in [
        ("GET /ws HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"),
        ("GET /ws HTTP/1.1", "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n"),
        ("GET /ws HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n"),
        (
            "GET /ws HTTP/1.1",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        ),
        ("GET /ws HTTP/1.1", "Upgrade: websocket\r\n"),
        ("GET /ws HTTP/1.1", "Connection: close\r\nUpgrade: websocket\r\n"),
        ("POST /ws HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n"),
        ("GET /ws HTTP/1.0", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    ] {
        place.world.simulator.clear_requests();
        let mut wire = Wire::open(place.world.data());
        wire.send(&place.handshake(first_line, extra));
        let status = wire.head().status;
        // The app's own word on a request that asks for no upgrade.
        assert!((400..500).contains(&status), "{first_line} {extra}: {status}");
        for request in place.world.simulator.requests() {
            assert_eq!(request.header("upgrade"), None, "{first_line} {extra}");
            assert_eq!(request.header("http2-settings"), None, "{first_line} {extra}");
        }
    }
}

#[test]
fn a_tunnel_needs_a_credential_and_exec() {
    let place = Place::new();
    let refused = |token: &str| {
        let opening = connect(place.world.data(), &place.host, token, "/ws", None);
        match run(opening) {
            Err(Error::Http(response)) => response.status().as_u16(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused("wrong"), 401);
    let (_, sibling) = place.world.create("exec");
    assert_eq!(refused(&sibling), 404);

    let terminal = |role: &str| {
        let ask = Ask::get(&format!("/sandboxes/{}/terminal/ws", place.id));
        place.world.ask(role, ask.upgrading()).status
    };
    assert_eq!(terminal("read"), 403);
    assert_eq!(terminal("other"), 404);
    // A route that a read key may read is not one that it may tunnel through.
    let upgrade = |role: &str, path: &str| place.world.ask(role, Ask::get(path).upgrading());
    for path in [format!("/sandboxes/{}", place.id), "/v2/sandboxes".to_owned()] {
        let answer = upgrade("read", &path);
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(answer.json()["message"], "API key lacks required scope: exec");
    }
    assert_eq!(Ask::get("/health").upgrading().send(place.world.control()).status, 401);
    assert_eq!(place.got("/ws"), 0);
}

/// Opens a tunnel: the client's end, and the application's.
fn tunnel(app: &App) -> (Wire, Wire) {
    let asking = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let mut client = app.begin(8080, &format!("GET /any HTTP/1.1\r\n{HANDSHAKE}{asking}"));
    client.send(b"early");
    let (mut upstream, head) = app.accept();
    assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
    assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert!(upstream.is_silent_for(Duration::from_millis(100)), "before it has switched");
    upstream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello");
    assert_eq!(client.head().status, 101);
    assert_eq!(client.until(b"hello"), b"hello");
    assert_eq!(upstream.until(b"early"), b"early");
    (client, upstream)
}

#[test]
fn a_client_that_hangs_up_ends_the_upstreams_side() {
    let app = App::new();
    let (client, mut upstream) = tunnel(&app);
    drop(client);
    assert_eq!(upstream.until_closed(PATIENCE), b"");
}

#[test]
fn an_upstream_that_hangs_up_ends_the_clients_side() {
    let app = App::new();
    let (mut client, mut upstream) = tunnel(&app);
    upstream.send(b"last words");
    drop(upstream);
    assert_eq!(client.until_closed(PATIENCE), b"last words");
}

#[test]
fn who_has_said_all_may_still_listen() {
    let app = App::new();
    let (mut client, mut upstream) = tunnel(&app);
    client.send(b"that is all");
    client.finish();
    assert_eq!(upstream.until_finished(), b"that is all");
    upstream.send(b"so long");
    drop(upstream);
    assert_eq!(client.until_closed(PATIENCE), b"so long");
}

#[test]
fn a_terminal_is_a_tunnel_on_the_control_plane() {
    let (world, upstream) = World::with_api();
    let mut client = Wire::open(world.control());
    let key = world.key("admin");
    let head = format!("GET /sandboxes/i1/terminal/ws HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n");
    let asking = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    client.send(format!("{head}{HANDSHAKE}{asking}\r\nearly").as_bytes());
    let mut upstream = Wire::over(upstream.accept().unwrap().0);
    let head = String::from_utf8(upstream.until(b"\r\n\r\n")).unwrap().to_ascii_lowercase();
    assert!(head.contains("\r\nx-coppice-tenant: team-a\r\n") && !head.contains(&key), "{head}");
    upstream.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhi",
    );
    assert_eq!(client.head().status, 101);
    client.until(b"hi");
    upstream.until(b"early");
}

#[test]
fn an_upstream_that_switches_unasked_opens_no_tunnel() {
    let app = App::new();
    for (asking, protocol) in [
        ("Connection: Upgrade\r\nUpgrade: websocket\r\n", "h2c"),
        ("Connection: Upgrade\r\nUpgrade: websocket\r\n", "websocket, h2c"),
        ("", "websocket"),
    ] {
        let mut client = app.begin(8080, &format!("GET /any HTTP/1.1\r\n{HANDSHAKE}{asking}"));
        let (mut upstream, _) = app.accept();
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ";
        upstream.send(format!("{switch}{protocol}\r\n\r\n").as_bytes());
        assert_eq!(client.answer().status, 502, "{asking:?} {protocol}");
        // The connection goes on as it was: nothing after it is taken for a tunnel's.
        client.send(b"GET /unauthenticated HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.answer().status, 401);
    }
}
