//! Queries of listings: a filter that the caller cannot widen, and the sandboxes that a query names.
//!
//! Upstreams decode the `metadata` parameter once (Cube), twice (as E2B's description has it) or three times (E2B's own
//! server), and those that fail to decode a parameter may go on without it. So the marker is added in letters that no
//! decoding changes, and a parameter is passed on only if every reader finds it. All else keeps its bytes.

use std::borrow::Cow;

use super::{BAD_FILTER, MAX_NAMED, TOO_MANY};
use crate::error::GatewayError;
use crate::json::folded;
use crate::principal::TenantId;
use crate::sandbox::MARKER;
use crate::target::SandboxId;

const METADATA: &str = "metadata";
/// Deepest encoding that is undone to see what a filter names.
const MAX_LEVELS: usize = 8;

/// A query for a tenant's own sandboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Narrowed {
    /// The query to ask with.
    To {
        /// It.
        query: String,
        /// Whether an upstream that filters reads exactly this filter in it, so that its count is the caller's.
        is_sure: bool,
    },
    /// The caller filters by the marker, which no sandbox has as far as it is shown any: the answer is empty.
    ToNothing,
}

/// Adds the tenant's marker to the filter of a query. Without one the filter is only checked.
///
/// # Errors
/// The query has a filter that two readers could read differently.
pub fn narrow(query: Option<&str>, tenant: Option<&TenantId>) -> Result<Narrowed, GatewayError> {
    let query = query.unwrap_or_default();
    let own = tenant.and_then(marker_filter);
    let mut is_sure = own.is_some();
    let own = own.unwrap_or_default();
    let mut narrowed = String::with_capacity(query.len() + own.len() + 16);
    let mut found = false;
    for (index, piece) in query.split('&').enumerate() {
        if index > 0 {
            narrowed.push('&');
        }
        narrowed.push_str(piece);
        let Some(filter) = value_of(piece, METADATA)? else { continue };
        if std::mem::replace(&mut found, true) {
            return Err(BAD_FILTER);
        }
        if names_marker(filter)? {
            return Ok(Narrowed::ToNothing);
        }
        is_sure &= filter.is_empty() || is_plain(filter);
        if !own.is_empty() {
            if !piece.contains('=') {
                narrowed.push('=');
            }
            if !filter.is_empty() {
                narrowed.push_str("%26");
            }
            narrowed.push_str(&own);
        }
    }
    if !found && !own.is_empty() {
        if !narrowed.is_empty() {
            narrowed.push('&');
        }
        narrowed.push_str(METADATA);
        narrowed.push('=');
        narrowed.push_str(&own);
    }
    Ok(Narrowed::To { query: narrowed, is_sure })
}

/// A filter that no sandbox passes: no tenant's name holds a colon.
pub const NOBODYS: &str = "metadata=coppice_tenant_id%3D%3A&limit=1";

/// The tenant's marker as a filter, or `None` where the name does not survive every number of decodings.
fn marker_filter(tenant: &TenantId) -> Option<String> {
    let mut filter = format!("{MARKER}%3D");
    for byte in tenant.as_str().bytes() {
        match byte {
            b'%' | b'+' | b'&' | b';' => return None,
            b'-' | b'.' | b'_' | b'~' => filter.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => filter.push(char::from(byte)),
            _ => filter.push_str(&format!("%{byte:02X}")),
        }
    }
    Some(filter)
}

/// The sandboxes that a query names with `name`, in order; `None` if it does not have that parameter at all. What is
/// no id names nothing.
///
/// # Errors
/// More than [`MAX_NAMED`], or a parameter that two readers could read differently.
pub fn named(query: Option<&str>, name: &str) -> Result<Option<Vec<SandboxId>>, GatewayError> {
    let mut ids: Option<Vec<SandboxId>> = None;
    let mut count = 0;
    for piece in query.unwrap_or_default().split('&') {
        let Some(value) = value_of(piece, name)? else { continue };
        let ids = ids.get_or_insert_default();
        for text in decode(value).split(',').filter(|text| !text.is_empty()) {
            count += 1;
            if count > MAX_NAMED {
                return Err(TOO_MANY);
            }
            if let Ok(id) = SandboxId::parse(text) {
                ids.push(id);
            }
        }
    }
    Ok(ids)
}

