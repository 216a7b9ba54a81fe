//! Keeps tenants' `Idempotency-Key`s apart: all of them reach the upstream under one upstream key, and the sandbox that a
//! key made for one tenant must never be the answer to another.

use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use crate::principal::TenantId;

/// The header by which clients repeat a create safely.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Puts a text in place of the client's key that is the same for the same tenant and key, and for nothing else. It is
/// 64 hexadecimal digits, which every upstream takes that takes what SDKs send.
pub(super) fn set_apart(head: &mut HeaderMap, tenant: &TenantId) {
    if !head.contains_key(IDEMPOTENCY_KEY) {
        return;
    }
    let mut hash = Sha256::new();
    hash.update((tenant.as_str().len() as u64).to_be_bytes());
    hash.update(tenant.as_str().as_bytes());
    for line in head.get_all(IDEMPOTENCY_KEY) {
        hash.update((line.len() as u64).to_be_bytes());
        hash.update(line.as_bytes());
    }
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if let Ok(own) = HeaderValue::from_str(&digits) {
        head.insert(IDEMPOTENCY_KEY, own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(tenant: &str, keys: &[&'static str]) -> Vec<HeaderValue> {
        let mut head = HeaderMap::new();
        for key in keys {
            head.append(IDEMPOTENCY_KEY, HeaderValue::from_static(key));
        }
        set_apart(&mut head, &TenantId::parse(tenant).unwrap());
        head.get_all(IDEMPOTENCY_KEY).iter().cloned().collect()
    }

    #[test]
    fn the_same_only_for_the_same_tenant_and_key() {
        assert_eq!(sent("team-a", &["k"]), sent("team-a", &["k"]));
        assert_eq!(sent("team-a", &["k"])[0].len(), 64);
        assert!(sent("team-a", &[]).is_empty());
        let all = [
            sent("team-a", &["k"]),
            sent("team-b", &["k"]),
            sent("team-a", &["l"]),
            sent("team-ak", &[""]),
            sent("team-a", &["k", "k"]),
        ];
        for (number, one) in all.iter().enumerate() {
            assert!(all.iter().skip(number + 1).all(|other| other != one), "{number}");
            assert_eq!(one.len(), 1);
        }
    }
}
