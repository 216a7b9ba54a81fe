//! Sandbox tokens: what the gateway hands out in place of envd's own access token.
//!
//! Stock SDKs never send the API key into a sandbox; they send back the token that create or connect returned. So that
//! token is ours: it names one sandbox and one key and is sealed with the gateway's secret, which any replica with the
//! same secret can check without asking anybody. It is the same text for a sandbox's whole life, and it never says what
//! it may do: that is looked up, at each use, in the key it names. Pure: no I/O, no clock.

pub mod signature;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::principal::{KeyId, Principal};
use crate::secret::Secret;
use crate::target::SandboxId;

/// What every token starts with; nothing that an upstream hands out does.
pub const PREFIX: &str = "cgt1_";
/// Bytes of the seal: HMAC-SHA256 cut to 128 bits (RFC 2104 5 allows half).
const SEAL: usize = 16;
/// Longest token text: prefix and base64 of seal, key id with its length, sandbox id.
const MAX_TEXT: usize = 512;

/// What a token says of itself, not yet verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// The sandbox it opens.
    pub sandbox: SandboxId,
    /// The key it stands for.
    pub key: KeyId,
    seal: [u8; SEAL],
}

impl Claims {
    /// Reads a token's text. `None` for anything that the gateway cannot have made.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_prefix(PREFIX).filter(|_| text.len() <= MAX_TEXT)?;
        let bytes = URL_SAFE_NO_PAD.decode(body).ok()?;
        let (seal, rest) = bytes.split_first_chunk::<SEAL>()?;
        let (length, rest) = rest.split_first()?;
        let (key, sandbox) = rest.split_at_checked(usize::from(*length))?;
        let key = std::str::from_utf8(key).ok().filter(|key| !key.is_empty())?;
        let sandbox = SandboxId::parse(std::str::from_utf8(sandbox).ok()?).ok()?;
        Some(Self { sandbox, key: KeyId::new(key), seal: *seal })
    }
}

/// The secrets that seal tokens: the newest mints, each of them verifies.
pub struct Sealer {
    keyed: Vec<Hmac<Sha256>>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} secrets)", self.keyed.len())
    }
}

impl Sealer {
    /// A sealer of `secrets`, newest first. Without any, nothing can be minted or verified.
    #[must_use]
    pub fn new(secrets: &[Secret]) -> Self {
        let keyed = secrets
            .iter()
            .filter_map(|secret| Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok())
            .collect();
        Self { keyed }
    }

    /// The token of `principal` for `sandbox`: the same text each time. `None` without a secret.
    #[must_use]
    pub fn mint(&self, principal: &Principal, sandbox: &SandboxId) -> Option<String> {
        Some(encode(&seal(self.keyed.first()?, principal, sandbox), principal, sandbox))
    }

    /// The texts that [`Self::mint`] gives or gave for `principal` and `sandbox`, newest secret first.
    pub fn every(
        &self,
        principal: &Principal,
        sandbox: &SandboxId,
    ) -> impl Iterator<Item = String> {
        self.keyed.iter().map(|keyed| encode(&seal(keyed, principal, sandbox), principal, sandbox))
    }

    /// Whether `claims` were sealed here for `principal`, who must be the one they name.
    #[must_use]
    pub fn verifies(&self, claims: &Claims, principal: &Principal) -> bool {
        claims.key == principal.key
            && self.keyed.iter().any(|keyed| {
                let expected = seal(keyed, principal, &claims.sandbox);
                bool::from(subtle::ConstantTimeEq::ct_eq(&expected[..], &claims.seal[..]))
            })
    }
}

/// Every field is preceded by its length, so that no two triples share a message.
fn seal(keyed: &Hmac<Sha256>, principal: &Principal, sandbox: &SandboxId) -> [u8; SEAL] {
    let mut mac = keyed.clone();
    mac.update(b"coppice-gateway sandbox token 1");
    for field in [principal.tenant.as_str(), principal.key.as_str(), sandbox.as_str()] {
        mac.update(&(field.len() as u64).to_be_bytes());
        mac.update(field.as_bytes());
    }
    let full = mac.finalize().into_bytes();
    let mut cut = [0; SEAL];
    cut.iter_mut().zip(full.iter()).for_each(|(to, from)| *to = *from);
    cut
}

