//! Answers: E2B's JSON and error bodies, request payloads, and bodies fed by a task.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::IntoResponse;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// An answer.
pub(super) type Reply = Response<Body>;

/// Largest JSON request read, as at E2B's API.
const PAYLOAD_LIMIT: usize = 16 * 1024 * 1024;

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Reply {
    typed(status, None, Body::empty())
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, value: &Value) -> Reply {
    typed(status, Some("application/json"), Body::from(value.to_string()))
}

/// E2B's error body: the status again as `code`, and a message.
pub(super) fn error(status: StatusCode, message: &str) -> Reply {
    json(status, &json!({ "code": status.as_u16(), "message": message }))
}

/// An answer of a given content type.
pub(super) fn typed(status: StatusCode, content_type: Option<&'static str>, body: Body) -> Reply {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

/// An answer that ends a handler early; boxed, since most handlers go well.
pub(super) struct Refusal(Box<Reply>);

impl From<Reply> for Refusal {
    fn from(reply: Reply) -> Self {
        Self(Box::new(reply))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Reply {
        *self.0
    }
}

/// How a handler ends.
pub(super) type Answer = Result<Reply, Refusal>;

/// A JSON request body; an empty one reads as `{}`, anything malformed answers 400.
pub(super) struct Payload<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Payload<T> {
    type Rejection = Reply;

    async fn from_request(request: Request, _: &S) -> Result<Self, Reply> {
        let body = axum::body::to_bytes(request.into_body(), PAYLOAD_LIMIT)
            .await
            .map_err(|_| error(StatusCode::BAD_REQUEST, "The request body could not be read"))?;
        let body = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
        serde_json::from_slice(&body).map(Self).map_err(|cause| {
            error(StatusCode::BAD_REQUEST, &format!("Error when parsing the request: {cause}"))
        })
    }
}

/// Sets a member of a JSON object.
pub(super) fn set(object: &mut Value, name: &str, value: impl Serialize) {
    if let Value::Object(members) = object {
        members.insert(name.to_owned(), json!(value));
    }
}

/// The writing end of a body.
#[derive(Clone)]
pub(super) struct Feed(mpsc::Sender<io::Result<Frame<Bytes>>>);

/// The reader went away.
pub(super) struct ReaderGone;

impl Feed {
    /// Sends a chunk; waits while the reader is slow.
    pub(super) async fn data(&self, data: impl Into<Bytes>) -> Result<(), ReaderGone> {
        self.0.send(Ok(Frame::data(data.into()))).await.map_err(|_| ReaderGone)
    }

    /// Ends the body with trailers.
    pub(super) async fn trailers(self, trailers: HeaderMap) -> Result<(), ReaderGone> {
        self.0.send(Ok(Frame::trailers(trailers))).await.map_err(|_| ReaderGone)
    }

    /// Resolves when the reader has gone away.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// A body that a task writes through its [`Feed`]; it ends when the feed is dropped.
pub(super) fn feed() -> (Feed, Body) {
    let (sender, receiver) = mpsc::channel(4);
    (Feed(sender), Body::new(Fed(receiver)))
}

struct Fed(mpsc::Receiver<io::Result<Frame<Bytes>>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx)
    }
}
