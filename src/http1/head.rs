//! The head of an answer, as it is read off the wire (RFC 9112).
//!
//! Pure: bytes in, values out. How a body is framed is decided here, once, from the head alone (RFC 9112 6.3). Strict where two
//! readers could disagree about that: no folded lines, no coding but `chunked`, no second length. A head is written anew for the
//! client, so that what is merely untidy in it, as a lone LF, harms nobody.

mod said;

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use hyper::ext::ReasonPhrase;

use self::said::Said;
use super::Fault;
use super::keep::Keep;
use crate::chunked::Chunked;

/// Largest head of an answer, in bytes.
const MAX_HEAD: usize = 128 * 1024;
/// Most header lines of an answer.
const MAX_HEADERS: usize = 256;
/// As many lines are read without asking for memory.
const USUAL_HEADERS: usize = 32;

/// How an answer's body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// There is none.
    Empty,
    /// After this many bytes.
    Length(u64),
    /// As its chunks say.
    Chunked(Chunked),
    /// With the connection.
    Close,
    /// It does not: the connection has switched to another protocol.
    Switched,
}

/// An answer's head.
#[derive(Debug)]
pub(super) struct Head<K> {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) fields: K,
    pub(super) reason: Option<ReasonPhrase>,
    pub(super) framing: Framing,
    /// Whether the connection can carry another request after the body.
    pub(super) persistent: bool,
}

/// Takes the head of the final answer to a request of `method` off the front of `buffer`. `None`: more has to be read.
///
/// Heads of the kind 1xx that precede it are dropped, but for 101, which is final for the protocol.
pub(super) fn read<K: Keep>(
    buffer: &mut BytesMut,
    method: &Method,
) -> Result<Option<Head<K>>, Fault> {
    while !buffer.is_empty() {
        let mut fields = Places::new();
        let Some(found) = find(buffer, &mut fields)? else {
            return if buffer.len() > MAX_HEAD { Err(Fault::HeadTooLarge) } else { Ok(None) };
        };
        let raw = buffer.split_to(found.length).freeze();
        // Whatever such a head says of a body, there is none (RFC 9110 15.2).
        if !is_interim(found.status) {
            return head(&raw, found, &fields, method).map(Some);
        }
    }
    Ok(None)
}

fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

fn head<K: Keep>(
    raw: &Bytes,
    found: Found,
    places: &Places,
    method: &Method,
) -> Result<Head<K>, Fault> {
    let Found { status, version, reason, .. } = found;
    let mut said = Said::default();
    let mut fields = K::with_room(places.as_slice().len());
    for place in places.as_slice() {
        let (name, value) = (text(raw, place.name), text(raw, place.value));
        let is_for_others = said.hear(name, value);
        // What the connection becomes is told in such a field.
        if (is_for_others || status == StatusCode::SWITCHING_PROTOCOLS)
            && !fields.keep(raw, name, value)
        {
            return Err(Fault::Malformed("a field of its head cannot be read"));
        }
    }
    let is_http10 = version == Version::HTTP_10;
    let (framing, mut persistent) = said.framing(status, method, is_http10)?;
    persistent &= said.keeps_alive(is_http10);
    if framing != Framing::Switched {
        if said.is_coded() {
            fields.give_up(&CONTENT_LENGTH);
        }
        said.listed.iter().for_each(|name| fields.give_up(name));
    }
    Ok(Head { status, version, fields, reason, framing, persistent })
}

/// What a head says, but for its fields.
struct Found {
    length: usize,
    status: StatusCode,
    version: Version,
    reason: Option<ReasonPhrase>,
}

/// Where the texts of a field are, as offset and length, so that the buffer can be cut before they are used.
#[derive(Clone, Copy)]
struct Place {
    name: (u32, u32),
    value: (u32, u32),
}

/// The places of a head's fields, of which most heads have few.
struct Places {
    few: [Place; USUAL_HEADERS],
    count: usize,
    /// All of them, where they are more.
    many: Vec<Place>,
}

impl Places {
    const fn new() -> Self {
        let nowhere = Place { name: (0, 0), value: (0, 0) };
        Self { few: [nowhere; USUAL_HEADERS], count: 0, many: Vec::new() }
    }

    fn fill(&mut self, head: &[u8], fields: &[httparse::Header<'_>]) {
        let start = head.as_ptr().addr();
        let at = |text: &[u8]| {
            let from = u32::try_from(text.as_ptr().addr() - start).unwrap_or_default();
            (from, u32::try_from(text.len()).unwrap_or_default())
        };
        let place = |field: &httparse::Header<'_>| Place {
            name: at(field.name.as_bytes()),
            value: at(field.value),
        };
        self.count = fields.len();
        if fields.len() > USUAL_HEADERS {
            self.many = fields.iter().map(place).collect();
        } else {
            self.few.iter_mut().zip(fields).for_each(|(kept, field)| *kept = place(field));
        }
    }

    fn as_slice(&self) -> &[Place] {
        self.few.get(..self.count).unwrap_or(&self.many)
    }
}

fn find(head: &[u8], fields: &mut Places) -> Result<Option<Found>, Fault> {
    // Not one that is set to nothing first, which takes longer than all of the reading.
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let outcome = config.parse_response_with_uninit_headers(&mut parsed, head, &mut usual);
    if !matches!(outcome, Err(httparse::Error::TooManyHeaders)) {
        return found(head, &parsed, outcome, fields);
    }
    let mut many = vec![httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut many);
    let outcome = parsed.parse(head);
    found(head, &parsed, outcome, fields)
}

fn found(
    head: &[u8],
    parsed: &httparse::Response<'_, '_>,
    outcome: httparse::Result<usize>,
    fields: &mut Places,
) -> Result<Option<Found>, Fault> {
    let outcome = outcome.map_err(|_| Fault::Malformed("its head cannot be read"))?;
    let httparse::Status::Complete(length) = outcome else { return Ok(None) };
    if length > MAX_HEAD {
        return Err(Fault::HeadTooLarge);
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Fault::Malformed("its status is none"))?;
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let unusual = |reason: &&str| !reason.is_empty() && status.canonical_reason() != Some(reason);
    let reason = parsed.reason.filter(unusual);
    let reason = reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok());
    fields.fill(head, parsed.headers);
    Ok(Some(Found { length, status, version, reason }))
}

fn text(raw: &Bytes, (from, length): (u32, u32)) -> &[u8] {
    raw.get(from as usize..(from + length) as usize).unwrap_or_default()
}

/// The fields behind the last chunk; `None` where they cannot be read.
pub(super) fn trailers(raw: &[u8]) -> Option<HeaderMap> {
    let mut usual = [httparse::EMPTY_HEADER; USUAL_HEADERS];
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(raw, &mut usual)
    else {
        return None;
    };
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        map.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(map)
}
