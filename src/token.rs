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
use smol_str::SmolStr;

use crate::principal::{KeyId, Principal, Scope, Scopes, Source, TenantId};
use crate::secret::Secret;
use crate::target::SandboxId;

/// What every token starts with; nothing that an upstream hands out does.
pub const PREFIX: &str = "cgt1_";
/// Bytes of the seal: HMAC-SHA256 cut to 128 bits (RFC 2104 5 allows half).
const SEAL: usize = 16;
/// Longest token text: prefix and base64 of seal, sandbox id, and key id, tenant and name with their lengths.
const MAX_TEXT: usize = 1024;
/// Flags in the byte that holds the key id's length: the token names its holder, who may see every tenant.
const NAMED: u8 = 0x80;
const ALL_TENANTS: u8 = 0x40;
/// What a seal is over, besides the fields: the same secret must never make one thing look like another.
const DOMAIN: &str = "coppice-gateway sandbox token 1";
const NAMED_DOMAIN: &str = "coppice-gateway named sandbox token 1";

/// What a token says of itself, not yet verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// The sandbox it opens.
    pub sandbox: SandboxId,
    /// The key it stands for.
    pub key: KeyId,
    /// Whom that key belongs to, where no key set knows: the auth callback vouched for it.
    pub named: Option<Named>,
    seal: [u8; SEAL],
}

/// The holder of a token that no key set can be asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// The tenant.
    pub tenant: TenantId,
    /// The name.
    pub name: SmolStr,
    /// Whether it saw every tenant's sandboxes when the token was made.
    pub all_tenants: bool,
}

impl Named {
    /// What the token's holder may do with it at most, and see.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        let scopes = Scopes::default().with(Scope::Exec);
        if self.all_tenants { scopes.with(Scope::Admin) } else { scopes }
    }

    fn of(principal: &Principal) -> Option<Self> {
        (principal.source == Source::Callback).then(|| Self {
            tenant: principal.tenant.clone(),
            name: principal.name.clone().unwrap_or_default(),
            all_tenants: principal.scopes.allows(Scope::Admin),
        })
    }
}

impl Claims {
    /// Reads a token's text. `None` for anything that the gateway cannot have made.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_prefix(PREFIX).filter(|_| text.len() <= MAX_TEXT)?;
        let bytes = URL_SAFE_NO_PAD.decode(body).ok()?;
        let (seal, rest) = bytes.split_first_chunk::<SEAL>()?;
        let (flags, rest) = rest.split_first()?;
        let is_named = flags & NAMED != 0;
        let length = if is_named { flags & !(NAMED | ALL_TENANTS) } else { *flags };
        let (key, rest) = rest.split_at_checked(usize::from(length))?;
        let key = std::str::from_utf8(key).ok().filter(|key| !key.is_empty())?;
        let (named, sandbox) = if is_named {
            let (tenant, rest) = counted(rest)?;
            let (name, rest) = counted(rest)?;
            let tenant = TenantId::parse(tenant).ok()?;
            let all_tenants = flags & ALL_TENANTS != 0;
            (Some(Named { tenant, name: name.into(), all_tenants }), rest)
        } else {
            (None, rest)
        };
        let sandbox = SandboxId::parse(std::str::from_utf8(sandbox).ok()?).ok()?;
        Some(Self { sandbox, key: KeyId::new(key), named, seal: *seal })
    }
}

/// A text behind a byte with its length, and what follows.
fn counted(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(text).ok()?, rest))
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
        Some(made(self.keyed.first()?, principal, sandbox))
    }

    /// The texts that [`Self::mint`] gives or gave for `principal` and `sandbox`, newest secret first.
    pub fn every(
        &self,
        principal: &Principal,
        sandbox: &SandboxId,
    ) -> impl Iterator<Item = String> {
        self.keyed.iter().map(|keyed| made(keyed, principal, sandbox))
    }

    /// Whether `claims` were sealed here for a key of `tenant`.
    #[must_use]
    pub fn verifies(&self, claims: &Claims, tenant: &TenantId) -> bool {
        let Claims { key, named, sandbox, .. } = claims;
        self.keyed.iter().any(|keyed| {
            let expected = seal(keyed, tenant, key, named.as_ref(), sandbox);
            bool::from(subtle::ConstantTimeEq::ct_eq(&expected[..], &claims.seal[..]))
        })
    }
}

fn made(keyed: &Hmac<Sha256>, principal: &Principal, sandbox: &SandboxId) -> String {
    let named = Named::of(principal);
    let seal = seal(keyed, &principal.tenant, &principal.key, named.as_ref(), sandbox);
    encode(&seal, &principal.key, named.as_ref(), sandbox)
}

