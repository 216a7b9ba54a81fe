//! What an answer is remembered under: a salted hash of everything that the service was told.
//!
//! Every field is preceded by its length, so that no two questions run together into the same bytes, and the salt is the
//! process's own: what a memory dump holds can be neither looked up nor compared with another's.

use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::io;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::question::Question;
use super::settings::CacheBy;
use crate::credential::{Credential, Kind};

/// What one answer is remembered under.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct AnswerKey([u8; 32]);

/// Some of it, for tables: nobody who does not know the salt can choose it.
impl Hash for AnswerKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.first_chunk().copied().map_or(0, u64::from_ne_bytes));
    }
}

/// For tables of [`AnswerKey`]s, which have been hashed well enough.
pub(super) type AsItIs = BuildHasherDefault<Unhashed>;

/// Takes a number as it is.
#[derive(Clone, Copy, Default)]
pub(super) struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

impl fmt::Debug for AnswerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerKey")
    }
}

/// Makes keys. Neither allocates nor prints.
pub(super) struct Keys {
    salted: Sha256,
    by: CacheBy,
}

impl Keys {
    /// Keys of a new salt.
    pub(super) fn random(by: CacheBy) -> io::Result<Self> {
        let mut salt = [0; 64];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        // A whole block of the hash, which is thereby done once.
        Ok(Self { salted: Sha256::new_with_prefix(salt), by })
    }

    /// What the answer to `question` is remembered under.
    pub(super) fn answer(&self, question: &Question<'_>) -> AnswerKey {
        let Question { credential, method, path, host, request_id: _, client } = question;
        let mut key = Fields(self.salted.clone());
        key.mark(match credential.kind {
            Kind::Bearer => BEARER,
            Kind::ApiKey => API_KEY,
        });
        key.add(credential.expose().as_bytes());
        if self.by == CacheBy::Request {
            key.add(method.as_str().as_bytes());
            key.add(path.as_bytes());
            key.add_optional(host.map(str::as_bytes));
            match client.map(|client| client.to_canonical()) {
                None => key.add_optional(None),
                Some(IpAddr::V4(address)) => key.add_optional(Some(&address.octets())),
                Some(IpAddr::V6(address)) => key.add_optional(Some(&address.octets())),
            }
        }
        key.end()
    }

    /// What stands for a credential's text, however it came.
    pub(super) fn text(&self, credential: &Credential<'_>) -> AnswerKey {
        let mut key = Fields(self.salted.clone());
        key.mark(TEXT);
        key.add(credential.expose().as_bytes());
        key.end()
    }
}

/// What a key begins with, so that one kind is never another.
const BEARER: u8 = 0;
const API_KEY: u8 = 1;
const TEXT: u8 = 2;

struct Fields(Sha256);

impl Fields {
    fn mark(&mut self, mark: u8) {
        self.0.update([mark]);
    }

    /// A field of less than 255 bytes, as nearly all are, has its length in one byte before it: as it is, that is two blocks
    /// of the hash for most questions and one for most credentials.
    fn add(&mut self, field: &[u8]) {
        match u8::try_from(field.len()) {
            Ok(length) if length < u8::MAX => self.mark(length),
            _ => {
                self.mark(u8::MAX);
                self.0.update((field.len() as u64).to_be_bytes());
            }
        }
        self.0.update(field);
    }

    fn add_optional(&mut self, field: Option<&[u8]>) {
        self.mark(u8::from(field.is_some()));
        self.add(field.unwrap_or_default());
    }

    fn end(self) -> AnswerKey {
        AnswerKey(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http::{HeaderValue, Method};
    use proptest::prelude::*;

    use super::*;

    type Told = (bool, String, String, String, Option<String>, Option<u8>);

    fn key(keys: &Keys, told: &Told) -> AnswerKey {
        let (bearer, text, method, path, host, client) = told;
        let kind = if *bearer { Kind::Bearer } else { Kind::ApiKey };
        keys.answer(&Question {
            credential: Credential::new(kind, text),
            method: &Method::from_bytes(method.as_bytes()).unwrap(),
            path,
            host: host.as_deref(),
            request_id: &HeaderValue::from_static("r"),
            client: client.map(|last| Ipv4Addr::new(127, 0, 0, last).into()),
        })
    }

    /// Few letters, so that look-alikes such as `ab`+`c` and `a`+`bc` are common.
    fn told() -> impl Strategy<Value = Told> {
        let text = || "[ab]{0,3}";
        (
            any::<bool>(),
            text(),
            "[ab]{1,3}",
            text(),
            prop::option::of(text()),
            prop::option::of(0..2_u8),
        )
    }

    proptest! {
        #[test]
        fn only_the_same_question_has_the_same_key(one in told(), other in told()) {
            let keys = Keys::random(CacheBy::Request).unwrap();
            prop_assert_eq!(key(&keys, &one) == key(&keys, &other), one == other);
        }

        #[test]
        fn by_credential_nothing_else_counts(one in told(), other in told()) {
            let keys = Keys::random(CacheBy::Credential).unwrap();
            let alike = (one.0, &one.1) == (other.0, &other.1);
            prop_assert_eq!(key(&keys, &one) == key(&keys, &other), alike);
        }
    }

    #[test]
    fn look_alikes_differ() {
        let keys = Keys::random(CacheBy::Request).unwrap();
        let told = |text: &str, method: &str, path: &str, host: Option<&str>| -> Told {
            (true, text.into(), method.into(), path.into(), host.map(str::to_owned), None)
        };
        let alike = [
            told("ab", "c", "/", None),
            told("a", "bc", "/", None),
            told("abc", "GET", "/", None),
            told("ab", "c", "/", Some("")),
            told("ab", "c", "", Some("/")),
        ];
        for (at, one) in alike.iter().enumerate() {
            for other in alike.iter().skip(at + 1) {
                assert_ne!(key(&keys, one), key(&keys, other), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn salts_differ() {
        let told: Told = (true, "t".into(), "GET".into(), "/".into(), None, None);
        let [one, other] = [(); 2].map(|()| Keys::random(CacheBy::Request).unwrap());
        assert_ne!(key(&one, &told), key(&other, &told));
    }
}
