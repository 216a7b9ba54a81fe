//! A thousand creates at once.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::{assert_refused, count, limited, starts};
use crate::support::Answer;
use crate::support::wait::run;
use crate::support::world::key;

/// Slow enough that all of them are under way before any is answered.
const BODY: &str = r#"{"templateID":"base","metadata":{"simulator-delay-ms":"500"}}"#;

fn create(path: &str) -> Request<Full<Bytes>> {
    Request::post(format!("http://gateway{path}"))
        .header("x-api-key", key("exec"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(BODY.as_bytes())))
        .unwrap()
}

async fn whole(response: http::Response<hyper::body::Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    Answer {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body: body.collect().await.unwrap().to_bytes().to_vec(),
    }
}

/// On a connection of its own.
async fn alone(gateway: SocketAddr) -> Answer {
    let stream = TokioIo::new(TcpStream::connect(gateway).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut request = create("/sandboxes");
    *request.uri_mut() = "/sandboxes".parse().unwrap();
    request.headers_mut().insert("host", gateway.to_string().parse().unwrap());
    whole(sender.send_request(request).await.unwrap()).await
}

/// So many on one connection.
async fn together(gateway: SocketAddr, count: usize) -> Vec<Answer> {
    let stream = TokioIo::new(TcpStream::connect(gateway).await.unwrap());
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let asks = (0..count).map(|_| {
        let mut sender = sender.clone();
        async move {
            sender.ready().await.unwrap();
            whole(sender.send_request(create("/v2/sandboxes")).await.unwrap()).await
        }
    });
    join_all(asks).await
}

#[test]
fn of_a_thousand_creates_at_once_seven_are_sent() {
    let world = limited("team-a=7");
    let gateway = world.control();
    let answers: Vec<Answer> = run(async {
        let alone = join_all((0..500).map(|_| alone(gateway)));
        let together = join_all((0..5).map(|_| together(gateway, 100)));
        let (mut alone, together) = tokio::join!(alone, together);
        alone.extend(together.into_iter().flatten());
        alone
    });
    assert_eq!(answers.len(), 1000);
    let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!(made.len(), 7);
    for answer in refused {
        assert_refused(answer, "team-a", 7);
    }
    assert_eq!(starts(&world.simulator).len(), 7);
    assert_eq!(count(&world.simulator, "team-a"), (7, 7));
}