/// A query that names these sandboxes with `name`, and no others.
///
/// # Errors
/// As [`named`].
pub fn naming<'i>(
    query: Option<&str>,
    name: &str,
    ids: impl Iterator<Item = &'i SandboxId>,
) -> Result<String, GatewayError> {
    let mut named = format!("{name}=");
    for (index, id) in ids.enumerate() {
        if index > 0 {
            named.push(',');
        }
        named.push_str(id.as_str());
    }
    let mut named = Some(named);
    let mut pieces = Vec::new();
    for piece in query.unwrap_or_default().split('&') {
        match value_of(piece, name)? {
            Some(_) => pieces.extend(named.take().map(Cow::Owned)),
            None => pieces.push(Cow::Borrowed(piece)),
        }
    }
    pieces.extend(named.map(Cow::Owned));
    Ok(pieces.join("&"))
}

/// Whether a page is the first one: its query names no place to go on from.
#[must_use]
pub fn is_first_page(query: Option<&str>) -> bool {
    let mut pieces = query.unwrap_or_default().split('&');
    pieces.all(|piece| {
        let name = decode(piece.split_once('=').map_or(piece, |(name, _)| name));
        !["nexttoken", "offset", "cursor", "page"]
            .iter()
            .any(|start| folded(&name).eq(start.chars()))
    })
}

/// The raw value of a piece of a query, if it is the parameter `name`.
///
/// # Errors
/// Some readers would take it for that parameter and others would not.
fn value_of<'q>(piece: &'q str, name: &str) -> Result<Option<&'q str>, GatewayError> {
    let mut found = None;
    for (index, part) in piece.split(';').enumerate() {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let key = decode(key);
        if key == name && index == 0 {
            found = Some(value);
        } else if folded(&key).eq(folded(name)) {
            return Err(BAD_FILTER);
        }
    }
    match found {
        // Go drops a parameter with a semicolon or a broken escape in it.
        Some(value) if piece.contains(';') || strictly(value).is_none() => Err(BAD_FILTER),
        found => Ok(found),
    }
}

/// Whether a filter names the marker, however often it was encoded.
fn names_marker(filter: &str) -> Result<bool, GatewayError> {
    let mut text = Cow::Borrowed(filter);
    for _ in 0..MAX_LEVELS {
        let decoded = decode(&text).into_owned();
        let mut keys = decoded.split(['&', ';']).filter_map(|pair| pair.split('=').next());
        if keys.any(|key| folded(key.trim()).eq(MARKER.chars())) {
            return Ok(true);
        }
        if decoded == text {
            return Ok(false);
        }
        text = Cow::Owned(decoded);
    }
    Err(BAD_FILTER)
}

/// Whether everybody reads a filter as pairs, to the third decoding.
fn is_plain(filter: &str) -> bool {
    let Some(pairs) = strictly(filter).and_then(|once| strictly(&once)) else { return false };
    pairs.split('&').all(|pair| {
        let mut halves = pair.split('=');
        let parted = halves.by_ref().take(2).filter(|half| strictly(half).is_some()).count() == 2;
        parted && halves.next().is_none()
    })
}

/// One level of form decoding; `None` where an escape is broken or what it makes is no UTF-8.
fn strictly(text: &str) -> Option<String> {
    let decoded = unescape(text, true)?;
    String::from_utf8(decoded).ok()
}

/// One level of form decoding; broken escapes stay as they are.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let decoded = unescape(text, false).unwrap_or_default();
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

fn unescape(text: &str, strict: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) if digit(*high).is_some() && digit(*low).is_some() => {
                bytes.push(digit(*high)? << 4 | digit(*low)?);
                rest = after;
            }
            (b'%', _) if strict => return None,
            _ => bytes.push(byte),
        }
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests;
