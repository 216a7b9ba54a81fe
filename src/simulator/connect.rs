//! The Connect protocol with the JSON codec: unary calls, and streams of envelopes in both directions.
//!
//! An envelope is one flag byte and a big-endian 32-bit length before the message; flag 2 marks the end of the stream,
//! whose message holds the error, if any (<https://connectrpc.com/docs/protocol>).

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::reply::{Feed, Reply, feed, json, typed};

const MESSAGE_LIMIT: usize = 64 * 1024 * 1024;
const END_OF_STREAM: u8 = 2;
const STREAM_TYPE: &str = "application/connect+json";
/// How often envd says something on an idle stream unless the client asks otherwise.
const KEEPALIVE: Duration = Duration::from_secs(90);

/// A request message without fields that matter.
#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Connect's error codes, as far as envd uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    InvalidArgument,
    NotFound,
    AlreadyExists,
    FailedPrecondition,
    Unauthenticated,
    DeadlineExceeded,
    Unimplemented,
}

impl Code {
    fn parts(self) -> (&'static str, StatusCode) {
        match self {
            Self::InvalidArgument => ("invalid_argument", StatusCode::BAD_REQUEST),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND),
            Self::AlreadyExists => ("already_exists", StatusCode::CONFLICT),
            Self::FailedPrecondition => ("failed_precondition", StatusCode::BAD_REQUEST),
            Self::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED),
            Self::DeadlineExceeded => ("deadline_exceeded", StatusCode::GATEWAY_TIMEOUT),
            Self::Unimplemented => ("unimplemented", StatusCode::NOT_IMPLEMENTED),
        }
    }
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct Fault {
    code: Code,
    message: String,
}

impl Fault {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn json(&self) -> Value {
        json!({ "code": self.code.parts().0, "message": self.message })
    }
}

fn malformed(error: impl std::fmt::Display) -> Fault {
    Fault::new(Code::InvalidArgument, format!("unmarshal message: {error}"))
}

fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let value = value.unwrap_or_default();
    value.split_once(';').map_or(value, |(value, _)| value).trim()
}

fn wrong_codec() -> Reply {
    typed(StatusCode::UNSUPPORTED_MEDIA_TYPE, None, Body::empty())
}

/// Answers a unary call.
pub(super) async fn unary<T: DeserializeOwned>(
    request: Request,
    answer: impl AsyncFnOnce(T) -> Result<Value, Fault>,
) -> Reply {
    if content_type(request.headers()) != "application/json" {
        return wrong_codec();
    }
    let result = match message(request.into_body()).await {
        Ok(message) => answer(message).await,
        Err(fault) => Err(fault),
    };
    match result {
        Ok(value) => json(StatusCode::OK, &value),
        Err(fault) => json(fault.code.parts().1, &fault.json()),
    }
}

async fn message<T: DeserializeOwned>(body: Body) -> Result<T, Fault> {
    let bytes = axum::body::to_bytes(body, MESSAGE_LIMIT).await.map_err(malformed)?;
    serde_json::from_slice(&bytes).map_err(malformed)
}

/// Answers a server stream: `open` reads the one request message and gets the stream to write to.
pub(super) async fn server_stream<T: DeserializeOwned>(
    request: Request,
    open: impl AsyncFnOnce(T, Outgoing) -> Result<(), Fault>,
) -> Reply {
    if content_type(request.headers()) != STREAM_TYPE {
        return wrong_codec();
    }
    let (feed, body) = feed();
    let outgoing = Outgoing {
        keepalive: seconds(request.headers(), "keepalive-ping-interval").unwrap_or(KEEPALIVE),
        deadline: timeout(request.headers()).map(|timeout| Instant::now() + timeout),
        feed,
    };
    let mut incoming = Incoming::new(request.into_body());
    let first = incoming.next().await;
    // As Go's server does: a connection whose request was not read to its end is closed after the answer, and the next
    // request on it would be lost.
    tokio::spawn(incoming.read_away());
    let result = match first {
        Ok(Some(message)) => open(message, outgoing).await,
        Ok(None) => Err(malformed("no message")),
        Err(fault) => Err(fault),
    };
    let Err(fault) = result else { return typed(StatusCode::OK, Some(STREAM_TYPE), body) };
    typed(StatusCode::OK, Some(STREAM_TYPE), Body::from(end_frame(Some(&fault))))
}

/// Answers a client stream: `consume` reads the messages.
pub(super) async fn client_stream(
    request: Request,
    consume: impl AsyncFnOnce(Incoming) -> Result<Value, Fault>,
) -> Reply {
    if content_type(request.headers()) != STREAM_TYPE {
        return wrong_codec();
    }
    let body = match consume(Incoming::new(request.into_body())).await {
        Ok(value) => [frame(0, &value), end_frame(None)].concat(),
        Err(fault) => end_frame(Some(&fault)).to_vec(),
    };
    typed(StatusCode::OK, Some(STREAM_TYPE), Body::from(body))
}

