//! HTTP/2 on either side, and gRPC through it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use coppice_gateway::simulator::{Options, Plane};
use futures_util::future::join_all;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::frames::{End, Frames, GOAWAY};
use crate::support::gateway::Setup;
use crate::support::wait::{PATIENCE, run, within};
use crate::support::world::DOMAIN;
use crate::support::{Ask, Wire, World};

pub(crate) type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// One connection with prior knowledge.
pub(crate) async fn connect(address: SocketAddr) -> SendRequest<Body> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) = handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) fn whole(text: &'static str) -> Body {
    Full::new(Bytes::from_static(text.as_bytes())).boxed_unsync()
}

pub(crate) async fn parts(response: Response<Incoming>) -> (u16, Bytes, HeaderMap) {
    let status = response.status().as_u16();
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    (status, collected.to_bytes(), trailers)
}

fn http2_upstream() -> World {
    World::with(Options::default(), |setup| setup.flag("--upstream-http2=on"))
}

#[test]
fn many_streams_share_a_connection_and_stay_apart() {
    let world = World::new();
    let mine: Vec<_> = (0..4).map(|_| world.create("exec")).collect();
    run(async {
        let sender = connect(world.data()).await;
        let asks = (0..96).map(|number: usize| {
            let (id, token) = &mine[number % mine.len()];
            let mut sender = sender.clone();
            async move {
                let request = Request::post(format!("http://8080-{id}.{DOMAIN}/{number}"))
                    .header("x-access-token", token)
                    .body(whole("body"))
                    .unwrap();
                sender.ready().await.unwrap();
                (number, id, parts(sender.send_request(request).await.unwrap()).await)
            }
        });
        for (number, id, (status, body, _)) in join_all(asks).await {
            assert_eq!(status, 200);
            let echo: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(echo["path"], format!("/{number}"));
            assert_eq!(echo["host"], format!("8080-{id}.{DOMAIN}"));
            assert_eq!(echo["bodyLength"], 4);
        }
        // One stream's refusal is nobody else's.
        let mut sender = sender;
        let bad = Request::get(format!("http://8080-{}.{DOMAIN}/", mine[0].0)).body(whole(""));
        assert_eq!(sender.send_request(bad.unwrap()).await.unwrap().status(), 401);
        sender.ready().await.unwrap();
    });
}

#[test]
fn host_and_authority_must_agree() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let (other, _) = world.create("exec");
    run(async {
        let mut sender = connect(world.data()).await;
        let request = Request::get(format!("http://8080-{id}.{DOMAIN}/"))
            .header("host", format!("8080-{other}.{DOMAIN}"))
            .header("x-access-token", &token)
            .body(whole(""))
            .unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 400);
    });
}

/// A gRPC call whose second message is not sent before the first came back.
async fn echo_twice(world: &World, id: &str, token: &str) -> HeaderMap {
    let mut sender = connect(world.data()).await;
    let (feed, fed) = mpsc::channel::<Bytes>(1);
    let body = futures_util::stream::unfold(fed, async |mut fed| {
        Some((Ok(Frame::data(fed.recv().await?)), fed))
    });
    let request = Request::post(format!("http://8080-{id}.{DOMAIN}/grpc.Echo/Say"))
        .header("x-access-token", token)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(StreamBody::new(body).boxed_unsync())
        .unwrap();
    feed.send(Bytes::from_static(b"\0\0\0\0\x01a")).await.unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let mut body = response.into_body();
    let mut next = async || body.frame().await.unwrap().unwrap();
    assert_eq!(next().await.into_data().unwrap(), "\0\0\0\0\x01a");
    feed.send(Bytes::from_static(b"\0\0\0\0\x01b")).await.unwrap();
    assert_eq!(next().await.into_data().unwrap(), "\0\0\0\0\x01b");
    drop(feed);
    next().await.into_trailers().unwrap()
}

#[test]
fn grpc_keeps_its_trailers_whatever_the_upstream_speaks() {
    for (world, version) in [(World::new(), Version::HTTP_11), (http2_upstream(), Version::HTTP_2)]
    {
        let (id, token) = world.create("exec");
        let trailers = run(echo_twice(&world, &id, &token));
        assert_eq!(trailers["grpc-status"], "0", "{version:?}");
        let sent = world.simulator.requests();
        let sent = sent.iter().find(|request| request.path == "/grpc.Echo/Say").unwrap();
        assert_eq!((sent.version, sent.header("te")), (version, Some("trailers")));
    }
}

