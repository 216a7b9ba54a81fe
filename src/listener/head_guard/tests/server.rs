//! The guard below the real HTTP server.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

type Seen = Arc<Mutex<Vec<String>>>;

/// Serves one connection: answers refusals with their status and code, and everything else with its own path.
fn serve() -> (DuplexStream, Seen, tokio::task::JoinHandle<()>) {
    let (client, server) = tokio::io::duplex(1 << 20);
    let (guard, handle) = HeadGuard::new(server, Limits::default());
    let seen = Seen::default();
    let service = {
        let seen = Arc::clone(&seen);
        service_fn(move |request: Request<Incoming>| {
            let seen = Arc::clone(&seen);
            let in_flight = handle.request_started();
            async move {
                let _in_flight = in_flight;
                let (status, text) = match Refusal::from_method(request.method()) {
                    Some(refusal) => (refusal.status(), refusal.code().to_owned()),
                    None => (http::StatusCode::OK, request.uri().to_string()),
                };
                let _body = request.into_body().collect().await;
                seen.lock().unwrap().push(text.clone());
                let mut response = Response::new(Full::new(Bytes::from(text)));
                *response.status_mut() = status;
                Ok::<_, Infallible>(response)
            }
        })
    };
    let task = tokio::spawn(async move {
        let builder = auto::Builder::new(TokioExecutor::new());
        // How the connection ends is asserted on what the client sees.
        let _ended = builder.serve_connection_with_upgrades(TokioIo::new(guard), service).await;
    });
    (client, seen, task)
}

async fn answers_to(raw: &[u8]) -> (String, Vec<String>) {
    let (mut client, seen, task) = serve();
    client.write_all(raw).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    task.await.unwrap();
    let seen = seen.lock().unwrap().clone();
    (answer, seen)
}

#[tokio::test(start_paused = true)]
async fn good_requests_before_a_bad_one_are_served_and_none_after_it() {
    let (answer, seen) = answers_to(
        b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n\
          POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi\
          POST /3 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
          GET /4 HTTP/1.1\r\nHost: h\r\n\r\n",
    )
    .await;
    assert_eq!(seen, ["/1", "/2", "ambiguous_length"]);
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2);
    assert_eq!(answer.matches("HTTP/1.1 400 Bad Request").count(), 1);
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_first_request_is_answered() {
    for (raw, status) in [
        (&b"GET / HTTP/1.1\nHost: h\n\n"[..], "HTTP/1.1 400 "),
        (b"GET http://evil/ HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400 "),
        (b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 405 "),
        (b"GET / HTTP/1.7\r\nHost: h\r\n\r\n", "HTTP/1.1 505 "),
        (&[b'a'; 33 * 1024], "HTTP/1.1 431 "),
        (b"GET / HTT", "HTTP/1.1 408 "),
    ] {
        let (answer, seen) = answers_to(raw).await;
        assert!(answer.starts_with(status), "{answer}");
        assert_eq!(seen.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_speaks_is_left_without_an_answer() {
    let start = Instant::now();
    assert_eq!(answers_to(b"").await, (String::new(), vec![]));
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_broken_chunked_body_ends_the_connection() {
    let (_, seen) = answers_to(
        b"POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n",
    )
    .await;
    assert!(!seen.contains(&"/2".to_owned()), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn http_2_passes() {
    let (client, seen, _task) = serve();
    let (mut sender, connection) = h2::client::handshake(client).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://h/two").body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    assert_eq!(*seen.lock().unwrap(), ["http://h/two"]);
}

#[tokio::test(start_paused = true)]
async fn the_answer_waits_for_a_client_that_is_still_sending() {
    let (mut client, _, task) = serve();
    client.write_all(b"GET /# HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // The server has said all it will, yet still takes what is on its way.
    client.write_all(&[b'x'; 1000]).await.unwrap();
    assert!(!task.is_finished());
    task.await.unwrap();
    assert!(client.write_all(b"x").await.is_err());
}
