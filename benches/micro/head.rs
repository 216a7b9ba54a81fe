//! Heads: the guard in front of the HTTP server, and what is taken out of a head before it goes to the upstream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use coppice_gateway::layer::request_id::request_id;
use coppice_gateway::listener::head_guard::{HeadGuard, Limits};
use coppice_gateway::proxy::headers;
use coppice_gateway::request::trace::{Sampler, Trace};
use divan::{Bencher, black_box};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

use crate::stand::{control, data, key, on_the_wire};

/// Has the same request whenever it is read.
struct Wire(Bytes);

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        buf.put_slice(&self.0);
        Poll::Ready(Ok(()))
    }
}

/// One request through the guard of a connection that is kept.
fn guard(bencher: Bencher<'_, '_>, request: Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _within = runtime.enter();
    let length = request.len();
    let (mut guarded, _handle) = HeadGuard::new(Wire(request.into()), Limits::default());
    let mut buffer = vec![0; 16 * 1024];
    bencher.bench_local(|| {
        let read = guarded.read(&mut buffer).now_or_never().unwrap().unwrap();
        assert_eq!(read, length, "the request passes as it came");
    });
}

#[divan::bench]
fn guard_get(bencher: Bencher<'_, '_>) {
    guard(bencher, on_the_wire(&control(Method::GET, "/templates", &key(7)), b""));
}

#[divan::bench]
fn guard_post(bencher: Bencher<'_, '_>) {
    let create =
        br#"{"templateID":"base","timeout":300,"metadata":{"purpose":"bench"},"secure":true}"#;
    guard(bencher, on_the_wire(&control(Method::POST, "/sandboxes", &key(7)), create));
}

/// The guard of a new connection, and its first request.
#[divan::bench]
fn guard_first(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _within = runtime.enter();
    let request = Bytes::from(on_the_wire(&control(Method::GET, "/templates", &key(7)), b""));
    let mut buffer = vec![0; 16 * 1024];
    bencher.bench_local(|| {
        let (mut guarded, _handle) = HeadGuard::new(Wire(request.clone()), Limits::default());
        guarded.read(&mut buffer).now_or_never().unwrap().unwrap()
    });
}

fn stripped(bencher: Bencher<'_, '_>, headers: HeaderMap) {
    bencher.with_inputs(|| headers.clone()).bench_local_values(|mut headers| {
        headers::strip_request(&mut headers, &[]);
        headers
    });
}

#[divan::bench]
fn rewrite_control(bencher: Bencher<'_, '_>) {
    stripped(bencher, control(Method::GET, "/templates", &key(7)).headers().clone());
}

#[divan::bench]
fn rewrite_data(bencher: Bencher<'_, '_>) {
    stripped(bencher, data("cgt1_not-looked-at").headers().clone());
}

#[divan::bench]
fn rewrite_answer(bencher: Bencher<'_, '_>) {
    let headers: HeaderMap = [
        ("content-type", "application/json"),
        ("content-length", "1024"),
        ("connection", "keep-alive"),
        ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("server", "upstream"),
    ]
    .into_iter()
    .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
    .collect();
    bencher.with_inputs(|| headers.clone()).bench_local_values(|mut headers| {
        headers::strip_response(&mut headers);
        headers
    });
}

#[divan::bench]
fn request_id_fresh() -> HeaderValue {
    request_id(black_box(&HeaderMap::new()))
}

#[divan::bench]
fn trace_begun(bencher: Bencher<'_, '_>) {
    let sampler = Sampler::new(0.1, true);
    let headers = control(Method::GET, "/templates", &key(7)).headers().clone();
    let id = request_id(&headers);
    bencher.bench_local(|| Trace::begin(black_box(&headers), &id, &sampler));
}
