//! E2B's signed file URLs, as SDKs compute them over a sandbox token.
//!
//! `signature = "v1_" + base64(sha256("path:operation:user:token[:expiration]"))`, standard alphabet, no padding (E2B's
//! JS `signature.ts`, Python `signature.py`, envd `auth.go`). The URL names no key, so the verifier is given the tokens
//! that may have signed. Pure: no I/O; time is a parameter.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

use crate::clock::UnixTime;
use crate::form::{decode, pairs};

/// What a signed URL lets its holder do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// `GET` and `HEAD`.
    Read,
    /// `POST`.
    Write,
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// The signature parameters of a `/files` query, decoded as a form is.
#[derive(Debug, PartialEq, Eq)]
pub struct SignedQuery<'q> {
    path: Cow<'q, str>,
    user: Cow<'q, str>,
    expiration: Option<Cow<'q, str>>,
    digest: [u8; 32],
}

/// Why a query cannot be a signed one. All the same to a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a well-formed signed query")]
pub struct BadSignature;

const SIGNATURE: &str = "signature";
const EXPIRATION: &str = "signature_expiration";

/// Whether the query has a `signature` parameter at all, well-formed or not.
#[must_use]
pub fn is_signed(query: &str) -> bool {
    pairs(query).any(|(name, _)| decode(name).as_deref() == Some(SIGNATURE))
}

impl<'q> SignedQuery<'q> {
    /// Reads the four parameters. Each may be there once.
    ///
    /// # Errors
    /// [`BadSignature`] for repeats, undecodable values, or a signature that is not `v1_` and 32 bytes of base64.
    pub fn parse(query: &'q str) -> Result<Self, BadSignature> {
        let (mut path, mut user, mut signature, mut expiration) = (None, None, None, None);
        for (name, value) in pairs(query) {
            let name = decode(name).ok_or(BadSignature)?;
            let slot = match &*name {
                "path" => &mut path,
                "username" => &mut user,
                SIGNATURE => &mut signature,
                EXPIRATION => &mut expiration,
                _ => continue,
            };
            if slot.replace(decode(value).ok_or(BadSignature)?).is_some() {
                return Err(BadSignature);
            }
        }
        let signature = signature.ok_or(BadSignature)?;
        let encoded = signature.strip_prefix("v1_").ok_or(BadSignature)?;
        let digest = STANDARD_NO_PAD.decode(encoded).map_err(|_| BadSignature)?;
        let digest = digest.try_into().map_err(|_| BadSignature)?;
        let (path, user) = (path.unwrap_or_default(), user.unwrap_or_default());
        Ok(Self { path, user, expiration, digest })
    }

    /// Whether the URL may still be used at `now`. One without expiration always may; an unreadable expiration never.
    #[must_use]
    pub fn is_current(&self, now: UnixTime) -> bool {
        self.expiration.as_ref().is_none_or(|text| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits && text.parse().is_ok_and(|until: u64| now.0 <= until)
        })
    }

    /// Whether `token` signed this query for `operation`. Constant time in the signature.
    #[must_use]
    pub fn is_signed_with(&self, token: &str, operation: Operation) -> bool {
        let mut hash = Sha256::new();
        for part in [&self.path, ":", operation.name(), ":", &self.user, ":", token] {
            hash.update(part.as_bytes());
        }
        if let Some(expiration) = &self.expiration {
            hash.update(b":");
            hash.update(expiration.as_bytes());
        }
        bool::from(subtle::ConstantTimeEq::ct_eq(&hash.finalize()[..], &self.digest[..]))
    }
}

/// The query without its signature parameters, every other byte as it was.
#[must_use]
pub fn unsigned(query: &str) -> String {
    let kept = query.split('&').filter(|pair| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        !decode(name).is_some_and(|name| matches!(&*name, SIGNATURE | EXPIRATION))
    });
    kept.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "path=/a%20b&username=root&signature=v1_WLWYft6WqH6819pY0N6SUMEzz6VWEVtXEMNyG%2Bndde4";

    fn sign(
        path: &str,
        operation: &str,
        user: &str,
        token: &str,
        expiration: Option<&str>,
    ) -> String {
        let mut raw = format!("{path}:{operation}:{user}:{token}");
        if let Some(expiration) = expiration {
            raw.push(':');
            raw.push_str(expiration);
        }
        format!("v1_{}", STANDARD_NO_PAD.encode(Sha256::digest(raw))).replace('+', "%2B")
    }

    #[test]
    fn verifies_what_both_sdks_compute() {
        // The vector was made with the published JavaScript and Python clients.
        let query = SignedQuery::parse(GOOD).unwrap();
        assert!(query.is_signed_with("GWTOK", Operation::Read));
        assert!(!query.is_signed_with("GWTOK", Operation::Write));
        assert!(!query.is_signed_with("GWTOL", Operation::Read));
        let plus = GOOD.replace("%20", "+");
        assert!(SignedQuery::parse(&plus).unwrap().is_signed_with("GWTOK", Operation::Read));
        for changed in [
            GOOD.replace("/a", "/b"),
            GOOD.replace("root", "user"),
            GOOD.replace("/a%20b", "/a%20b/"),
        ] {
            assert!(
                !SignedQuery::parse(&changed).unwrap().is_signed_with("GWTOK", Operation::Read)
            );
        }
    }

    #[test]
    fn expiration_is_signed_and_judged() {
        let signature = sign("", "write", "", "T", Some("1000"));
        let text = format!("signature={signature}&signature_expiration=1000");
        let query = SignedQuery::parse(&text).unwrap();
        assert!(query.is_signed_with("T", Operation::Write));
        assert!(query.is_current(UnixTime(1000)) && !query.is_current(UnixTime(1001)));
        let dropped = format!("signature={signature}");
        assert!(!SignedQuery::parse(&dropped).unwrap().is_signed_with("T", Operation::Write));
        for expiration in ["", "-1", "+5", "1e9", "99999999999999999999999", "12 "] {
            let text = format!("signature={signature}&signature_expiration={expiration}");
            assert!(!SignedQuery::parse(&text).unwrap().is_current(UnixTime(1)), "{expiration:?}");
        }
    }

    #[test]
    fn malformed_queries_are_refused() {
        let signature = sign("/a", "read", "", "T", None);
        for query in [
            "path=/a".to_owned(),
            "signature=".to_owned(),
            "signature=v1_".to_owned(),
            "signature=v1_AAAA".to_owned(),
            format!("signature={}=", signature),
            format!("signature={}", signature.replace("v1_", "v2_")),
            format!("path=/a&path=/b&signature={signature}"),
            format!("path=/a&signature={signature}&signature={signature}"),
            format!("path=/a&%70ath=/a&signature={signature}"),
            format!("path=%zz&signature={signature}"),
            format!("path=%ff&signature={signature}"),
        ] {
            assert_eq!(SignedQuery::parse(&query), Err(BadSignature), "{query}");
        }
        assert!(
            is_signed("signature")
                && is_signed("a=b&%73ignature=x")
                && !is_signed("path=signature")
        );
    }

    #[test]
    fn only_the_signature_is_removed() {
        for (query, expected) in [
            (GOOD, "path=/a%20b&username=root"),
            ("signature=x&path=/%2e+&signature_expiration=4&b", "path=/%2e+&b"),
            ("%73ignature=x", ""),
        ] {
            assert_eq!(unsigned(query), expected);
        }
    }
}
