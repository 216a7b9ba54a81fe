//! What a client sent to prove who it is, read once off the head.
//!
//! Borrows from the header map and copies nothing; a [`Credential`] prints as its kind only. Whether a credential is
//! any good is not decided here.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::secret::Secret;

/// `X-API-Key`, as E2B's clients send their key.
pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// `X-Access-Token`, as SDKs send back `envdAccessToken`.
pub const X_ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-access-token");
/// `E2B-Traffic-Access-Token`, as SDKs send back `trafficAccessToken`.
pub const TRAFFIC_TOKEN: HeaderName = HeaderName::from_static("e2b-traffic-access-token");

/// Longest credential read, in bytes.
pub const MAX_CREDENTIAL: usize = 4096;

/// How a credential came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `Authorization: Bearer`.
    Bearer,
    /// `X-API-Key`.
    ApiKey,
}

impl Kind {
    /// The name used in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::ApiKey => "api_key",
        }
    }
}

/// Which of two credentials is judged when a client sends both.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Precedence {
    /// `Authorization: Bearer` first.
    #[default]
    Bearer,
    /// `X-API-Key` first, for sites whose clients carry a stale access token.
    ApiKey,
}

/// One credential, visible ASCII, at most [`MAX_CREDENTIAL`] bytes.
#[derive(Clone, Copy)]
pub struct Credential<'h> {
    /// How it came.
    pub kind: Kind,
    text: &'h str,
}

impl<'h> Credential<'h> {
    /// A credential from elsewhere than a header, such as a command line.
    #[must_use]
    pub const fn new(kind: Kind, text: &'h str) -> Self {
        Self { kind, text }
    }

    /// The credential itself, for whoever looks it up.
    #[must_use]
    pub const fn expose(&self) -> &'h str {
        self.text
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.kind.name())
    }
}

/// Why a head's credentials cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPresentation {
    /// A credential header on more than one line: two readers could pick different ones.
    #[error("a credential header is repeated")]
    Repeated,
    /// Bytes outside visible ASCII, or too long.
    #[error("a credential is malformed")]
    Malformed,
}

/// The credential headers of one request, each at most once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Presented<'h> {
    /// Whether `Authorization` is of the Bearer scheme, with or without a token.
    pub is_bearer: bool,
    bearer: Option<Result<Credential<'h>, BadPresentation>>,
    api_key: Option<Result<Credential<'h>, BadPresentation>>,
}

impl<'h> Presented<'h> {
    /// Reads `Authorization` and `X-API-Key`. Another scheme than Bearer is no credential; an empty value is none
    /// either.
    ///
    /// # Errors
    /// [`BadPresentation::Repeated`] when either header has more than one line.
    pub fn from_headers(headers: &'h HeaderMap) -> Result<Self, BadPresentation> {
        let bearer = only_line(headers, &AUTHORIZATION)?.and_then(bearer_rest).map(trim);
        let api_key = only_line(headers, &X_API_KEY)?.map(trim).filter(|bytes| !bytes.is_empty());
        Ok(Self {
            is_bearer: bearer.is_some(),
            bearer: bearer.filter(|token| !token.is_empty()).map(|bytes| read(Kind::Bearer, bytes)),
            api_key: api_key.map(|bytes| read(Kind::ApiKey, bytes)),
        })
    }

    /// The one credential that is judged. The other, if any, plays no part.
    ///
    /// # Errors
    /// [`BadPresentation::Malformed`] when it is not visible ASCII of a sensible length.
    pub fn judged(
        &self,
        precedence: Precedence,
    ) -> Result<Option<Credential<'h>>, BadPresentation> {
        match precedence {
            Precedence::Bearer => self.bearer.or(self.api_key),
            Precedence::ApiKey => self.api_key.or(self.bearer),
        }
        .transpose()
    }

    /// `X-API-Key` alone, for places where a Bearer belongs to somebody else.
    ///
    /// # Errors
    /// As [`Self::judged`].
    pub fn api_key(&self) -> Result<Option<Credential<'h>>, BadPresentation> {
        self.api_key.transpose()
    }

    /// The Bearer alone, where it was well-formed.
    #[must_use]
    pub fn bearer(&self) -> Option<Credential<'h>> {
        self.bearer.and_then(Result::ok)
    }
}

/// The value of a header that must have at most one line.
///
/// # Errors
/// [`BadPresentation::Repeated`].
pub fn only_line<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h [u8]>, BadPresentation> {
    let mut lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let first = lines.next();
    if lines.next().is_some() { Err(BadPresentation::Repeated) } else { Ok(first) }
}

/// The key in a registry client's `Authorization: Basic`: the password of the user that docker clients of E2B log in
/// as.
#[must_use]
pub fn registry_key(headers: &HeaderMap) -> Option<Secret> {
    let value = only_line(headers, &AUTHORIZATION).ok()??;
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") || rest.len() > 2 * MAX_CREDENTIAL {
        return None;
    }
    let decoded = Secret::new(String::from_utf8(STANDARD.decode(trim(rest)).ok()?).ok()?);
    let (user, key) = decoded.expose().split_once(':')?;
    let known = matches!(user, "_e2b_access_token" | "_e2b_api_key");
    (known && read(Kind::ApiKey, key.as_bytes()).is_ok()).then(|| Secret::new(key.to_owned()))
}

