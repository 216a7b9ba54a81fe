//! The data plane's front, as E2B's proxy: finds the sandbox and the port a request is for.
//!
//! `Host` names them as `<port>-<id>[-…].<domain>`. Only where the host is `localhost`, an IP address or
//! `sandbox.<domain>` do `E2b-Sandbox-Id` and `E2b-Sandbox-Port` count. A connection to a sandbox lasts until the
//! sandbox pauses or ends.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};
use serde_json::json;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower::ServiceExt as _;

use super::record::host;
use super::reply::{Refusal, Reply, error, json};
use super::state::{Sandbox, World, plain_id};
use super::{CLOSED_PORT, envd, interpreter, port};
use crate::target::{ENVD_PORT, INTERPRETER_PORT};

#[derive(Clone)]
struct Apps {
    world: Arc<World>,
    envd: Router,
    interpreter: Router,
    port: Router,
}

/// The data plane's only route.
pub(super) fn router(world: &Arc<World>) -> Router {
    let apps = Apps {
        world: Arc::clone(world),
        envd: envd::router(world),
        interpreter: interpreter::router(),
        port: port::router(),
    };
    Router::new().fallback(dispatch).with_state(apps)
}

async fn dispatch(State(apps): State<Apps>, mut request: Request) -> Reply {
    let (port, id) = match target(&request) {
        Ok(target) => target,
        Err(message) => return error(StatusCode::BAD_REQUEST, message),
    };
    let found = apps.world.sandbox(&id);
    let Some((sandbox, session)) = found.and_then(|sandbox| {
        let session = sandbox.session()?;
        Some((sandbox, session))
    }) else {
        return not_found(&id);
    };
    if port == CLOSED_PORT {
        return json(
            StatusCode::BAD_GATEWAY,
            &json!({
                "sandboxId": sandbox.id,
                "message": "The sandbox is running but port is not open",
                "port": port,
                "code": 502,
            }),
        );
    }
    if let Err(refusal) = admit(&sandbox, port, &request) {
        return refusal.into_response();
    }
    request.extensions_mut().insert(Arc::clone(&sandbox));
    let app = match port {
        ENVD_PORT => apps.envd,
        INTERPRETER_PORT => apps.interpreter,
        _ => apps.port,
    };
    let answer = tokio::select! {
        biased;
        answer = app.oneshot(request) => answer,
        () = session.cancelled() => return not_found(&id),
    };
    match answer {
        Ok(answer) => answer.map(|inner| Body::new(Session::new(inner, session))),
        Err(never) => match never {},
    }
}

fn not_found(id: &str) -> Reply {
    json(
        StatusCode::BAD_GATEWAY,
        &json!({ "sandboxId": plain_id(id), "message": "The sandbox was not found", "code": 502 }),
    )
}

/// The traffic token guards the interpreter and private ports; envd checks its own token.
fn admit(sandbox: &Sandbox, port: u16, request: &Request) -> Result<(), Refusal> {
    let Some(traffic) = &sandbox.traffic_token else { return Ok(()) };
    let header = |name: &str| request.headers().get(name).map(http::HeaderValue::as_bytes);
    let has_traffic = header("e2b-traffic-access-token") == Some(traffic.as_bytes());
    let allowed = match port {
        ENVD_PORT => true,
        INTERPRETER_PORT => {
            let access = sandbox.access_token.as_ref().map(String::as_bytes);
            has_traffic || (access.is_some() && header("x-access-token") == access)
        }
        _ => has_traffic || !sandbox.is_private(),
    };
    if allowed {
        return Ok(());
    }
    let message = "The traffic access token is missing or invalid";
    let refusal = json!({ "sandboxId": sandbox.id, "message": message, "port": port, "code": 403 });
    Err(json(StatusCode::FORBIDDEN, &refusal).into())
}

fn target(request: &Request) -> Result<(u16, String), &'static str> {
    let host = host(request.headers(), request.uri());
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        Some(_) | None => host.as_str(),
    };
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    if ip || host == "localhost" || host.starts_with("sandbox.") {
        return by_headers(request.headers()).ok_or("The sandbox headers are missing or invalid");
    }
    let label = host.split('.').next().unwrap_or_default();
    let parsed = label
        .split_once('-')
        .and_then(|(port, id)| Some((port.parse().ok()?, plain_id(id).to_owned())));
    parsed.ok_or("The host names no sandbox")
}

fn by_headers(headers: &HeaderMap) -> Option<(u16, String)> {
    let id = headers.get("e2b-sandbox-id")?.to_str().ok()?;
    let port = headers.get("e2b-sandbox-port")?.to_str().ok()?.parse().ok()?;
    Some((port, plain_id(id).to_owned()))
}

/// A response body that breaks off when the sandbox goes away.
struct Session {
    inner: Body,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Session {
    fn new(inner: Body, session: CancellationToken) -> Self {
        Self { inner, over: Box::pin(session.cancelled_owned()) }
    }
}

impl http_body::Body for Session {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let over = std::future::Future::poll(self.over.as_mut(), cx);
        over.map(|()| Some(Err(axum::Error::new(io::Error::other("the sandbox is gone")))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: &str, id: Option<&str>, port: Option<&str>) -> Option<(u16, String)> {
        let mut request = Request::builder().uri("/").header("host", host);
        for (name, value) in [("e2b-sandbox-id", id), ("e2b-sandbox-port", port)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        target(&request.body(Body::empty()).unwrap()).ok()
    }

    #[test]
    fn headers_count_only_where_the_host_names_nothing() {
        let found = |port, id: &str| Some((port, id.to_owned()));
        for (host, id, port, expected) in [
            ("49983-abc.example.com", None, None, found(49983, "abc")),
            ("49983-abc-client.example.com:8080", Some("x"), Some("1"), found(49983, "abc")),
            ("127.0.0.1:80", Some("abc"), Some("8080"), found(8080, "abc")),
            ("[::1]:80", Some("abc-client"), Some("8080"), found(8080, "abc")),
            ("localhost", Some("abc"), Some("49999"), found(49999, "abc")),
            ("sandbox.example.com", Some("abc"), Some("1"), found(1, "abc")),
            ("localhost", Some("abc"), None, None),
            ("localhost", Some("abc"), Some("65536"), None),
            ("example.com", Some("abc"), Some("1"), None),
        ] {
            assert_eq!(of(host, id, port), expected, "{host} {id:?} {port:?}");
        }
    }
}
