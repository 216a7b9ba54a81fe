//! Who an answer says a credential belongs to: its `X-Auth-*` headers.
//!
//! Held to what static keys are held to. A header that is there twice, says something that cannot be, or is taken back by
//! `Connection`, makes the whole answer worthless: to guess would be to hand one tenant's sandboxes to another.

use http::HeaderName;
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

/// What the fields of an answer say of a credential's owner so far.
#[derive(Debug, Default)]
pub(super) struct Description {
    tenant: Said<TenantId>,
    name: Said<SmolStr>,
    scopes: Said<Scopes>,
    max_sandboxes: Said<u32>,
    expires: Said<UnixTime>,
}

/// What one field says.
#[derive(Debug, Default)]
enum Said<T> {
    /// It is not there.
    #[default]
    Unsaid,
    /// It is there and empty, which is the same but for a second one.
    Empty,
    /// This.
    Once(T),
    /// It is there twice, is taken back, or makes no sense.
    Nonsense,
}

impl Description {
    /// Takes a field, if it is one of those. Whether it was.
    pub(super) fn hear(&mut self, name: &[u8], value: &[u8]) -> bool {
        let is = |known: &HeaderName| name.eq_ignore_ascii_case(known.as_str().as_bytes());
        // The length picks the names that it may be; most fields stop here.
        match name.len() {
            11 if is(&USER) => self.name.hear(value, self::name),
            13 if is(&TENANT) => self.tenant.hear(value, |text| TenantId::parse(text).ok()),
            13 if is(&SCOPES) => self.scopes.hear(value, scopes),
            14 if is(&EXPIRES) => self.expires.hear(value, |text| text.parse().ok()),
            20 if is(&MAX_SANDBOXES) => self.max_sandboxes.hear(value, number),
            _ => return false,
        }
        true
    }

    /// A field of this name was for the connection alone.
    pub(super) fn take_back(&mut self, name: &HeaderName) {
        if *name == TENANT {
            self.tenant.take_back();
        } else if *name == USER {
            self.name.take_back();
        } else if *name == SCOPES {
            self.scopes.take_back();
        } else if *name == MAX_SANDBOXES {
            self.max_sandboxes.take_back();
        } else if *name == EXPIRES {
            self.expires.take_back();
        }
    }

    /// Who it is; what is not said comes from `default`.
    pub(super) fn identity(self, default: &DefaultIdentity) -> Result<Identity, BadHeader> {
        let Self { tenant, name, scopes, max_sandboxes, expires } = self;
        Ok(Identity {
            tenant: tenant.sound(&TENANT)?.unwrap_or_else(|| default.tenant.clone()),
            name: name.sound(&USER)?.unwrap_or_else(|| default.name.clone()),
            scopes: scopes.sound(&SCOPES)?.unwrap_or(default.scopes),
            max_sandboxes: max_sandboxes.sound(&MAX_SANDBOXES)?,
            expires: expires.sound(&EXPIRES)?,
        })
    }
}

impl<T> Said<T> {
    fn hear(&mut self, value: &[u8], parse: impl FnOnce(&str) -> Option<T>) {
        let is_first = matches!(self, Self::Unsaid);
        *self = match text(value).filter(|_| is_first) {
            Some("") => Self::Empty,
            Some(text) => parse(text).map_or(Self::Nonsense, Self::Once),
            None => Self::Nonsense,
        };
    }

    /// Not the same as unsaid: what is given where nothing is said may be more than was meant.
    fn take_back(&mut self) {
        if !matches!(self, Self::Unsaid) {
            *self = Self::Nonsense;
        }
    }

    fn sound(self, name: &HeaderName) -> Result<Option<T>, BadHeader> {
        match self {
            Self::Unsaid | Self::Empty => Ok(None),
            Self::Once(what) => Ok(Some(what)),
            Self::Nonsense => Err(BadHeader(name.clone())),
        }
    }
}

/// A value without the space around it, if nothing is in it that no text has.
fn text(value: &[u8]) -> Option<&str> {
    let sound = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    std::str::from_utf8(value.trim_ascii()).ok().filter(|_| sound)
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
    use super::*;
    use crate::callback::statement::Statement;

    fn default() -> DefaultIdentity {
        let tenant = TenantId::parse("callback").unwrap();
        DefaultIdentity { tenant, name: "callback".into(), scopes: Scopes::ALL }
    }

    fn identity(lines: &[(&'static str, &[u8])]) -> Result<Identity, String> {
        let statement = Statement::of(lines.iter().copied());
        statement.described.identity(&default()).map_err(|BadHeader(name)| name.to_string())
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
