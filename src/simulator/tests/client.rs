//! A plain HTTP client for the tests here, and a sandbox to aim it at.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Collected};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::simulator::{Options, Simulator};

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(super) fn request(method: Method, url: &str) -> http::request::Builder {
    Request::builder().method(method).uri(url)
}

pub(super) fn pool(http2: bool) -> Pool<HttpConnector, Body> {
    Pool::builder(TokioExecutor::new()).http2_only(http2).build_http()
}

pub(super) async fn open(request: Request<Body>) -> Response<Incoming> {
    pool(false).request(request).await.unwrap()
}

pub(super) async fn answer(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let collected: Collected<Bytes> = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    Answer { status: head.status, headers: head.headers, body: collected.to_bytes(), trailers }
}

pub(super) async fn send(request: Request<Body>) -> Answer {
    answer(open(request).await).await
}

/// A simulator and one running sandbox in it.
pub(super) struct Setup {
    pub(super) simulator: Simulator,
    pub(super) id: String,
    pub(super) token: String,
    pub(super) traffic: String,
}

impl Setup {
    pub(super) async fn new() -> Self {
        Self::with(Options::default(), json!({ "templateID": "base" })).await
    }

    pub(super) async fn with(options: Options, spec: Value) -> Self {
        let simulator = Simulator::start(options).unwrap();
        let url = format!("{}/sandboxes", simulator.api_url());
        let made = send(request(Method::POST, &url).body(Body::from(spec.to_string())).unwrap());
        let made = made.await.json();
        let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
        Self {
            id: text("sandboxID"),
            token: text("envdAccessToken"),
            traffic: text("trafficAccessToken"),
            simulator,
        }
    }

    pub(super) async fn api(&self, method: Method, path: &str, body: Value) -> Answer {
        let url = format!("{}{path}", self.simulator.api_url());
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        send(request(method, &url).body(body).unwrap()).await
    }

    /// A request for a port of the sandbox, with both tokens.
    pub(super) fn at(&self, port: u16, method: Method, path: &str) -> http::request::Builder {
        self.bare(port, method, path)
            .header("x-access-token", &self.token)
            .header("e2b-traffic-access-token", &self.traffic)
    }

    /// The same without tokens.
    pub(super) fn bare(&self, port: u16, method: Method, path: &str) -> http::request::Builder {
        request(method, &format!("{}{path}", self.simulator.envd_url()))
            .header("e2b-sandbox-id", &self.id)
            .header("e2b-sandbox-port", port)
    }

    pub(super) async fn rpc(&self, method: &str, message: Value) -> Answer {
        let request =
            self.at(49983, Method::POST, method).header("content-type", "application/json");
        send(request.body(Body::from(message.to_string())).unwrap()).await
    }

    /// Opens a server stream.
    pub(super) async fn stream(&self, method: &str, message: Value) -> Frames {
        let message = message.to_string();
        let mut body = vec![0];
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message.as_bytes());
        let request = self
            .at(49983, Method::POST, method)
            .header("content-type", "application/connect+json")
            .body(Body::from(body))
            .unwrap();
        let response = open(request).await;
        assert_eq!(response.status(), 200);
        Frames { body: response.into_body(), buffer: Vec::new() }
    }

    /// Starts a command as the SDKs do.
    pub(super) async fn start(&self, command: &str) -> Frames {
        let process = json!({ "cmd": "/bin/bash", "args": ["-l", "-c", command] });
        self.stream("/process.Process/Start", json!({ "process": process })).await
    }
}

/// The messages of a server stream.
pub(super) struct Frames {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Frames {
    /// Flags and message; `None` when the stream ended or broke off.
    pub(super) async fn next(&mut self) -> Option<(u8, Value)> {
        loop {
            if let [flags, a, b, c, d, rest @ ..] = self.buffer.as_slice() {
                let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                if rest.len() >= length {
                    let message = serde_json::from_slice(&rest[..length]).unwrap();
                    let flags = *flags;
                    self.buffer.drain(..5 + length);
                    return Some((flags, message));
                }
            }
            let frame = self.body.frame().await?.ok()?;
            self.buffer.extend_from_slice(frame.data_ref().unwrap());
        }
    }

    pub(super) async fn event(&mut self) -> Value {
        let (flags, message) = self.next().await.expect("another message");
        assert_eq!(flags, 0, "{message}");
        message["event"].clone()
    }

    /// The process id from the first event.
    pub(super) async fn pid(&mut self) -> u64 {
        self.event().await["start"]["pid"].as_u64().expect("start first")
    }
}
