//! What became of one request: a typed, closed record, built where the request ends.
//!
//! Whoever wants to know (the log, the audit trail, metrics, traces) is told once, by an [`Observer`], where the request
//! really ends: the last byte of its answer was passed on, its tunnel closed, its client was gone, or a panic took it
//! down. Whoever works on a request owns its [`Pending`], and so decides when that is. Nothing in a record is a header or
//! a body, and its path has lost what is secret in it.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, StatusCode, Uri};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::error::GatewayError;
use crate::principal::{Principal, Scopes};
use crate::request::Trace;
use crate::route::{Class, Listener, PortLabel, Surface};
use crate::target::SandboxId;

/// One request, as far as it got.
#[derive(Debug)]
pub struct Record {
    /// Its id, which the answer carries too.
    pub request_id: HeaderValue,
    /// The client's address; none on a unix socket.
    pub client: Option<IpAddr>,
    /// Its method.
    pub method: Method,
    uri: Uri,
    listener: Option<Listener>,
    /// The surface, once the request was read.
    pub surface: Option<Surface>,
    /// The class of its route, once that was found.
    pub class: Option<Class>,
    /// The pattern of its route, where a row lists one.
    pub route: Option<&'static str>,
    /// Who called, once that was known.
    pub principal: Option<Arc<Principal>>,
    /// What the caller might do, which for a sandbox token is less than for its key.
    pub scopes: Scopes,
    /// The sandbox that it was about.
    pub sandbox: Option<SandboxId>,
    /// The status of the answer, once there was one.
    pub status: Option<StatusCode>,
    /// The gateway's own refusal or failure.
    pub error: Option<GatewayError>,
    /// When it arrived.
    pub began: Instant,
    /// From then until it was decided.
    pub decided: Option<Duration>,
    /// Until the head of the answer.
    pub answered: Option<Duration>,
    /// Until its end.
    pub took: Duration,
    /// How it ended.
    pub end: End,
    /// Its place in a trace, where traces are made.
    pub trace: Option<Box<Trace>>,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It was answered to the end; of a tunnel: both sides closed it.
    Complete,
    /// The client left before that.
    ClientGone,
    /// It broke off: the upstream did, the key was revoked, or the gateway ended.
    Broken,
    /// A bug took it down.
    Panicked,
}

impl End {
    /// The name used in logs and traces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client gone",
            Self::Broken => "broken",
            Self::Panicked => "panicked",
        }
    }
}

/// What became of it, in the words of the audit trail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was let through and went well.
    Allowed,
    /// The gateway refused it.
    Denied,
    /// It failed, upstream or here.
    Error,
}

impl Outcome {
    /// Every outcome; each one's number is its place.
    pub const ALL: [Self; 3] = [Self::Allowed, Self::Denied, Self::Error];

    /// The name used in answers and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Error => "error",
        }
    }
}

impl Record {
    /// A request that just arrived.
    #[must_use]
    pub fn begin(
        request_id: HeaderValue,
        client: Option<IpAddr>,
        method: Method,
        uri: Uri,
    ) -> Self {
        Self {
            request_id,
            client,
            method,
            uri,
            listener: None,
            surface: None,
            class: None,
            route: None,
            principal: None,
            scopes: Scopes::default(),
            sandbox: None,
            status: None,
            error: None,
            began: clock::instant(),
            decided: None,
            answered: None,
            took: Duration::ZERO,
            end: End::Complete,
            trace: None,
        }
    }

    /// The same, which came in by `listener`.
    #[must_use]
    pub fn on(self, listener: Listener) -> Self {
        Self { listener: Some(listener), ..self }
    }

    /// It has been let through or refused.
    pub fn mark_decided(&mut self) {
        self.decided = Some(self.age());
    }

    /// There is the head of an answer.
    pub fn mark_answered(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.answered = Some(self.age());
    }

    fn age(&self) -> Duration {
        clock::instant().saturating_duration_since(self.began)
    }

    /// The surface, or the one that its listener stands for where the request could not be read.
    #[must_use]
    pub fn nearest_surface(&self) -> Surface {
        self.surface.unwrap_or(match self.listener {
            Some(Listener::Data(PortLabel::Port(port))) => Surface::of_port(port),
            Some(Listener::Data(PortLabel::Every)) => Surface::Port,
            Some(Listener::Control { .. }) | None => Surface::Api,
        })
    }

    /// The request's id as text.
    #[must_use]
    pub fn id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// The path, without query and without what is secret in it.
    #[must_use]
    pub fn path(&self) -> Cow<'_, str> {
        let path = self.uri.path();
        if self.surface.is_none() { loggable_refused(path) } else { loggable(path) }
    }

    /// What became of it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let fails = |status: StatusCode| status.is_client_error() || status.is_server_error();
        match (&self.error, self.status) {
            (Some(error), _) if error.answer().status.is_client_error() => Outcome::Denied,
            (Some(_), _) | (None, None) => Outcome::Error,
            (None, Some(status)) if fails(status) || self.end == End::Panicked => Outcome::Error,
            (None, Some(_)) => Outcome::Allowed,
        }
    }

    /// Whether a request of this kind can change something.
    #[must_use]
    pub fn can_change(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
            || self.status == Some(StatusCode::SWITCHING_PROTOCOLS)
    }
}

/// The name of a request's surface in metrics and traces.
#[must_use]
pub const fn surface_name(surface: Option<Surface>) -> &'static str {
    match surface {
        None => "none",
        Some(Surface::Api) => "control",
        Some(surface) => surface.name(),
    }
}

