//! The wire shape of the gateway's own answers: what each protocol's clients need to raise their own error classes.
//!
//! REST gets `{"code":<int>,"message","error_code"}`; unary Connect the status with `{"code":"<name>","message"}`; a
//! Connect stream HTTP 200 with one end-stream frame, because its clients throw away the body of any other status; gRPC
//! a trailers-only answer. Chosen by the request alone.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::GatewayError;
use crate::route::Methods;

const SHOULD_RETRY: HeaderName = HeaderName::from_static("should-retry");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What the client speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Everything that is not one of the others.
    Rest,
    /// A unary Connect call.
    ConnectUnary,
    /// A Connect stream, with its content type to be echoed.
    ConnectStream(HeaderValue),
    /// gRPC or gRPC-Web, likewise.
    Grpc(HeaderValue),
}

impl Dialect {
    /// Reads it off a request whose path is of the form `/package.Service/Method`. `is_envd` says that it is one of envd's, where
    /// what is no stream is a unary call.
    #[must_use]
    pub fn of(headers: &HeaderMap, is_envd: bool) -> Self {
        let unary = if is_envd { Self::ConnectUnary } else { Self::Rest };
        match headers.get(CONTENT_TYPE) {
            Some(kind) if kind.as_bytes().starts_with(b"application/connect+") => {
                Self::ConnectStream(kind.clone())
            }
            Some(kind) if kind.as_bytes().starts_with(b"application/grpc") => {
                Self::Grpc(kind.clone())
            }
            Some(_) | None => unary,
        }
    }
}

/// The answer to a request that spoke `dialect`.
#[must_use]
pub fn respond(error: &GatewayError, dialect: &Dialect) -> Response<Bytes> {
    let (answer, message) = (error.answer(), error.sentence());
    let mut response = match (error, dialect) {
        // E2B's own proxy answers every protocol in this one way, and SDKs read the words.
        (GatewayError::SandboxGone(id), _) => json(
            answer.status,
            &serde_json::json!({"sandboxId": id.as_str(), "message": message, "code": 502}),
        ),
        (_, Dialect::Rest) => json(
            answer.status,
            &serde_json::json!({
                "code": answer.status.as_u16(), "message": message, "error_code": answer.code,
            }),
        ),
        (_, Dialect::ConnectUnary) => {
            json(answer.status, &serde_json::json!({"code": answer.rpc.name(), "message": message}))
        }
        (_, Dialect::ConnectStream(kind)) => {
            let payload = serde_json::json!({
                "error": {"code": answer.rpc.name(), "message": message},
            });
            let mut response = Response::new(end_stream(payload.to_string().as_bytes()));
            response.headers_mut().insert(CONTENT_TYPE, kind.clone());
            response
        }
        (_, Dialect::Grpc(kind)) => {
            let mut response = Response::new(Bytes::new());
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, kind.clone());
            headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(answer.rpc.number())));
            headers.insert(GRPC_MESSAGE, percent(&message));
            response
        }
    };
    let headers = response.headers_mut();
    if answer.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(after) = error.retry_after() {
        headers.insert(RETRY_AFTER, after);
    }
    if let GatewayError::MethodNotAllowed(allowed) = error
        && *allowed != Methods::NONE
        && let Ok(allowed) = HeaderValue::from_str(&allowed.allow())
    {
        headers.insert(ALLOW, allowed);
    }
    if error.forbids_retry() {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    response
}

/// A sentence as `grpc-message` carries it. Ours are visible ASCII, and names in them too, so that only `%` is escaped.
fn percent(message: &str) -> HeaderValue {
    let escaped = message.replace('%', "%25");
    HeaderValue::from_str(&escaped).unwrap_or_else(|_| HeaderValue::from_static("refused"))
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// A Connect end-stream envelope: flag 0x02, four bytes of length, JSON.
fn end_stream(payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 5);
    frame.put_u8(0x02);
    frame.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    frame.put_slice(payload);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::Scope;

    fn headers(kind: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))])
    }

    #[test]
    fn dialects_follow_path_and_content_type() {
        let empty = HeaderMap::new();
        assert_eq!(Dialect::of(&empty, false), Dialect::Rest);
        assert_eq!(Dialect::of(&empty, true), Dialect::ConnectUnary);
        assert_eq!(Dialect::of(&headers("application/json"), false), Dialect::Rest);
        assert_eq!(Dialect::of(&headers("application/json"), true), Dialect::ConnectUnary);
        for kind in ["application/connect+json", "application/connect+proto"] {
            let expected = Dialect::ConnectStream(HeaderValue::from_static(kind));
            assert_eq!(Dialect::of(&headers(kind), true), expected);
        }
        let grpc = Dialect::Grpc(HeaderValue::from_static("application/grpc+proto"));
        assert_eq!(Dialect::of(&headers("application/grpc+proto"), true), grpc);
    }

    #[test]
    fn rest_carries_integer_code_and_challenge() {
        let response = respond(&GatewayError::NoCredential, &Dialect::Rest);
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["code"], 401);
        assert_eq!(body["error_code"], "unauthenticated");
        for name in ["X-API-Key", "E2B_API_KEY", "Bearer", "E2B_ACCESS_TOKEN", "COPPICE_TOKEN"] {
            assert!(body["message"].as_str().unwrap().contains(name), "{name}");
        }
    }

    #[test]
    fn connect_streams_end_with_an_error_frame() {
        let kind = HeaderValue::from_static("application/connect+json");
        let response = respond(
            &GatewayError::MissingScope(Scope::Exec),
            &Dialect::ConnectStream(kind.clone()),
        );
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CONTENT_TYPE], kind);
        let body = response.body();
        assert_eq!(body[0], 2);
        assert_eq!(u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize, body.len() - 5);
        let payload: serde_json::Value = serde_json::from_slice(&body[5..]).unwrap();
        assert_eq!(payload["error"]["code"], "permission_denied");
        assert_eq!(payload["error"]["message"], "API key lacks required scope: exec");
    }

    #[test]
    fn grpc_is_trailers_only() {
        let kind = HeaderValue::from_static("application/grpc");
        let response = respond(&GatewayError::BadCredential, &Dialect::Grpc(kind));
        assert_eq!((response.status(), response.body().len()), (StatusCode::OK, 0));
        assert_eq!(response.headers()[GRPC_STATUS], "16");
        let over = GatewayError::QuotaExceeded {
            tenant: crate::principal::TenantId::parse("a%41").unwrap(),
            limit: 2,
            status: crate::error::OverQuota::Forbidden,
        };
        let kind = HeaderValue::from_static("application/grpc");
        let message = respond(&over, &Dialect::Grpc(kind)).headers()[GRPC_MESSAGE].clone();
        assert_eq!(message, "tenant a%2541 has reached its limit of 2 active sandboxes");
    }

    #[test]
    fn a_create_of_unknown_outcome_must_not_be_repeated() {
        for (unknown_outcome, expected) in [(true, Some("false")), (false, None)] {
            let response =
                respond(&GatewayError::UpstreamTimeout { unknown_outcome }, &Dialect::Rest);
            let header = response.headers().get(SHOULD_RETRY).map(|value| value.to_str().unwrap());
            assert_eq!(header, expected);
        }
    }
}
