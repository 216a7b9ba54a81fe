//! Other ports: the echo application, private ports, WebSockets, trailers, aborted requests.

use axum::body::Body;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::client::{Setup, answer, open, pool, send};
use crate::simulator::state::hex;
use crate::simulator::{CLOSED_PORT, Options};

const GET: Method = Method::GET;
const POST: Method = Method::POST;

#[tokio::test]
async fn any_port_echoes_the_request() {
    let setup = Setup::new().await;
    let request = setup.bare(8080, POST, "/a%20b?x=1&y=%26").header("cookie", "c=1");
    let echoed = send(request.body(Body::from("body")).unwrap()).await.json();
    assert_eq!(echoed["path"], "/a%20b");
    assert_eq!(echoed["query"], json!([["x", "1"], ["y", "&"]]));
    assert_eq!((echoed["method"].clone(), echoed["bodyLength"].clone()), (json!("POST"), json!(4)));
    assert_eq!(echoed["bodySha256"], hex(&Sha256::digest("body")));
    assert!(echoed["headers"].as_array().unwrap().contains(&json!(["cookie", "c=1"])));
    let closed = send(setup.at(CLOSED_PORT, GET, "/").body(Body::empty()).unwrap()).await;
    assert_eq!(closed.status, 502);
    assert_eq!(closed.json()["message"], "The sandbox is running but port is not open");
}

#[tokio::test]
async fn a_private_port_wants_the_traffic_token() {
    let spec = json!({ "templateID": "base", "network": { "allowPublicTraffic": false } });
    let setup = Setup::with(Options::default(), spec).await;
    assert_eq!(send(setup.bare(8080, GET, "/").body(Body::empty()).unwrap()).await.status, 403);
    assert_eq!(send(setup.at(8080, GET, "/").body(Body::empty()).unwrap()).await.status, 200);
}

#[tokio::test]
async fn answers_of_every_kind() {
    let setup = Setup::new().await;
    for (path, status, body) in [
        ("/status/418", 418, "{\"status\":418}"),
        ("/status/204", 204, ""),
        ("/slow?ms=1", 200, "done\n"),
        ("/stream?chunks=2&ms=1", 200, "chunk 0\nchunk 1\n"),
        ("/zeros?bytes=2", 200, "\0\0"),
        ("/ndjson", 200, "{\"line\":0}\n{\"line\":1}\n{\"line\":2}\n"),
        ("/ws-refuse", 403, "{\"code\":403,\"message\":\"No WebSockets here\"}"),
    ] {
        let answer = send(setup.bare(3000, GET, path).body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (status, body.as_bytes()), "{path}");
    }
    let mut events =
        open(setup.bare(3000, GET, "/sse").body(Body::empty()).unwrap()).await.into_body();
    let first = events.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "id: 0\ndata: event 0\n\n");
}

#[tokio::test]
async fn trailers_go_out_in_both_versions_of_http() {
    let setup = Setup::new().await;
    for http2 in [false, true] {
        let request = setup.bare(3000, GET, "/trailers").header("te", "trailers");
        let response = pool(http2).request(request.body(Body::empty()).unwrap()).await.unwrap();
        let answer = answer(response).await;
        assert_eq!(answer.body, "hello");
        let trailers = answer.trailers.expect("trailers");
        assert_eq!(
            trailers["x-checksum"],
            hex(&Sha256::digest("hello")).as_str(),
            "http2: {http2}"
        );
    }
    let request =
        setup.bare(3000, POST, "/grpc.Echo/Say").header("content-type", "application/grpc");
    let response = pool(true).request(request.body(Body::from("\0\0\0\0\x01x")).unwrap()).await;
    let answer = answer(response.unwrap()).await;
    assert_eq!(answer.body, "\0\0\0\0\x01x");
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
}

fn websocket(setup: &Setup, path: &str) -> http::Request<()> {
    let url = format!("{}{path}", setup.simulator.envd_url().replace("http://", "ws://"));
    let mut request = url.into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("e2b-sandbox-id", HeaderValue::from_str(&setup.id).unwrap());
    headers.insert("e2b-sandbox-port", HeaderValue::from_static("3000"));
    headers.insert("sec-websocket-protocol", HeaderValue::from_static("chat, other"));
    request
}

#[tokio::test]
async fn websockets_echo_and_can_be_refused() {
    let setup = Setup::new().await;
    let (mut socket, response) =
        tokio_tungstenite::connect_async(websocket(&setup, "/ws")).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    for message in [Message::text("hi"), Message::binary(vec![0; 100_000])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    match tokio_tungstenite::connect_async(websocket(&setup, "/ws-refuse")).await {
        Err(Error::Http(response)) => assert_eq!(response.status(), StatusCode::FORBIDDEN),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn aborted_requests_are_counted_and_finished_ones_are_not() {
    let setup = Setup::new().await;
    for path in ["/zeros?bytes=100000", "/stream?chunks=2&ms=1", "/status/204", "/"] {
        send(setup.bare(3000, GET, path).body(Body::empty()).unwrap()).await;
        send(setup.bare(3000, Method::HEAD, path).body(Body::empty()).unwrap()).await;
    }
    assert_eq!(setup.simulator.aborted(), 0);

    // Before the answer, and in the middle of it; on HTTP/2 the connection stays.
    for (count, http2) in [(2, false), (4, true)] {
        let pool = pool(http2);
        let seen = setup.simulator.request_count();
        let slow = setup.bare(3000, GET, "/slow?ms=600000").body(Body::empty()).unwrap();
        let waiting = tokio::spawn(pool.request(slow));
        until(|| setup.simulator.request_count() > seen).await;
        waiting.abort();
        let stream =
            setup.bare(3000, GET, "/stream?chunks=9&ms=600000").body(Body::empty()).unwrap();
        drop(pool.request(stream).await.unwrap());
        until(|| setup.simulator.aborted() == count).await;
    }
}

async fn until(done: impl Fn() -> bool) {
    let poll = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), poll).await.unwrap();
}
