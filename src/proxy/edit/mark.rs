//! The tenant's marker, put into the metadata of what will become sandboxes.
//!
//! Whatever the caller wrote, in whatever spelling, the marker is the gateway's; so are other reserved names. Everything
//! else keeps its bytes.

use super::{BAD_BODY, BAD_METADATA};
use crate::error::GatewayError;
use crate::json::{Edit, Found, Kind, Member, Object, Value, folded, quote};
use crate::principal::TenantId;
use crate::sandbox::MARKER;

/// Metadata with which Cube mounts any directory of the host into a sandbox.
const HOST_MOUNT: &str = "host-mount";
const METADATA: &str = "metadata";
const TEMPLATE: &str = "templateID";

/// Metadata that callers may not set, beside the marker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    names: Vec<String>,
    prefixes: Vec<String>,
}

impl Reserved {
    /// Reserves each of `entries` in any case; one that ends in `*` is a prefix.
    #[must_use]
    pub fn new<'e>(entries: impl IntoIterator<Item = &'e str>) -> Self {
        let mut reserved = Self::default();
        for entry in entries {
            match entry.strip_suffix('*') {
                Some(prefix) => reserved.prefixes.push(folded(prefix).collect()),
                None => reserved.names.push(folded(entry).collect()),
            }
        }
        reserved
    }

    fn holds(&self, folded: &str) -> bool {
        self.names.iter().any(|name| name == folded)
            || self.prefixes.iter().any(|prefix| folded.starts_with(prefix.as_str()))
    }
}

/// Whose create it is: what its metadata says, and may say.
#[derive(Clone, Copy, Debug)]
pub struct Creator<'t> {
    /// Whom the sandbox will belong to. `None`: it gets no marker, as in open mode.
    pub tenant: Option<&'t TenantId>,
    /// Whether directories of the host may be mounted.
    pub may_mount: bool,
    /// What nobody may set.
    pub reserved: &'t Reserved,
}

impl Creator<'_> {
    /// Whether a key must go: readers that fold case, or trim, must not find it either.
    fn may_not_set(&self, key: &str) -> bool {
        let folded: String = folded(key.trim()).collect();
        folded == MARKER
            || (!self.may_mount && folded == HOST_MOUNT)
            || self.reserved.holds(&folded)
    }
}

/// Marks the metadata of one create payload.
pub(super) fn mark<'a>(
    edit: &mut Edit<'a>,
    payload: &Object<'a>,
    creator: Creator<'_>,
) -> Result<(), GatewayError> {
    let marker = creator.tenant.map(|tenant| quote(tenant.as_str()));
    let fresh = marker.as_ref().map(|marker| format!("{{{}:{marker}}}", quote(MARKER)));
    let metadata = match payload.find_folded(METADATA) {
        Found::Exact(member) => member,
        Found::Variant(_) => return Err(BAD_METADATA),
        Found::Absent => {
            if let Some(fresh) = fresh {
                edit.insert(payload, METADATA, &fresh);
            }
            return Ok(());
        }
    };
    match metadata.value.kind() {
        Kind::Null => {
            if let Some(fresh) = fresh {
                edit.replace(metadata.value.span(), fresh);
            }
        }
        Kind::Object => {
            let object = metadata.value.as_object().ok_or(BAD_METADATA)?;
            object.check_keys().map_err(|_| BAD_METADATA)?;
            for member in object.members().filter(|member| creator.may_not_set(&member.key)) {
                edit.remove(&object, &member);
            }
            if let Some(marker) = marker {
                edit.insert(&object, MARKER, &marker);
            }
        }
        Kind::Bool | Kind::Number | Kind::String | Kind::Array => return Err(BAD_METADATA),
    }
    Ok(())
}

/// Marks every create payload inside `value`: each object that holds a `templateID`. Other metadata loses what callers
/// may not set; where there is no payload, it may be a change to one that is stored, and is marked.
pub(super) fn mark_nested<'a>(
    edit: &mut Edit<'a>,
    value: &Value<'a>,
    creator: Creator<'_>,
) -> Result<(), GatewayError> {
    let around = if holds_payload(value) { Creator { tenant: None, ..creator } } else { creator };
    Nested { edit, creator, around }.visit(value, false).map(|_| ())
}

struct Nested<'e, 'a, 't> {
    edit: &'e mut Edit<'a>,
    /// For payloads.
    creator: Creator<'t>,
    /// For metadata outside them.
    around: Creator<'t>,
}

impl<'a> Nested<'_, 'a, '_> {
    /// Whether anything was marked; if so, everything around it must have one reading. Goes as deep as the parser let
    /// the text be.
    fn visit(&mut self, value: &Value<'a>, inside_payload: bool) -> Result<bool, GatewayError> {
        let mut marked = false;
        if let Some(array) = value.as_array() {
            for element in array.elements() {
                marked |= self.visit(&element, inside_payload)?;
            }
        }
        let Some(object) = value.as_object() else { return Ok(marked) };
        let payload = is_payload(&object);
        let own = if payload {
            Some(self.creator)
        } else {
            Some(self.around).filter(|_| !inside_payload && holds_metadata(&object))
        };
        for member in object.members() {
            // Metadata that is marked is one sandbox's own, whatever it holds.
            if own.is_none() || !is_metadata(&member) {
                marked |= self.visit(&member.value, inside_payload || payload)?;
            }
        }
        if let Some(creator) = own {
            mark(self.edit, &object, creator)?;
        }
        if marked || own.is_some() {
            object.check_keys().map_err(|_| BAD_BODY)?;
        }
        Ok(marked || own.is_some())
    }
}

fn holds_payload(value: &Value<'_>) -> bool {
    let in_array = |value: &Value<'_>| {
        value.as_array().is_some_and(|array| array.elements().any(|value| holds_payload(&value)))
    };
    let in_object = |object: Object<'_>| {
        is_payload(&object) || object.members().any(|member| holds_payload(&member.value))
    };
    value.as_object().map_or_else(|| in_array(value), in_object)
}

fn is_payload(object: &Object<'_>) -> bool {
    !matches!(object.find_folded(TEMPLATE), Found::Absent)
}

fn is_metadata(member: &Member<'_>) -> bool {
    folded(&member.key).eq(METADATA.chars())
}

fn holds_metadata(object: &Object<'_>) -> bool {
    object.members().any(|member| is_metadata(&member) && member.value.kind() == Kind::Object)
}

#[cfg(test)]
mod tests;
