//! CORS for configured origins only (Fetch standard 3.2); none by default.
//!
//! A preflight is answered here, before authentication, because browsers send none with it; it never reaches an
//! upstream. Origins are compared whole: no wildcard, no suffix.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

/// The origins that may ask. Shared by all workers; a reload changes them.
#[derive(Debug, Default)]
pub struct Cors {
    /// Whether there are any, so that most gateways look no further.
    any: AtomicBool,
    origins: ArcSwap<Vec<HeaderValue>>,
}

impl Cors {
    /// CORS for exactly these origins.
    #[must_use]
    pub fn new(origins: Vec<HeaderValue>) -> Self {
        let cors = Self::default();
        cors.install(origins);
        cors
    }

    /// Puts others in force.
    pub fn install(&self, origins: Vec<HeaderValue>) {
        let any = !origins.is_empty();
        self.origins.store(Arc::new(origins));
        self.any.store(any, Ordering::Release);
    }

    /// The request's origin, if it may ask.
    #[must_use]
    pub fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        headers.get(ORIGIN).filter(|origin| self.origins.load().contains(origin)).cloned()
    }

    /// The answer to a preflight of an allowed origin; `None` for any other request.
    #[must_use]
    pub fn preflight<B>(
        &self,
        request: &Request<B>,
        allowed: Option<&HeaderValue>,
    ) -> Option<Response<Bytes>> {
        let asks = request.method() == Method::OPTIONS
            && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || allowed.is_none() {
            return None;
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"),
        );
        if let Some(wanted) = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        Some(response)
    }

    /// Tells a browser of an allowed origin that it may read the answer.
    pub fn mark(&self, headers: &mut HeaderMap, allowed: HeaderValue) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.append(VARY, HeaderValue::from_static("origin"));
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("x-next-token, x-total-running, x-request-id, retry-after"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(origin: &str, method: &str) -> Option<Response<Bytes>> {
        let cors = Cors::new(vec![HeaderValue::from_static("https://app.example")]);
        let request = Request::builder()
            .method(method)
            .header(ORIGIN, origin)
            .header(ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(ACCESS_CONTROL_REQUEST_HEADERS, "x-api-key")
            .body(())
            .unwrap();
        cors.preflight(&request, cors.allowed(request.headers()).as_ref())
    }

    #[test]
    fn only_exact_origins_may_ask() {
        let answer = ask("https://app.example", "OPTIONS").unwrap();
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_HEADERS], "x-api-key");
        for origin in [
            "https://evil.example",
            "https://app.example.evil.example",
            "http://app.example",
            "null",
        ] {
            assert!(ask(origin, "OPTIONS").is_none(), "{origin}");
        }
        assert!(ask("https://app.example", "POST").is_none());
    }

    #[test]
    fn nobody_may_by_default() {
        let headers = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static("null"))]);
        assert!(Cors::default().allowed(&headers).is_none());
    }
}
