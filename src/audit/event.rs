//! One event of the audit trail: a closed list of fields, taken from the record of a request that ended.
//!
//! No field is as long as a client likes, or holds anything but visible ASCII that a client wrote.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use crate::clock::UnixTime;
use crate::error::GatewayError;
use crate::principal::{KeyId, Scopes, TenantId};
use crate::record::{End, Outcome, Record};
use crate::route::{Class, Surface};
use crate::target::SandboxId;

/// Longest path that is kept, in bytes; of a longer one its beginning.
const MAX_PATH: usize = 1024;
/// The same for a method, which may be any token.
const MAX_METHOD: usize = 32;

/// The status of a request whose client left before it was answered; no answer has it (nginx calls it so).
const CLIENT_CLOSED_REQUEST: u16 = 499;
const CLIENT_LEFT: &str = "The client left before it was answered";

/// What became of one request. Serialises to the object that `/audit/events`, streams and files show.
#[derive(Debug, Serialize)]
pub struct Event {
    /// Its own id.
    #[serde(rename = "eventID", serialize_with = "text")]
    pub(super) id: EventId,
    /// The second in which the request ended.
    #[serde(serialize_with = "text")]
    pub(super) timestamp: UnixTime,
    #[serde(serialize_with = "outcome")]
    pub(super) outcome: Outcome,
    method: Box<str>,
    pub(super) path: Box<str>,
    /// The status that was meant, where a protocol puts refusals under 200.
    status: u16,
    #[serde(
        rename = "tenantID",
        serialize_with = "optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) tenant: Option<TenantId>,
    #[serde(
        rename = "principalName",
        serialize_with = "optional",
        skip_serializing_if = "Option::is_none"
    )]
    name: Option<SmolStr>,
    #[serde(
        rename = "keyID",
        serialize_with = "optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) key: Option<KeyId>,
    #[serde(serialize_with = "scopes", skip_serializing_if = "Option::is_none")]
    scopes: Option<Scopes>,
    /// What the gateway said, where it was the one that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'static, str>>,
    #[serde(rename = "requestID")]
    pub(super) request_id: Box<str>,
    #[serde(rename = "clientIP", serialize_with = "address")]
    client: Option<IpAddr>,
    #[serde(serialize_with = "surface")]
    surface: Surface,
    #[serde(rename = "routeClass", serialize_with = "class")]
    class: Option<Class>,
    #[serde(
        rename = "sandboxID",
        serialize_with = "optional",
        skip_serializing_if = "Option::is_none"
    )]
    sandbox: Option<SandboxId>,
    #[serde(rename = "durationMs")]
    duration_ms: u64,
}

impl Event {
    /// The event that a request amounts to: every refusal, every failure, and what was allowed to change something.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let outcome = record.outcome();
        if outcome == Outcome::Allowed && !record.can_change() {
            return None;
        }
        let principal = record.principal.as_deref();
        let (status, message) = verdict(record);
        Some(Self {
            id: EventId::fresh(),
            timestamp: UnixTime::now(),
            outcome,
            method: visible(record.method.as_str(), MAX_METHOD),
            path: visible(&record.path(), MAX_PATH),
            status,
            tenant: principal.map(|principal| principal.tenant.clone()),
            name: principal.and_then(|principal| principal.name.clone()),
            key: principal.map(|principal| principal.key.clone()),
            scopes: principal.map(|_| record.scopes),
            message,
            // A copy, because the value may be a part of the whole head and would keep that in memory.
            request_id: record.id().into(),
            client: record.client,
            surface: record.nearest_surface(),
            class: record.class,
            sandbox: record.sandbox.clone(),
            duration_ms: u64::try_from(record.took.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Its own id.
    #[must_use]
    pub const fn id(&self) -> EventId {
        self.id
    }

    /// What became of the request.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }
}

/// The status that was meant, and what the gateway said to it.
fn verdict(record: &Record) -> (u16, Option<Cow<'static, str>>) {
    let own = |error: &GatewayError| (error.answer().status.as_u16(), Some(error.sentence()));
    match (&record.error, record.status) {
        (Some(error), _) => own(error),
        (None, _) if record.end == End::Panicked => own(&GatewayError::Internal),
        (None, Some(status)) => (StatusCode::as_u16(&status), None),
        (None, None) if record.end == End::Broken => own(&GatewayError::NotReady),
        (None, None) => (CLIENT_CLOSED_REQUEST, Some(CLIENT_LEFT.into())),
    }
}

/// What a client wrote, fit for any terminal: what is not visible ASCII is percent-encoded, what is too long ends in `…`.
fn visible(text: &str, most: usize) -> Box<str> {
    if text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return text.into();
    }
    let mut shown = String::new();
    for byte in text.bytes() {
        if shown.len() >= most {
            shown.push('…');
            break;
        }
        if byte.is_ascii_graphic() {
            shown.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(shown, "%{byte:02X}");
        }
    }
    shown.into()
}

/// The id of an event: tells nothing of how many there are, and cannot be guessed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId([u8; 16]);

impl EventId {
    /// One that no other event has.
    fn fresh() -> Self {
        static SEED: LazyLock<[u8; 32]> = LazyLock::new(|| {
            let mut seed = [0; 32];
            if getrandom::fill(&mut seed).is_err() {
                tracing::warn!(
                    "the system has no random numbers: ids of audit events can be guessed"
                );
            }
            seed
        });
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let digest = Sha256::new().chain_update(*SEED).chain_update(count.to_be_bytes()).finalize();
        let mut id = [0; 16];
        id.iter_mut().zip(digest).for_each(|(byte, digested)| *byte = digested);
        Self(id)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({self})")
    }
}

/// A text that is no event's id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an event's id")]
pub struct NotAnEventId;

impl FromStr for EventId {
    type Err = NotAnEventId;

    fn from_str(text: &str) -> Result<Self, NotAnEventId> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_hex);
        number.map(|number| Self(number.to_be_bytes())).ok_or(NotAnEventId)
    }
}

fn text<S: Serializer>(value: &impl fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

fn optional<S: Serializer>(value: &Option<impl fmt::Display>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.collect_str(value),
        None => to.serialize_none(),
    }
}

fn outcome<S: Serializer>(value: &Outcome, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(value.name())
}

fn scopes<S: Serializer>(value: &Option<Scopes>, to: S) -> Result<S::Ok, S::Error> {
    let mut names = to.serialize_seq(None)?;
    for name in value.iter().flat_map(|scopes| scopes.names()) {
        names.serialize_element(name)?;
    }
    names.end()
}

/// `unknown` for clients of a unix socket, as in `X-Forwarded-For`.
fn address<S: Serializer>(value: &Option<IpAddr>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(address) => to.collect_str(address),
        None => to.serialize_str("unknown"),
    }
}

fn surface<S: Serializer>(value: &Surface, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(match value {
        Surface::Api => "control",
        Surface::Gateway
        | Surface::Envd
        | Surface::Interpreter
        | Surface::Port
        | Surface::Registry => value.name(),
    })
}

fn class<S: Serializer>(value: &Option<Class>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(value.map_or("none", Class::name))
}

#[cfg(test)]
mod tests;
