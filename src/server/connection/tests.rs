//! Connections whose application is a few lines: what is read and answered is the real thing. This file has those lines.
//!
//! Time is made up, so that waiting costs none and every moment can be met exactly.

mod endings;
mod leaving;
mod parking;
mod races;

use std::convert::Infallible;
use std::pin::Pin;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;
use crate::listener::head_guard::{GuardHandle, Refusal};

/// Longer than any time limit.
const LONG: Duration = Duration::from_secs(10_000);

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// What answers: `/sleep/n` after n seconds, `/word` when it gets one, `/big` at length, an upgrade with an echo, all else
/// with path and body.
#[derive(Clone)]
struct App {
    guard: GuardHandle,
    /// One for each that lives.
    word: Arc<Notify>,
}

impl hyper::service::Service<Request<Incoming>> for App {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let (guard, in_flight) = (self.guard.clone(), self.guard.request_started());
        let word = Arc::downgrade(&self.word);
        Box::pin(async move {
            let _in_flight = in_flight;
            if request.headers().contains_key(UPGRADE) {
                let tunnel = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let (mut from, mut to) = tokio::io::split(TokioIo::new(tunnel.await.unwrap()));
                    tokio::io::copy(&mut from, &mut to).await
                });
                guard.switched();
                let switched = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
                let switched = switched.header(UPGRADE, "tcp").header(CONNECTION, "upgrade");
                return Ok(switched.body(Full::default()).unwrap());
            }
            let path = request.uri().path().to_owned();
            let (status, text) = match Refusal::from_method(request.method()) {
                Some(refusal) => (refusal.status(), refusal.code().to_owned()),
                None if path == "/big" => (StatusCode::OK, "x".repeat(100_000)),
                None => {
                    if path == "/word" {
                        word.upgrade().unwrap().notified().await;
                    } else if let Some(seconds) = path.strip_prefix("/sleep/") {
                        sleep(secs(seconds.parse().unwrap())).await;
                    }
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    (StatusCode::OK, format!("{path} {}", str::from_utf8(&body).unwrap()))
                }
            };
            let mut response = Response::new(Full::new(Bytes::from(text)));
            *response.status_mut() = status;
            Ok(response)
        })
    }
}

/// A client's connection, and the other side of it.
struct Talk {
    client: DuplexStream,
    word: Arc<Notify>,
    phases: Phases,
    serving: JoinHandle<Option<Left<DuplexStream>>>,
}

impl Talk {
    fn new() -> Self {
        Self::over(1 << 16)
    }

    /// Where so many bytes may be on their way.
    fn over(room: usize) -> Self {
        Self::among(Phases::default(), room, true)
    }

    /// One with which no successor can go on.
    fn that_stays(phases: Phases) -> Self {
        Self::among(phases, 1 << 16, false)
    }

    fn among(phases: Phases, room: usize, can_leave: bool) -> Self {
        let (client, server) = tokio::io::duplex(room);
        let word = Arc::default();
        let serving = tokio::spawn(serve(server, Arc::clone(&word), &phases, can_leave));
        Self { client, word, phases, serving }
    }

    /// Whether hyper has a part in it now.
    async fn is_attended(&self) -> bool {
        // What is ready to run may run first.
        sleep(Duration::from_millis(1)).await;
        // The test's own, the connection's, and hyper's.
        Arc::strong_count(&self.word) == 3
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads one whole answer: its status and body.
    async fn answer(&mut self) -> (u16, String) {
        let mut read = Vec::new();
        let length = loop {
            read.push(timeout(LONG, self.client.read_u8()).await.unwrap().unwrap());
            let text = str::from_utf8(&read).unwrap();
            if text.ends_with("\r\n\r\n") {
                assert!(text.starts_with("HTTP/1.1 "), "{text}");
                let length = text.split_once("content-length: ").map_or("0", |(_, rest)| rest);
                break length.split_once("\r\n").unwrap_or(("0", "")).0.parse().unwrap();
            }
        };
        let status = str::from_utf8(&read[9..12]).unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.client.read_exact(&mut body).await.unwrap();
        (status, String::from_utf8(body).unwrap())
    }

    /// Sends a request and reads its answer.
    async fn ask(&mut self, path: &str) {
        self.send(get(path)).await;
        assert_eq!(self.answer().await, (200, format!("{path} ")));
    }

    /// Has a successor take connections over from now on.
    fn hand_over(&self) {
        self.phases.succession.begin();
        self.phases.drain.cancel();
    }

    /// The client's end, and what is left of the other: it must have been given up at once.
    async fn left(self) -> (DuplexStream, Left<DuplexStream>) {
        let left = timeout(secs(0.1), self.serving).await.unwrap().unwrap();
        (self.client, left.expect("it ended"))
    }

    /// Reads to the end, which must be one.
    async fn rest(mut self) -> String {
        let mut rest = String::new();
        timeout(LONG, self.client.read_to_string(&mut rest)).await.unwrap().unwrap();
        timeout(LONG, self.serving).await.unwrap().unwrap();
        rest
    }
}

fn serve(
    server: DuplexStream,
    word: Arc<Notify>,
    phases: &Phases,
    can_leave: bool,
) -> Serving<DuplexStream, App> {
    let limits = Limits { park_after: Some(PARK_AFTER), ..Limits::default() };
    let (guard, handle) = HeadGuard::new(server, limits);
    let app = App { guard: handle.clone(), word };
    Serving::new((guard, handle), app, Arc::new(Protocols::new(100)), phases, can_leave)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
}