/// Is told of every request, once, when it ended. Must not wait.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A request began. Whatever becomes of it, its end follows.
    fn began(&self) {}

    /// A request ended.
    fn ended(&self, record: &Record);
}

/// All who are told. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Observers(Arc<Audience>);

#[derive(Debug)]
struct Audience {
    observers: Vec<Arc<dyn Observer>>,
    stop: CancellationToken,
}

impl Observers {
    /// These, in this order. What is under way when `stop` is cancelled is cut off by the gateway, not by its client.
    #[must_use]
    pub fn new(observers: Vec<Arc<dyn Observer>>, stop: CancellationToken) -> Self {
        Self(Arc::new(Audience { observers, stop }))
    }
}

/// A request under way. It goes along with whatever works on the request; dropping it tells the observers.
#[derive(Debug)]
#[must_use = "the request ends when this is dropped"]
pub struct Pending {
    record: Box<Record>,
    observers: Observers,
}

impl Pending {
    /// From here on it is accounted for.
    pub fn new(record: Record, observers: Observers) -> Self {
        for observer in &observers.0.observers {
            observer.began();
        }
        // Whoever drops it without a word left, or panicked.
        Self { record: Box::new(Record { end: End::ClientGone, ..record }), observers }
    }

    /// The request's id.
    #[must_use]
    pub const fn request_id(&self) -> &HeaderValue {
        &self.record.request_id
    }

    /// What is known so far.
    pub const fn record(&mut self) -> &mut Record {
        &mut self.record
    }

    /// It ends, like this.
    pub fn end(mut self, end: End) {
        self.record.end = end;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Self { record, observers } = self;
        record.took = record.age();
        if std::thread::panicking() {
            record.end = End::Panicked;
            // What it is answered with, if it is not too late for that.
            record.status.get_or_insert(StatusCode::INTERNAL_SERVER_ERROR);
        } else if record.end == End::ClientGone && observers.0.stop.is_cancelled() {
            record.end = End::Broken;
        }
        for observer in &observers.0.observers {
            observer.ended(record);
        }
    }
}

/// What comes before the token of a download path.
const BEFORE_TOKEN: &[u8] = b"download-token";

/// The path without the token that a download path ends in, wherever a client put it and however it wrote that.
fn loggable(path: &str) -> Cow<'_, str> {
    let end = (0..path.len()).find_map(|start| end_of_word(path.as_bytes().get(start..)?));
    match end.and_then(|left| path.get(..path.len() - left)) {
        Some(kept) => format!("{kept}/[redacted]").into(),
        None => path.into(),
    }
}

/// How many bytes are left behind the word, where a path starts with it in any letter case and with any escapes.
fn end_of_word(mut path: &[u8]) -> Option<usize> {
    for wanted in BEFORE_TOKEN {
        let (byte, rest) = match path {
            [b'%', high, low, rest @ ..] => (escaped(*high, *low)?, rest),
            [byte, rest @ ..] => (*byte, rest),
            [] => return None,
        };
        if !byte.eq_ignore_ascii_case(wanted) {
            return None;
        }
        path = rest;
    }
    Some(path.len())
}

fn escaped(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// The same for a path that was refused: an escape in it may hide the word, so what follows one is not shown.
fn loggable_refused(path: &str) -> Cow<'_, str> {
    match path.split_once('%') {
        Some((plain, _)) => format!("{}%[redacted]", loggable(plain)).into(),
        None => loggable(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(path: &str) -> Record {
        let uri = path.parse().unwrap();
        Record::begin(HeaderValue::from_static("r1"), None, Method::GET, uri)
    }

    #[test]
    fn outcomes_are_told_apart() {
        let with = |error: Option<GatewayError>, status: Option<u16>| {
            let status = status.map(|status| StatusCode::from_u16(status).unwrap());
            Record { error, status, ..record("/") }.outcome()
        };
        assert_eq!(with(None, Some(200)), Outcome::Allowed);
        assert_eq!(with(None, Some(101)), Outcome::Allowed);
        assert_eq!(with(None, Some(404)), Outcome::Error);
        assert_eq!(with(None, None), Outcome::Error);
        assert_eq!(with(Some(GatewayError::NoCredential), Some(401)), Outcome::Denied);
        // A Connect stream is refused under 200.
        assert_eq!(with(Some(GatewayError::NotFound), Some(200)), Outcome::Denied);
        assert_eq!(with(Some(GatewayError::OwnershipUnknown), Some(503)), Outcome::Error);
    }

    #[test]
    fn download_tokens_are_not_shown() {
        let shown = |path: &str, surface| Record { surface, ..record(path) }.path().into_owned();
        let read = Some(Surface::Api);
        assert_eq!(
            shown("/files/download-token/canary?x=canary", read),
            "/files/download-token/[redacted]"
        );
        assert_eq!(shown("/sandboxes/a%2Fb", read), "/sandboxes/a%2Fb");
        assert_eq!(shown("/files/%64ownload-token/canary", None), "/files/%[redacted]");
        // A sandbox's own port takes any path, and some clients send to the wrong one.
        let port = Some(Surface::Port);
        for path in [
            "/files/%64ownload-token/canary",
            "/a/Download%2dToken/canary",
            "/x-%44OWNLOAD%2DTOKEN%2Fcanary/y",
        ] {
            let shown = shown(path, port);
            assert!(shown.ends_with("[redacted]") && !shown.contains("canary"), "{shown}");
        }
        assert_eq!(shown("/a%20b/%zz/caf%C3%A9%", port), "/a%20b/%zz/caf%C3%A9%");
    }
}
