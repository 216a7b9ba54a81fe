//! envd, port 49983: who may call it, its small REST routes, and the way to files and the Connect services.
//!
//! Its internal routes answer too, so that a test sees whether a gateway let a request through to them.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::query::first;
use super::reply::{Reply, empty, error, json};
use super::state::{Sandbox, World};
use super::{filesystem, process, transfer};
use crate::clock::UnixTime;

const INTERNAL: [&str; 7] =
    ["/init", "/upgrade", "/freeze", "/unfreeze", "/collapse", "/fsfreeze", "/fsthaw"];

/// envd's routes; the sandbox comes as an extension of the request.
pub(super) fn router(world: &Arc<World>) -> Router {
    let mut router = Router::new()
        .route("/health", get(async || empty(StatusCode::NO_CONTENT)))
        .route("/metrics", get(metrics))
        .route("/envs", get(envs))
        .route("/files", get(transfer::download).post(transfer::upload))
        .route("/process.Process/{method}", post(process::call))
        .route("/filesystem.Filesystem/{method}", post(filesystem::call));
    for path in INTERNAL {
        router = router.route(path, any(async || empty(StatusCode::NO_CONTENT)));
    }
    router
        .fallback(async || error(StatusCode::NOT_FOUND, "envd has no such route"))
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(authenticate))
        .with_state(Arc::clone(world))
}

async fn authenticate(
    Extension(sandbox): Extension<Arc<Sandbox>>,
    request: Request,
    next: Next,
) -> Reply {
    let Some(token) = &sandbox.access_token else { return next.run(request).await };
    let sent = request.headers().get("x-access-token").map(HeaderValue::as_bytes);
    let path = request.uri().path();
    let refusal = if sent == Some(token.as_bytes()) || path == "/health" || path == "/init" {
        None
    } else if path == "/files" && sent.is_none() {
        signature_fault(token, &request)
    } else {
        Some(
            "unauthorized access, please provide a valid access token or method signing if applicable",
        )
    };
    match refusal {
        None => next.run(request).await,
        Some(message) => error(StatusCode::UNAUTHORIZED, message),
    }
}

/// What is wrong with the signature of a `/files` URL.
fn signature_fault(token: &str, request: &Request) -> Option<&'static str> {
    let parameter = |name| first(request.uri(), name);
    let Some(signature) = parameter("signature") else {
        return Some("missing signature query parameter");
    };
    let operation = if request.method() == Method::POST { "write" } else { "read" };
    let path = parameter("path").unwrap_or_default();
    let user = parameter("username").unwrap_or_default();
    let mut signed = format!("{path}:{operation}:{user}:{token}");
    if let Some(expiration) = parameter("signature_expiration") {
        match expiration.parse() {
            Ok(expiration) if UnixTime::now().0 <= expiration => {}
            Ok(_) => return Some("signature is already expired"),
            Err(_) => return Some("invalid signature expiration"),
        }
        signed = format!("{signed}:{expiration}");
    }
    let expected = format!("v1_{}", STANDARD_NO_PAD.encode(Sha256::digest(signed)));
    (signature != expected).then_some("invalid signature")
}

/// The user an RPC runs as: that of Basic authorization, else `user`. `None` for one that does not exist.
pub(super) fn user(headers: &HeaderMap) -> Option<String> {
    let basic = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let Some(basic) = basic else { return Some("user".to_owned()) };
    let decoded = STANDARD.decode(basic).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
    let name = decoded.split(':').next().unwrap_or_default();
    known_user(name).map(str::to_owned)
}

/// The name, if there is such a user.
pub(super) fn known_user(name: &str) -> Option<&str> {
    match name {
        "" => Some("user"),
        "user" | "root" => Some(name),
        _ => None,
    }
}

async fn metrics() -> Reply {
    const MIB: u64 = 1 << 20;
    let metrics = json!({
        "ts": UnixTime::now().0,
        "cpu_count": 2,
        "cpu_used_pct": 1.5,
        "mem_total": 512 * MIB,
        "mem_used": 64 * MIB,
        "mem_total_mib": 512,
        "mem_used_mib": 64,
        "disk_total": 1024 * MIB,
        "disk_used": 256 * MIB,
    });
    json(StatusCode::OK, &metrics)
}

async fn envs(Extension(sandbox): Extension<Arc<Sandbox>>) -> Reply {
    json(StatusCode::OK, &json!(sandbox.spec.env_vars))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    /// The signature is one the published JS and Python SDKs make for these inputs.
    #[test]
    fn accepts_what_the_sdks_sign() {
        let good = "/files?path=%2Fa%20b&username=root&signature=v1_WLWYft6WqH6819pY0N6SUMEzz6VWEVtXEMNyG%2Bndde4";
        for (uri, method, fault) in [
            (good.to_owned(), "GET", None),
            (good.replace("%20", "+"), "GET", None),
            (good.to_owned(), "POST", Some("invalid signature")),
            (good.replace("root", "user"), "GET", Some("invalid signature")),
            (format!("{good}&signature_expiration=1"), "GET", Some("signature is already expired")),
            ("/files?path=x".to_owned(), "GET", Some("missing signature query parameter")),
        ] {
            let request = Request::builder().method(method).uri(&uri).body(Body::empty()).unwrap();
            assert_eq!(signature_fault("GWTOK", &request), fault, "{method} {uri}");
        }
    }
}
