//! The few JSON bodies that the gateway changes on the way: the tenant's marker into creates, sandbox tokens into
//! answers.
//!
//! Only what the gateway owns is touched; everything else keeps its bytes. A request body that two readers could read
//! differently is refused, an answer that cannot be read is not passed on.

mod mark;

pub use self::mark::{Creator, Reserved};
use self::mark::{mark, mark_nested};
use crate::error::GatewayError;
use crate::json::{Document, Edit, Found, Kind, Limits, Object, quote};
use crate::sandbox::MARKER;

/// Longest request body that is read to be changed.
pub const MAX_BODY: usize = 1024 * 1024;
/// Longest answer that is read to be changed.
pub const MAX_ANSWER: usize = 16 * 1024 * 1024;

const ENVD_TOKEN: &str = "envdAccessToken";
const TRAFFIC_TOKEN: &str = "trafficAccessToken";
/// Seconds that `/v2` creates and connects get when they name no timeout; `/v1` ones get less.
const V2_TIMEOUT: &str = "300";

const BAD_BODY: GatewayError = GatewayError::BadRequest(
    "bad_body",
    "The body must be one JSON object in UTF-8, without repeated or case-variant keys, nested at most 64 deep",
);
const BAD_METADATA: GatewayError =
    GatewayError::BadRequest("bad_metadata", "'metadata' must be an object whose keys differ");

/// How many forks one request may ask for: more than any upstream makes at once, and few enough to be counted one by one.
const FORKS: std::ops::RangeInclusive<u32> = 1..=1000;

const BAD_COUNT: GatewayError = GatewayError::BadRequest(
    "bad_count",
    "'count' must be a whole number of forks, from 1 to 1000",
);

/// Which generation of the API a body is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// The one it was written for.
    AsSent,
    /// Written for v2, sent to v1.
    MappedDown,
}

/// A create payload with the marker of its creator's tenant, or with no marker in open mode, and without what its creator may not ask for,
/// whatever the caller wrote.
///
/// # Errors
/// The body is no JSON object, or could be read in two ways.
pub fn create(
    body: &[u8],
    creator: Creator<'_>,
    generation: Generation,
) -> Result<Vec<u8>, GatewayError> {
    let document = Document::parse(body, Limits::default()).map_err(|_| BAD_BODY)?;
    let root = unambiguous(&document)?;
    let mut edit = Edit::of(&document);
    mark(&mut edit, &root, creator)?;
    if generation == Generation::MappedDown {
        set(&mut edit, &root, "secure", "true");
        add(&mut edit, &root, "timeout", V2_TIMEOUT);
    }
    Ok(edit.apply())
}

/// A body that create payloads are nested in, at any depth, each marked as by [`create`].
///
/// # Errors
/// As [`create`].
pub fn nested(body: &[u8], creator: Creator<'_>) -> Result<Vec<u8>, GatewayError> {
    let document = Document::parse(body, Limits::default()).map_err(|_| BAD_BODY)?;
    unambiguous(&document)?;
    let mut edit = Edit::of(&document);
    mark_nested(&mut edit, &document.root(), creator)?;
    Ok(edit.apply())
}

/// A connect payload written for v2, as v1 wants it: with a timeout. No body at all is an empty object there.
///
/// # Errors
/// As [`create`].
pub fn connect_v1(body: &[u8]) -> Result<Vec<u8>, GatewayError> {
    let body = if body.is_empty() { b"{}" } else { body };
    let document = Document::parse(body, Limits::default()).map_err(|_| BAD_BODY)?;
    let root = unambiguous(&document)?;
    let mut edit = Edit::of(&document);
    add(&mut edit, &root, "timeout", V2_TIMEOUT);
    Ok(edit.apply())
}

/// How many sandboxes a fork's body asks for; one where it does not say.
///
/// # Errors
/// As [`create`]; or the number is none that a fork can have.
pub fn fork_count(body: &[u8]) -> Result<u32, GatewayError> {
    if body.is_empty() {
        return Ok(1);
    }
    let document = Document::parse(body, Limits::default()).map_err(|_| BAD_BODY)?;
    let root = unambiguous(&document)?;
    match root.get("count").map(|member| member.value) {
        None => Ok(1),
        Some(value) if value.kind() == Kind::Null => Ok(1),
        Some(value) => {
            value.text().parse().ok().filter(|count| FORKS.contains(count)).ok_or(BAD_COUNT)
        }
    }
}

/// The object that a request's body is, which must have one reading.
fn unambiguous<'a>(document: &Document<'a>) -> Result<Object<'a>, GatewayError> {
    let root = document.root().as_object().ok_or(BAD_BODY)?;
    root.check_keys().map_err(|_| BAD_BODY)?;
    Ok(root)
}

/// An answer about one sandbox, with the caller's token in place of the upstream's. `None`: the caller gets no token at
/// all. The marker is shown only where `show_marker` says so.
///
/// `None` when the answer is no JSON object.
#[must_use]
pub fn answer(json: &[u8], token: Option<&str>, show_marker: bool) -> Option<Vec<u8>> {
    let document = Document::parse(json, Limits::default()).ok()?;
    let mut edit = Edit::of(&document);
    sandbox(&mut edit, &document.root().as_object()?, token, show_marker);
    Some(edit.apply())
}

/// The answer to a fork: an array whose entries hold a sandbox or an error. `token` is asked for each sandbox's own
/// text. An entry of another shape loses the upstream's tokens all the same.
///
/// `None` when the answer is no array of objects.
#[must_use]
pub fn fork_answer(
    json: &[u8],
    mut token: impl FnMut(&str) -> Option<String>,
    show_marker: bool,
) -> Option<Vec<u8>> {
    let document = Document::parse(json, Limits::default()).ok()?;
    let mut edit = Edit::of(&document);
    for entry in document.root().as_array()?.elements() {
        let object = entry.as_object()?;
        sandbox(&mut edit, &object, None, show_marker);
        for member in object.members().filter(|member| member.key.eq_ignore_ascii_case("sandbox")) {
            if let Some(object) = member.value.as_object() {
                sandbox(&mut edit, &object, token(member.value.text()).as_deref(), show_marker);
            }
        }
    }
    Some(edit.apply())
}