fn seconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    let seconds: u64 = headers.get(name)?.to_str().ok()?.parse().ok()?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let millis: u64 = headers.get("connect-timeout-ms")?.to_str().ok()?.parse().ok()?;
    (millis > 0).then(|| Duration::from_millis(millis))
}

fn frame(flags: u8, value: &Value) -> Bytes {
    let message = value.to_string();
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(flags);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message.as_bytes());
    frame.freeze()
}

fn end_frame(fault: Option<&Fault>) -> Bytes {
    let end = fault.map_or_else(|| json!({}), |fault| json!({ "error": fault.json() }));
    frame(END_OF_STREAM, &end)
}

/// The messages of a request stream.
pub(super) struct Incoming {
    body: BodyDataStream,
    buffer: BytesMut,
}

impl Incoming {
    fn new(body: Body) -> Self {
        Self { body: body.into_data_stream(), buffer: BytesMut::new() }
    }

    /// The next message, or `None` at the end.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Fault> {
        loop {
            if let Some((flags, message)) = self.take()? {
                if flags & END_OF_STREAM != 0 {
                    return Ok(None);
                }
                return serde_json::from_slice(&message).map(Some).map_err(malformed);
            }
            match self.body.next().await {
                Some(chunk) => self.buffer.extend_from_slice(&chunk.map_err(malformed)?),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(malformed("the stream ends inside a message")),
            }
        }
    }

    async fn read_away(mut self) {
        while let Some(Ok(_)) = self.body.next().await {}
    }

    fn take(&mut self) -> Result<Option<(u8, Bytes)>, Fault> {
        let mut head = &*self.buffer;
        if head.len() < 5 {
            return Ok(None);
        }
        let flags = head.get_u8();
        let length = head.get_u32() as usize;
        if length > MESSAGE_LIMIT {
            return Err(malformed("the message is too large"));
        }
        if head.len() < length {
            return Ok(None);
        }
        self.buffer.advance(5);
        Ok(Some((flags, self.buffer.split_to(length).freeze())))
    }
}

/// The stream that answers a call.
pub(super) struct Outgoing {
    feed: Feed,
    keepalive: Duration,
    deadline: Option<Instant>,
}

/// Why a stream was over.
#[derive(PartialEq, Eq)]
pub(super) enum Over {
    /// The source had no more messages.
    Source,
    /// The client's deadline passed; it has been told.
    Deadline,
    /// The client went away.
    Client,
}

impl Outgoing {
    /// Sends all `events`, with `keepalive` in pauses, then ends the stream.
    pub(super) async fn relay(
        self,
        keepalive: Value,
        mut events: impl Stream<Item = Value> + Unpin,
    ) -> Over {
        let deadline = until(self.deadline);
        tokio::pin!(deadline);
        loop {
            let message = tokio::select! {
                biased;
                () = self.feed.closed() => return Over::Client,
                () = &mut deadline => {
                    let fault = Fault::new(Code::DeadlineExceeded, "the deadline has passed");
                    return match self.feed.data(end_frame(Some(&fault))).await {
                        Ok(()) => Over::Deadline,
                        Err(_) => Over::Client,
                    };
                }
                message = events.next() => message,
                () = tokio::time::sleep(self.keepalive) => Some(keepalive.clone()),
            };
            let (sent, over) = match message {
                Some(message) => (self.feed.data(frame(0, &message)).await, false),
                None => (self.feed.data(end_frame(None)).await, true),
            };
            if sent.is_err() {
                return Over::Client;
            }
            if over {
                return Over::Source;
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_survive_any_chunking() {
        let bytes = [frame(0, &json!({"a": 1})), frame(0, &json!("x")), end_frame(None)].concat();
        for size in 1..bytes.len() {
            let chunks: Vec<_> = bytes
                .chunks(size)
                .map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk)))
                .collect();
            let body = Body::from_stream(futures_util::stream::iter(chunks));
            let mut incoming = Incoming::new(body);
            assert_eq!(incoming.next::<Value>().await.unwrap(), Some(json!({"a": 1})));
            assert_eq!(incoming.next::<Value>().await.unwrap(), Some(json!("x")));
            assert_eq!(incoming.next::<Value>().await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn a_cut_message_is_an_error() {
        let bytes = frame(0, &json!("abc"));
        let cut = bytes.slice(..bytes.len() - 1);
        assert!(Incoming::new(Body::from(cut)).next::<Value>().await.is_err());
    }
}
