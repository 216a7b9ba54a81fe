//! Every other port: an echo application with the ways an application can answer.
//!
//! `/ws` echoes WebSocket messages, `/ws-refuse` refuses an upgrade with 403, `/sse`, `/ndjson`, `/slow?ms=`,
//! `/stream?chunks=&ms=`, `/status/{code}`, `/zeros?bytes=`, `/trailers`, `/upload` (digest of a body of any size),
//! `/grpc.Echo/Say`; any other path answers with the request as JSON.

use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Path, Request};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::query::{first, pairs};
use super::record::header_list;
use super::reply::{Answer, Reply, empty, error, feed, json, typed};
use super::state::hex;
use super::transfer::{digest, zeros};

const CHECKSUM: &str = "x-checksum";
const STREAM_CHUNKS: u64 = 3;
const STREAM_PAUSE_MS: u64 = 100;

/// The application's routes.
pub(super) fn router() -> Router {
    Router::new()
        .route("/ws", any(websocket))
        .route("/ws-refuse", any(async || error(StatusCode::FORBIDDEN, "No WebSockets here")))
        .route("/sse", get(events))
        .route("/ndjson", get(ndjson))
        .route("/slow", any(slow))
        .route("/stream", any(chunks))
        .route("/status/{code}", any(status))
        .route("/zeros", get(async |uri: Uri| zeros(number(&uri, "bytes", 0))))
        .route("/trailers", any(trailers))
        .route("/upload", any(upload))
        .route("/grpc.Echo/Say", any(grpc))
        .fallback(echo)
        .layer(DefaultBodyLimit::disable())
}

fn number(uri: &Uri, name: &str, default: u64) -> u64 {
    first(uri, name).and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The request as the application saw it, its trailers too.
async fn echo(request: Request) -> Reply {
    let (head, mut body) = request.into_parts();
    let (mut hash, mut length, mut trailers) = (Sha256::new(), 0, HeaderMap::new());
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return error(StatusCode::BAD_REQUEST, "The request body ended early");
        };
        match frame.into_data() {
            Ok(data) => {
                hash.update(&data);
                length += data.len();
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    let query: Vec<_> = pairs(head.uri.query().unwrap_or_default()).collect();
    let answer = json!({
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": query,
        "rawQuery": head.uri.query(),
        "version": format!("{:?}", head.version),
        "host": super::record::host(&head.headers, &head.uri),
        "headers": header_list(&head.headers),
        "trailers": header_list(&trailers),
        "bodyLength": length,
        "bodySha256": hex(&hash.finalize()),
    });
    json(StatusCode::OK, &answer)
}

async fn upload(request: Request) -> Answer {
    let (length, sha256) = digest(request.into_body()).await?;
    Ok(json(StatusCode::OK, &json!({ "length": length, "sha256": sha256 })))
}

/// Echoes messages; takes the first subprotocol offered.
async fn websocket(headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let offered = headers
        .get(header::SEC_WEBSOCKET_PROTOCOL)
        .and_then(|value| value.to_str().ok()?.split(',').next())
        .map(|protocol| protocol.trim().to_owned());
    upgrade.protocols(offered).on_upgrade(echo_messages).into_response()
}

async fn echo_messages(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let answered = match message {
            Message::Text(_) | Message::Binary(_) => socket.send(message).await,
            // Pings and the close handshake are answered underneath.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(()),
        };
        if answered.is_err() {
            return;
        }
    }
}

/// A body of `count` parts with pauses between them.
fn paced(
    content_type: &'static str,
    count: u64,
    pause: Duration,
    part: impl Fn(u64) -> String + Send + 'static,
) -> Reply {
    let (feed, body) = feed();
    tokio::spawn(async move {
        for index in 0..count {
            if index > 0 {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = feed.closed() => return,
                }
            }
            if feed.data(part(index)).await.is_err() {
                return;
            }
        }
    });
    typed(StatusCode::OK, Some(content_type), body)
}

async fn events() -> Reply {
    let pause = Duration::from_millis(STREAM_PAUSE_MS);
    paced("text/event-stream", 3, pause, |index| format!("id: {index}\ndata: event {index}\n\n"))
}

async fn ndjson() -> Reply {
    let pause = Duration::from_millis(STREAM_PAUSE_MS);
    paced("application/x-ndjson", 3, pause, |index| format!("{}\n", json!({ "line": index })))
}

async fn chunks(uri: Uri) -> Reply {
    let pause = Duration::from_millis(number(&uri, "ms", STREAM_PAUSE_MS));
    let count = number(&uri, "chunks", STREAM_CHUNKS);
    paced("text/plain", count, pause, |index| format!("chunk {index}\n"))
}

async fn slow(uri: Uri) -> Reply {
    tokio::time::sleep(Duration::from_millis(number(&uri, "ms", STREAM_PAUSE_MS))).await;
    typed(StatusCode::OK, Some("text/plain"), "done\n".into())
}

async fn status(Path(code): Path<u16>) -> Reply {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST);
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        return empty(status);
    }
    json(status, &json!({ "status": code }))
}

/// `hello` with its SHA-256 as a trailer. HTTP/1.1 clients have to send `TE: trailers` to get it.
async fn trailers() -> Reply {
    let (feed, body) = feed();
    let mut reply = typed(StatusCode::OK, Some("text/plain"), body);
    reply.headers_mut().insert(header::TRAILER, HeaderValue::from_static(CHECKSUM));
    tokio::spawn(async move {
        let mut trailers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(&hex(&Sha256::digest("hello"))) {
            trailers.insert(CHECKSUM, value);
        }
        if feed.data(Bytes::from_static(b"hello")).await.is_ok() {
            // A client that left has no use for trailers.
            let _ = feed.trailers(trailers).await;
        }
    });
    reply
}

/// Sends back every message as it comes, then `grpc-status: 0` as a trailer.
async fn grpc(request: Request) -> Reply {
    let (feed, body) = feed();
    let mut incoming = request.into_body();
    tokio::spawn(async move {
        while let Some(Ok(frame)) = incoming.frame().await {
            if let Ok(data) = frame.into_data()
                && feed.data(data).await.is_err()
            {
                return;
            }
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        // As above.
        let _ = feed.trailers(trailers).await;
    });
    let mut reply = typed(StatusCode::OK, Some("application/grpc"), body);
    reply.headers_mut().insert(header::TRAILER, HeaderValue::from_static("grpc-status"));
    reply
}