/// Every field is preceded by its length, so that no two sets of fields share a message.
fn seal(
    keyed: &Hmac<Sha256>,
    tenant: &TenantId,
    key: &KeyId,
    named: Option<&Named>,
    sandbox: &SandboxId,
) -> [u8; SEAL] {
    let mut mac = keyed.clone();
    let mut field = |text: &str| {
        mac.update(&(text.len() as u64).to_be_bytes());
        mac.update(text.as_bytes());
    };
    field(if named.is_some() { NAMED_DOMAIN } else { DOMAIN });
    [tenant.as_str(), key.as_str(), sandbox.as_str()].into_iter().for_each(&mut field);
    if let Some(Named { name, all_tenants, .. }) = named {
        field(name);
        field(if *all_tenants { "all tenants" } else { "own tenant" });
    }
    let full = mac.finalize().into_bytes();
    let mut cut = [0; SEAL];
    cut.iter_mut().zip(full.iter()).for_each(|(to, from)| *to = *from);
    cut
}

fn encode(seal: &[u8; SEAL], key: &KeyId, named: Option<&Named>, sandbox: &SandboxId) -> String {
    // Key ids have some twenty bytes, tenants and names at most 128.
    let length = |text: &str| u8::try_from(text.len()).unwrap_or(u8::MAX);
    let mut bytes = Vec::with_capacity(128);
    bytes.extend_from_slice(seal);
    let flags = match named {
        Some(Named { all_tenants: true, .. }) => NAMED | ALL_TENANTS,
        Some(Named { all_tenants: false, .. }) => NAMED,
        None => 0,
    };
    bytes.push(length(key.as_str()) | flags);
    bytes.extend_from_slice(key.as_str().as_bytes());
    if let Some(Named { tenant, name, .. }) = named {
        for text in [tenant.as_str(), name] {
            bytes.push(length(text));
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes.extend_from_slice(sandbox.as_str().as_bytes());
    let mut text = String::with_capacity(PREFIX.len() + bytes.len() * 4 / 3 + 3);
    text.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(&bytes, &mut text);
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::principal::Revocation;

    pub(crate) fn principal(tenant: &str, key: &str) -> Principal {
        let (tenant, key) = (TenantId::parse(tenant).unwrap(), KeyId::new(key));
        Principal {
            tenant,
            name: None,
            key,
            scopes: Scopes::ALL,
            not_before: None,
            expires: None,
            max_sandboxes: None,
            source: Source::Static,
            revocation: Revocation::Notice(Arc::default()),
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
        assert_eq!(claims.named, None);
        assert!(sealer.verifies(&claims, &ada.tenant));
    }

    #[test]
    fn a_token_of_the_callbacks_names_its_holder() {
        let sealer = sealer(&["one"]);
        let sandbox = SandboxId::parse("i123").unwrap();
        let name: SmolStr = "Ada L.".into();
        let ada = Principal {
            name: Some(name.clone()),
            source: Source::Callback,
            ..principal("team-a", "cb1")
        };
        let claims = Claims::parse(&sealer.mint(&ada, &sandbox).unwrap()).unwrap();
        let named = Named { tenant: ada.tenant.clone(), name, all_tenants: true };
        assert_eq!(claims.named, Some(named.clone()));
        assert!(sealer.verifies(&claims, &ada.tenant));
        let forgeries = [
            None,
            Some(Named { name: "Eve".into(), ..named.clone() }),
            Some(Named { all_tenants: false, ..named }),
        ];
        for named in forgeries {
            let forged = Claims { named, ..claims.clone() };
            assert!(!sealer.verifies(&forged, &ada.tenant), "{forged:?}");
        }
        let reader = Principal { scopes: Scopes::default().with(Scope::Exec), ..ada };
        let claims = Claims::parse(&sealer.mint(&reader, &sandbox).unwrap()).unwrap();
        assert!(!claims.named.unwrap().all_tenants);
    }

    #[test]
    fn tenant_key_sandbox_and_secret_are_all_bound() {
        let ours = sealer(&["one"]);
        let ada = principal("team-a", "k1");
        let sandbox = SandboxId::parse("i123").unwrap();
        let claims = Claims::parse(&ours.mint(&ada, &sandbox).unwrap()).unwrap();
        assert!(!ours.verifies(&claims, &principal("team-b", "k1").tenant));
        assert!(!sealer(&["two"]).verifies(&claims, &ada.tenant));
        let other = Claims { sandbox: SandboxId::parse("i124").unwrap(), ..claims.clone() };
        assert!(!ours.verifies(&other, &ada.tenant));
        let renamed = Claims { key: KeyId::new("k2"), ..claims };
        assert!(!ours.verifies(&renamed, &ada.tenant));
    }

    #[test]
    fn an_old_secret_still_verifies_while_listed() {
        let ada = principal("team-a", "k1");
        let sandbox = SandboxId::parse("i123").unwrap();
        let old = Claims::parse(&sealer(&["old"]).mint(&ada, &sandbox).unwrap()).unwrap();
        assert!(sealer(&["new", "old"]).verifies(&old, &ada.tenant));
        assert!(!sealer(&["new"]).verifies(&old, &ada.tenant));
        assert!(!sealer(&[]).verifies(&old, &ada.tenant));
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
                    claims.sandbox.as_str() == "i123" && sealer.verifies(&claims, &ada.tenant)
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
