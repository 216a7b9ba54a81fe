//! Who an answer says a credential belongs to: its `X-Auth-*` headers.
//!
//! Held to what static keys are held to. A header that is there twice, or says something that cannot be, makes the whole
//! answer worthless: to guess would be to hand one tenant's sandboxes to another.

use http::{HeaderMap, HeaderName};
use smol_str::SmolStr;

use super::settings::DefaultIdentity;
use crate::clock::UnixTime;
use crate::principal::{Scope, Scopes, TenantId};

const TENANT: HeaderName = HeaderName::from_static("x-auth-tenant");
const USER: HeaderName = HeaderName::from_static("x-auth-user");
const SCOPES: HeaderName = HeaderName::from_static("x-auth-scopes");
const MAX_SANDBOXES: HeaderName = HeaderName::from_static("x-auth-max-sandboxes");
const EXPIRES: HeaderName = HeaderName::from_static("x-auth-expires");

/// Longest name, in bytes.
const MAX_NAME: usize = 128;

/// What an answer says of a credential's owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    pub(super) tenant: TenantId,
    pub(super) name: SmolStr,
    pub(super) scopes: Scopes,
    pub(super) max_sandboxes: Option<u32>,
    /// Not valid from here on.
    pub(super) expires: Option<UnixTime>,
}

/// The header that is no good. Never quotes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct BadHeader(pub(super) HeaderName);

impl Identity {
    /// Reads it off an answer's head; what is not said comes from `default`.
    pub(super) fn read(headers: &HeaderMap, default: &DefaultIdentity) -> Result<Self, BadHeader> {
        Ok(Self {
            tenant: read(headers, &TENANT, |text| TenantId::parse(text).ok())?
                .unwrap_or_else(|| default.tenant.clone()),
            name: read(headers, &USER, name)?.unwrap_or_else(|| default.name.clone()),
            scopes: read(headers, &SCOPES, scopes)?.unwrap_or(default.scopes),
            max_sandboxes: read(headers, &MAX_SANDBOXES, number)?,
            expires: read(headers, &EXPIRES, |text| text.parse().ok())?,
        })
    }
}

/// The value of the one line, if there is one that is not empty.
fn read<T>(
    headers: &HeaderMap,
    name: &HeaderName,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, BadHeader> {
    let mut lines = headers.get_all(name).iter();
    let (first, second) = (lines.next(), lines.next());
    let Some(line) = first else { return Ok(None) };
    let text = line.to_str().ok().filter(|_| second.is_none()).map(str::trim_ascii);
    let text = text.ok_or_else(|| BadHeader(name.clone()))?;
    if text.is_empty() {
        return Ok(None);
    }
    parse(text).map(Some).ok_or_else(|| BadHeader(name.clone()))
}

fn name(text: &str) -> Option<SmolStr> {
    let sound = text.len() <= MAX_NAME && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    sound.then(|| text.into())
}

fn scopes(text: &str) -> Option<Scopes> {
    let names = text.split(['|', ',']).map(str::trim_ascii).filter(|name| !name.is_empty());
    let scopes: Scopes = names.map(|name| name.parse::<Scope>().ok()).collect::<Option<_>>()?;
    (!scopes.is_empty()).then_some(scopes)
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn default() -> DefaultIdentity {
        let tenant = TenantId::parse("callback").unwrap();
        DefaultIdentity { tenant, name: "callback".into(), scopes: Scopes::ALL }
    }

    fn identity(lines: &[(&'static str, &[u8])]) -> Result<Identity, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        Identity::read(&headers, &default()).map_err(|BadHeader(name)| name.to_string())
    }

    #[test]
    fn all_of_it_can_be_said() {
        let said = identity(&[
            ("x-auth-tenant", b"team-a"),
            ("x-auth-user", b"Ada L."),
            ("x-auth-scopes", b" read | exec,"),
            ("x-auth-max-sandboxes", b"007"),
            ("x-auth-expires", b"2026-11-22T05:12:45Z"),
        ])
        .unwrap();
        let scopes = Scopes::default().with(Scope::Read).with(Scope::Exec);
        assert_eq!(
            said,
            Identity {
                tenant: TenantId::parse("team-a").unwrap(),
                name: "Ada L.".into(),
                scopes,
                max_sandboxes: Some(7),
                expires: "2026-11-22T05:12:45Z".parse().ok(),
            }
        );
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let nothing = identity(&[]).unwrap();
        let empty = ["tenant", "user", "scopes", "max-sandboxes", "expires"];
        let empty: Vec<(&'static str, &[u8])> =
            empty.map(|part| (&*format!("x-auth-{part}").leak(), &b" "[..])).to_vec();
        assert_eq!(identity(&empty).unwrap(), nothing);
        let DefaultIdentity { tenant, name, scopes } = default();
        let expected = Identity { tenant, name, scopes, max_sandboxes: None, expires: None };
        assert_eq!(nothing, expected);
    }

    #[test]
    fn nonsense_is_never_guessed_at() {
        let long = [b'a'; MAX_NAME + 1];
        let table: &[(&'static str, &[u8])] = &[
            ("x-auth-tenant", b"*"),
            ("x-auth-tenant", b"team a"),
            ("x-auth-tenant", b"team-a,team-b"),
            ("x-auth-tenant", b"t\xc3\xa4m"),
            ("x-auth-tenant", &long),
            ("x-auth-user", &long),
            ("x-auth-user", b"a\tb"),
            ("x-auth-user", b"Zo\xc3\xab"),
            ("x-auth-scopes", b"root"),
            ("x-auth-scopes", b"Read"),
            ("x-auth-scopes", b"read exec"),
            ("x-auth-scopes", b"read,root"),
            ("x-auth-scopes", b","),
            ("x-auth-scopes", b" | , "),
            ("x-auth-max-sandboxes", b"-1"),
            ("x-auth-max-sandboxes", b"+1"),
            ("x-auth-max-sandboxes", b"1.0"),
            ("x-auth-max-sandboxes", b"4294967296"),
            ("x-auth-expires", b"1700000000"),
            ("x-auth-expires", b"2026-11-22"),
        ];
        for (header, value) in table {
            let shown = String::from_utf8_lossy(value);
            assert_eq!(identity(&[(header, value)]), Err((*header).to_owned()), "{shown}");
        }
        for header in ["x-auth-tenant", "x-auth-user", "x-auth-scopes"] {
            for twice in [[b"read", b"read"], [b"read", b"    "]] {
                let lines = twice.map(|value| (header, &value[..]));
                assert_eq!(identity(&lines), Err(header.to_owned()));
            }
        }
    }
}