fn encode(seal: &[u8; SEAL], principal: &Principal, sandbox: &SandboxId) -> String {
    let key = principal.key.as_str().as_bytes();
    let mut bytes = Vec::with_capacity(SEAL + 1 + key.len() + sandbox.as_str().len());
    bytes.extend_from_slice(seal);
    bytes.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(sandbox.as_str().as_bytes());
    let mut text = String::with_capacity(PREFIX.len() + bytes.len() * 4 / 3 + 3);
    text.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(&bytes, &mut text);
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::principal::{Scopes, Source, TenantId, Vouched};

    pub(crate) fn principal(tenant: &str, key: &str) -> Principal {
        let (tenant, key) = (TenantId::parse(tenant).unwrap(), KeyId::new(key));
        Principal {
            vouched: Vouched::of(&tenant, None, &key, Scopes::ALL),
            tenant,
            name: None,
            key,
            scopes: Scopes::ALL,
            not_before: None,
            expires: None,
            max_sandboxes: None,
            source: Source::Static,
            revocation: Arc::default(),
        }
    }

    pub(crate) fn sealer(secrets: &[&str]) -> Sealer {
        let secrets: Vec<_> = secrets.iter().map(|text| Secret::new((*text).to_owned())).collect();
        Sealer::new(&secrets)
    }

    #[test]
    fn a_token_is_stable_and_verifies() {
        let (sealer, ada) = (sealer(&["one"]), principal("team-a", "k1"));
        let sandbox = SandboxId::parse("i123").unwrap();
        let token = sealer.mint(&ada, &sandbox).unwrap();
        assert_eq!(Some(&token), sealer.mint(&ada, &sandbox).as_ref());
        let claims = Claims::parse(&token).unwrap();
        assert_eq!((claims.sandbox.as_str(), claims.key.as_str()), ("i123", "k1"));
        assert!(sealer.verifies(&claims, &ada));
    }

    #[test]
    fn tenant_key_sandbox_and_secret_are_all_bound() {
        let ours = sealer(&["one"]);
        let ada = principal("team-a", "k1");
        let sandbox = SandboxId::parse("i123").unwrap();
        let claims = Claims::parse(&ours.mint(&ada, &sandbox).unwrap()).unwrap();
        assert!(!ours.verifies(&claims, &principal("team-b", "k1")));
        assert!(!ours.verifies(&claims, &principal("team-a", "k2")));
        assert!(!sealer(&["two"]).verifies(&claims, &ada));
        let other = Claims { sandbox: SandboxId::parse("i124").unwrap(), ..claims.clone() };
        assert!(!ours.verifies(&other, &ada));
        let renamed = Claims { key: KeyId::new("k2"), ..claims };
        assert!(!ours.verifies(&renamed, &principal("team-a", "k2")));
    }

    #[test]
    fn an_old_secret_still_verifies_while_listed() {
        let ada = principal("team-a", "k1");
        let sandbox = SandboxId::parse("i123").unwrap();
        let old = Claims::parse(&sealer(&["old"]).mint(&ada, &sandbox).unwrap()).unwrap();
        assert!(sealer(&["new", "old"]).verifies(&old, &ada));
        assert!(!sealer(&["new"]).verifies(&old, &ada));
        assert!(!sealer(&[]).verifies(&old, &ada));
    }

    #[test]
    fn any_changed_character_breaks_a_token() {
        let (sealer, ada) = (sealer(&["one"]), principal("team-a", "k1"));
        let token = sealer.mint(&ada, &SandboxId::parse("i123").unwrap()).unwrap();
        for at in 0..token.len() {
            for replacement in ["A", "b", "-", "="] {
                let mut changed = token.clone();
                changed.replace_range(at..=at, replacement);
                let opens = Claims::parse(&changed).is_some_and(|claims| {
                    claims.sandbox.as_str() == "i123" && sealer.verifies(&claims, &ada)
                });
                assert!(changed == token || !opens, "{changed}");
            }
        }
    }

    #[test]
    fn nothing_else_parses() {
        let long = format!("{PREFIX}{}", "A".repeat(600));
        for text in ["", "cgt1_", "cgt1_AAAA", "cgt2_AAAAAAAAAAAAAAAAAAAAAAAA", "gw token", &long] {
            assert_eq!(Claims::parse(text), None, "{text}");
        }
    }
}
