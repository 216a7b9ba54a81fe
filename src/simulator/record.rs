//! What reached the simulator: every request's head, and its body while it is small.
//!
//! A request counts as aborted when its connection or stream went away before the answer was out, or while its own body
//! was still coming. Nothing here decides anything.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::locked;

/// Largest body that is kept with its request, in bytes.
pub const KEPT_BODY: usize = 64 * 1024;

/// Which of the simulator's two listeners a request came in by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plane {
    /// The sandbox REST API.
    Control,
    /// envd, the code interpreter and every other port.
    Data,
}

/// One request as the simulator saw it. `Debug` prints all of it, credentials too: it is for test assertions.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// The listener it came in by.
    pub plane: Plane,
    /// HTTP/1.1 or HTTP/2.
    pub version: http::Version,
    /// The method as sent.
    pub method: String,
    /// Path and query, raw.
    pub path: String,
    /// `Host`, or `:authority` on HTTP/2.
    pub host: String,
    /// Header names in lower case with their values, in the order received; repeated names stay together.
    pub headers: Vec<(String, String)>,
    /// The body as far as the handler read it; empty once it grew over [`KEPT_BODY`].
    pub body: Bytes,
    /// How many body bytes were read.
    pub body_len: u64,
}

impl RecordedRequest {
    /// The first value of a header, by lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// The path without the query.
    #[must_use]
    pub fn path_only(&self) -> &str {
        self.path.split_once('?').map_or(self.path.as_str(), |(path, _)| path)
    }
}

/// A record whose body still grows.
struct Entry {
    request: RecordedRequest,
    body: BytesMut,
}

/// Everything seen so far.
pub(super) struct Recorder {
    keep: bool,
    seen: AtomicU64,
    aborted: AtomicU64,
    entries: Mutex<Vec<Arc<Mutex<Entry>>>>,
}

impl Recorder {
    /// `keep`: whether requests are kept, or only counted.
    pub(super) fn new(keep: bool) -> Self {
        Self {
            keep,
            seen: AtomicU64::new(0),
            aborted: AtomicU64::new(0),
            entries: Mutex::default(),
        }
    }

    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    pub(super) fn aborted(&self) -> u64 {
        self.aborted.load(Ordering::Relaxed)
    }

    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        locked(&self.entries)
            .iter()
            .map(|entry| {
                let entry = locked(entry);
                RecordedRequest {
                    body: Bytes::copy_from_slice(&entry.body),
                    ..entry.request.clone()
                }
            })
            .collect()
    }

    pub(super) fn clear(&self) {
        locked(&self.entries).clear();
    }

    /// Notes a request's arrival; its body records itself as it is read.
    pub(super) fn arrived(
        self: &Arc<Self>,
        plane: Plane,
        request: Request<Incoming>,
    ) -> (Flight, Request<Body>) {
        self.seen.fetch_add(1, Ordering::Relaxed);
        let entry = self.keep.then(|| {
            let entry = Arc::new(Mutex::new(Entry {
                request: head(plane, &request),
                body: BytesMut::new(),
            }));
            locked(&self.entries).push(Arc::clone(&entry));
            entry
        });
        let broken = Arc::new(AtomicBool::new(false));
        let flight = Flight {
            recorder: Arc::clone(self),
            bodiless: *request.method() == Method::HEAD,
            finished: false,
            broken: Arc::clone(&broken),
        };
        (flight, request.map(|inner| Body::new(Tapped { inner, entry, broken })))
    }
}

fn head(plane: Plane, request: &Request<Incoming>) -> RecordedRequest {
    let uri = request.uri();
    RecordedRequest {
        plane,
        version: request.version(),
        method: request.method().to_string(),
        path: uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string),
        host: host(request.headers(), uri),
        headers: header_list(request.headers()),
        body: Bytes::new(),
        body_len: 0,
    }
}

/// `Host`, or the request target's authority where there is none.
pub(super) fn host(headers: &HeaderMap, uri: &http::Uri) -> String {
    headers
        .get(header::HOST)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .or_else(|| uri.authority().map(ToString::to_string))
        .unwrap_or_default()
}

/// Names and values as text, in order.
pub(super) fn header_list(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect()
}

/// A request that has not been answered in full; dropped early, it counts as aborted.
pub(super) struct Flight {
    recorder: Arc<Recorder>,
    bodiless: bool,
    finished: bool,
    broken: Arc<AtomicBool>,
}

impl Flight {
    /// Ties this flight to the answer's body.
    pub(super) fn answered(mut self, response: Response<Body>) -> Response<Tracked> {
        self.finished = self.bodiless;
        let left = response
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        response.map(|inner| Tracked { inner, left, flight: self })
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.finished || self.broken.load(Ordering::Relaxed) {
            self.recorder.aborted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A request body that notes what is read from it.
struct Tapped {
    inner: Incoming,
    entry: Option<Arc<Mutex<Entry>>>,
    broken: Arc<AtomicBool>,
}

impl http_body::Body for Tapped {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(entry), Some(data)) = (&self.entry, frame.data_ref()) {
                    locked(entry).grow(data);
                }
            }
            Some(Err(_)) => self.broken.store(true, Ordering::Relaxed),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Entry {
    fn grow(&mut self, data: &Bytes) {
        self.request.body_len += data.len() as u64;
        if self.request.body_len <= KEPT_BODY as u64 {
            self.body.extend_from_slice(data);
        } else {
            self.body = BytesMut::new();
        }
    }
}

/// A response body that tells its flight when the last byte was taken.
pub(super) struct Tracked {
    inner: Body,
    left: Option<u64>,
    flight: Flight,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
                    *left = left.saturating_sub(data.len() as u64);
                }
            }
            Some(Err(_)) => {}
            None => self.flight.finished = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        // hyper does not ask again after the last byte of a body of known length.
        if self.left == Some(0) || http_body::Body::is_end_stream(&self.inner) {
            self.flight.finished = true;
        }
    }
}