/// Takes out of a listed sandbox the tokens, which no upstream puts there; should one, they would be the real ones. And
/// the marker, unless `show_marker`.
pub fn listed<'a>(edit: &mut Edit<'a>, entry: &Object<'a>, show_marker: bool) {
    sandbox(edit, entry, None, show_marker);
}

fn sandbox<'a>(edit: &mut Edit<'a>, object: &Object<'a>, token: Option<&str>, show_marker: bool) {
    let token = token.map(quote);
    for name in [ENVD_TOKEN, TRAFFIC_TOKEN] {
        // Every member of the name: an answer that repeats one must not leak the second.
        for member in object.members().filter(|member| member.key.eq_ignore_ascii_case(name)) {
            edit.remove(object, &member);
        }
        if let Some(token) = &token {
            edit.insert(object, name, token);
        }
    }
    let metadata = object.get("metadata").and_then(|member| member.value.as_object());
    if let Some(metadata) = metadata.filter(|_| !show_marker) {
        unmark(edit, &metadata);
    }
}

/// Takes the marker out of metadata.
pub fn unmark<'a>(edit: &mut Edit<'a>, metadata: &Object<'a>) {
    for member in metadata.members().filter(|member| member.key.eq_ignore_ascii_case(MARKER)) {
        edit.remove(metadata, &member);
    }
}

fn set<'a>(edit: &mut Edit<'a>, object: &Object<'a>, key: &str, json: &str) {
    match object.find_folded(key) {
        Found::Exact(member) | Found::Variant(member) => edit.replace(member.value.span(), json),
        Found::Absent => edit.insert(object, key, json),
    }
}

fn add<'a>(edit: &mut Edit<'a>, object: &Object<'a>, key: &str, json: &str) {
    if matches!(object.find_folded(key), Found::Absent) {
        edit.insert(object, key, json);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_is_told_what_v2_takes_for_granted() {
        let down = |body: &str| {
            let reserved = Reserved::default();
            let open = Creator { tenant: None, may_mount: true, reserved: &reserved };
            String::from_utf8(create(body.as_bytes(), open, Generation::MappedDown).unwrap())
                .unwrap()
        };
        assert_eq!(down("{}"), r#"{"secure":true,"timeout":300}"#);
        assert_eq!(down(r#"{"timeout":5,"secure":false}"#), r#"{"timeout":5,"secure":true}"#);
        assert_eq!(connect_v1(b"").unwrap(), br#"{"timeout":300}"#);
        assert_eq!(connect_v1(br#"{"timeout":7}"#).unwrap(), br#"{"timeout":7}"#);
        assert!(connect_v1(b"[]").is_err());
    }

    #[test]
    fn answers_carry_our_token_and_never_the_upstreams() {
        let json = br#"{"sandboxID":"i1","envdAccessToken":"real","x":1.0,"metadata":{"coppice_tenant_id":"a","k":"v"}}"#;
        assert_eq!(
            String::from_utf8(answer(json, Some("ours"), false).unwrap()).unwrap(),
            r#"{"sandboxID":"i1","x":1.0,"metadata":{"k":"v"},"envdAccessToken":"ours","trafficAccessToken":"ours"}"#
        );
        let withheld = String::from_utf8(answer(json, None, true).unwrap()).unwrap();
        assert_eq!(
            withheld,
            r#"{"sandboxID":"i1","x":1.0,"metadata":{"coppice_tenant_id":"a","k":"v"}}"#
        );
        let twice =
            br#"{"envdAccessToken":"real","EnvdAccessToken":"real","envdAccessToken":"real"}"#;
        assert!(
            !String::from_utf8(answer(twice, Some("o"), false).unwrap()).unwrap().contains("real")
        );
        assert_eq!(answer(b"oops", Some("o"), false), None);
    }

    #[test]
    fn a_fork_has_one_count_within_bounds() {
        for (body, count) in [
            ("", Some(1)),
            ("{}", Some(1)),
            (r#"{"count":null}"#, Some(1)),
            (r#"{"\u0063ount":1000,"x":1}"#, Some(1000)),
            (r#"{"count":0}"#, None),
            (r#"{"count":1001}"#, None),
            (r#"{"count":4000000000}"#, None),
            (r#"{"count":4294967297}"#, None),
            (r#"{"count":1e1}"#, None),
            (r#"{"count":1.0}"#, None),
            (r#"{"count":-1}"#, None),
            (r#"{"count":"2"}"#, None),
            (r#"{"count":1,"count":9}"#, None),
            (r#"{"count":1,"Count":9}"#, None),
        ] {
            assert_eq!(fork_count(body.as_bytes()).ok(), count, "{body}");
        }
    }

    #[test]
    fn each_fork_gets_its_own_token() {
        let json =
            br#"[{"sandbox":{"sandboxID":"i1","envdAccessToken":"real"}},{"error":{"code":500}}]"#;
        let edited =
            fork_answer(json, |text| text.contains("i1").then(|| "t1".into()), false).unwrap();
        assert_eq!(
            String::from_utf8(edited).unwrap(),
            r#"[{"sandbox":{"sandboxID":"i1","envdAccessToken":"t1","trafficAccessToken":"t1"}},{"error":{"code":500}}]"#
        );
        assert_eq!(fork_answer(b"{}", |_| None, false), None);
    }
}