/// What follows the scheme of an `Authorization` value, if that is Bearer, in any letter case.
fn bearer_rest(value: &[u8]) -> Option<&[u8]> {
    let value = trim(value);
    let (scheme, rest) = value.split_at_checked(6)?;
    let separated = rest.first().is_none_or(|byte| matches!(byte, b' ' | b'\t'));
    (scheme.eq_ignore_ascii_case(b"bearer") && separated).then_some(rest)
}

fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

fn read(kind: Kind, bytes: &[u8]) -> Result<Credential<'_>, BadPresentation> {
    // No early exit, so that the compiler can look at many bytes at a time.
    let is_visible = bytes.iter().fold(true, |all, byte| all & byte.is_ascii_graphic());
    let sane = bytes.len() <= MAX_CREDENTIAL && is_visible;
    match std::str::from_utf8(bytes) {
        Ok(text) if sane => Ok(Credential { kind, text }),
        _ => Err(BadPresentation::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &[u8])]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        map
    }

    fn judge(lines: &[(&str, &[u8])]) -> Result<Option<(Kind, String)>, BadPresentation> {
        let map = headers(lines);
        let judged = Presented::from_headers(&map)?.judged(Precedence::Bearer)?;
        Ok(judged.map(|credential| (credential.kind, credential.expose().to_owned())))
    }

    #[test]
    fn one_credential_is_judged() {
        let bearer = |text: &str| Ok(Some((Kind::Bearer, text.to_owned())));
        let key = |text: &str| Ok(Some((Kind::ApiKey, text.to_owned())));
        let long = [b'a'; MAX_CREDENTIAL + 1];
        type Lines<'a> = &'a [(&'a str, &'a [u8])];
        type Judged = Result<Option<(Kind, String)>, BadPresentation>;
        let table: &[(Lines<'_>, Judged)] = &[
            (&[], Ok(None)),
            (&[("x-api-key", b"k")], key("k")),
            (&[("X-API-KEY", b"  k\t")], key("k")),
            (&[("authorization", b"Bearer t")], bearer("t")),
            (&[("authorization", b"bearer t")], bearer("t")),
            (&[("authorization", b"BEARER  \t t ")], bearer("t")),
            (&[("authorization", b"Bearer")], Ok(None)),
            (&[("authorization", b"Bearer  ")], Ok(None)),
            (&[("authorization", b"Bearer "), ("x-api-key", b"k")], key("k")),
            (&[("authorization", b"Bearert"), ("x-api-key", b"k")], key("k")),
            (&[("authorization", b"Basic cm9vdDo="), ("x-api-key", b"k")], key("k")),
            (&[("authorization", b"Bearer t"), ("x-api-key", b"k")], bearer("t")),
            (&[("authorization", b"Bearer t"), ("x-api-key", b"")], bearer("t")),
            (&[("x-api-key", b"a"), ("x-api-key", b"a")], Err(BadPresentation::Repeated)),
            (
                &[("authorization", b"Basic x"), ("authorization", b"Bearer t")],
                Err(BadPresentation::Repeated),
            ),
            (&[("x-api-key", b"k1, k2")], Err(BadPresentation::Malformed)),
            (&[("x-api-key", b"k\xc3\xa4")], Err(BadPresentation::Malformed)),
            (&[("x-api-key", &long)], Err(BadPresentation::Malformed)),
            (
                &[("authorization", b"Bearer a b"), ("x-api-key", b"k")],
                Err(BadPresentation::Malformed),
            ),
        ];
        for (lines, expected) in table {
            assert_eq!(&judge(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn precedence_turns_the_order_round() {
        let map = headers(&[("authorization", b"Bearer t"), ("x-api-key", b"k")]);
        let presented = Presented::from_headers(&map).unwrap();
        let judged = presented.judged(Precedence::ApiKey).unwrap().unwrap();
        assert_eq!((judged.kind, judged.expose()), (Kind::ApiKey, "k"));
    }

    #[test]
    fn registry_clients_put_the_key_in_the_password() {
        let basic = |text: &str| {
            let value = format!("Basic {}", STANDARD.encode(text));
            registry_key(&headers(&[("authorization", value.as_bytes())]))
                .map(|key| key.expose().to_owned())
        };
        assert_eq!(basic("_e2b_access_token:e2b_00").as_deref(), Some("e2b_00"));
        assert_eq!(basic("_e2b_api_key:e2b_00").as_deref(), Some("e2b_00"));
        assert_eq!(basic("root:e2b_00"), None);
        assert_eq!(basic("_e2b_api_key:a b"), None);
        assert!(registry_key(&headers(&[("authorization", b"Basic !!")])).is_none());
    }

    #[test]
    fn debug_shows_no_credential() {
        let map = headers(&[("authorization", b"Bearer canary"), ("x-api-key", b"canary")]);
        let presented = Presented::from_headers(&map).unwrap();
        assert!(!format!("{presented:?}").contains("canary"));
    }
}