#[test]
fn a_stream_that_is_reset_ends_the_upstreams_work() {
    let world = World::new();
    let (id, token) = world.create("exec");
    run(async {
        let mut sender = connect(world.data()).await;
        let request = Request::get(format!("http://8080-{id}.{DOMAIN}/stream?chunks=1000&ms=50"))
            .header("x-access-token", &token)
            .body(whole(""))
            .unwrap();
        let mut response = sender.send_request(request).await.unwrap();
        response.body_mut().frame().await.unwrap().unwrap();
        drop(response);
        // Not by blocking this thread, which drives the connection.
        let given_up = async {
            while world.simulator.aborted() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let noticed = tokio::time::timeout(Duration::from_secs(1), given_up).await;
        noticed.expect("the upstream gives up its work");
        // The connection lives on.
        let again = Request::get(format!("http://8080-{id}.{DOMAIN}/"))
            .header("x-access-token", &token)
            .body(whole(""));
        assert_eq!(sender.send_request(again.unwrap()).await.unwrap().status(), 200);
    });
}

#[test]
fn a_websocket_goes_to_an_http2_upstream_in_http1() {
    let world = http2_upstream();
    let (id, token) = world.create("exec");
    let mut wire = Wire::open(world.data());
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: 8080-{id}.{DOMAIN}\r\nX-Access-Token: {token}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    wire.send(head.as_bytes());
    assert_eq!(wire.head().status, 101);
    // A masked text frame: "hi" under the mask 0.
    wire.send(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    wire.until(b"hi");
    let sent = world.simulator.requests().pop().unwrap();
    assert_eq!((sent.version, sent.host), (Version::HTTP_11, format!("8080-{id}.{DOMAIN}")));
}

#[test]
fn both_planes_work_over_an_http2_upstream() {
    let world = http2_upstream();
    let (id, token) = world.create("exec");
    let detail = world.ask("exec", Ask::get(&format!("/sandboxes/{id}")));
    assert_eq!(
        (detail.status, &*detail.json()["envdAccessToken"].to_string()),
        (200, &*format!("{token:?}"))
    );
    for (port, ask) in [
        (49983, Ask::post("/process.Process/List", "{}")),
        (49999, Ask::post("/execute", r#"{"code":"print(1)"}"#)),
        (8080, Ask::post("/x", "body")),
    ] {
        let answer = world.ask_sandbox(&id, port, ask.header("X-Access-Token", &token));
        assert_eq!(answer.status, 200, "{port}: {}", answer.text());
    }
    let kill = Ask::new("DELETE", &format!("/sandboxes/{id}"));
    assert_eq!(world.ask("exec", kill).status, 204);
    let requests = world.simulator.requests();
    assert!(requests.iter().any(|request| request.plane == Plane::Control));
    for request in requests {
        assert_eq!(request.version, Version::HTTP_2, "{request:?}");
        for name in ["connection", "transfer-encoding", "upgrade", "keep-alive"] {
            assert_eq!(request.header(name), None, "{request:?}");
        }
    }
}

#[test]
fn an_http2_upstream_is_called_by_each_sandboxs_own_name() {
    let world = http2_upstream();
    let mine: Vec<_> = (0..3).map(|_| world.create("exec")).collect();
    world.simulator.clear_requests();
    run(async {
        let sender = connect(world.data()).await;
        let asks = (0..48_u16).map(|number| {
            let (id, token) = &mine[usize::from(number) % mine.len()];
            let mut sender = sender.clone();
            async move {
                let port = 8080 + number % 2;
                let request = Request::post(format!("http://{port}-{id}.{DOMAIN}/{number}"))
                    .header("x-access-token", token)
                    .body(whole("body"));
                sender.ready().await.unwrap();
                let answer = sender.send_request(request.unwrap()).await.unwrap();
                (number, id, port, parts(answer).await)
            }
        });
        for (number, id, port, (status, body, _)) in join_all(asks).await {
            assert_eq!(status, 200);
            let echo: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(echo["path"], format!("/{number}"));
            assert_eq!(echo["host"], format!("{port}-{id}.{DOMAIN}"));
        }
    });
    // However the client named it.
    let (id, token) = &mine[0];
    let ask = Ask::get("/by-header").header("X-Access-Token", token);
    assert_eq!(world.ask_sandbox(id, 8080, ask).status, 200);
    assert_eq!(world.ask("exec", Ask::get(&format!("/sandboxes/{id}"))).status, 200);
    for sent in world.simulator.requests() {
        assert_eq!((sent.version, sent.header("host")), (Version::HTTP_2, None), "{sent:?}");
        match sent.plane {
            Plane::Control => {
                let api = world.simulator.api_url();
                assert_eq!(Some(&*sent.host), api.strip_prefix("http://"));
            }
            Plane::Data => {
                let named = |name: &str| sent.header(name).unwrap();
                let (id, port) = (named("e2b-sandbox-id"), named("e2b-sandbox-port"));
                assert_eq!(sent.host, format!("{port}-{id}.{DOMAIN}"));
            }
        }
    }
}

#[test]
fn a_connection_that_asks_for_nothing_does_not_keep_its_place() {
    let limits = ["--idle-timeout=1s", "--head-timeout=1s", "--max-connections=1"];
    let world =
        World::with(Options::default(), |setup| limits.into_iter().fold(setup, Setup::flag));
    for has_asked in [false, true] {
        let mut quiet = Frames::connect(world.control());
        if has_asked {
            let fields = [
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "h"),
                (":path", "/health"),
            ];
            quiet.head(1, &fields, true);
            assert_eq!(quiet.end_of(1), End::Answered(204, String::new()));
        }
        let control = world.control();
        let other = std::thread::spawn(move || Ask::get("/health").send(control).status);
        // Whatever is asked of it is answered: it is there, and says so.
        let mut is_told = false;
        while let Some(frame) = quiet.read() {
            is_told |= frame.kind == GOAWAY;
            quiet.answer(&frame);
        }
        assert!(is_told, "{has_asked}");
        assert!(within(PATIENCE, || other.is_finished()), "there is a place now");
        assert_eq!(other.join().unwrap(), 204);
    }
}
