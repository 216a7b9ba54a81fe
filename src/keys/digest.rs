//! The digest that stands for a key, and the id derived from it.
//!
//! Keys are looked up by digest, so that the time a lookup takes says nothing about how much of a guess was right.

use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use sha2::{Digest as _, Sha256};

use crate::principal::{KeyId, TenantId};

/// SHA-256 of a key's bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyDigest([u8; 32]);

/// Why a text is no digest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'sha256:' must be followed by exactly 64 hexadecimal digits")]
pub struct BadDigest;

impl KeyDigest {
    /// The digest of a key, given as the bytes a client sends.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Reads 64 hexadecimal digits of either case.
    ///
    /// # Errors
    /// [`BadDigest`] for anything else.
    pub fn parse_hex(text: &str) -> Result<Self, BadDigest> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(BadDigest);
        }
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Ok(Self(bytes))
    }

    /// 64 lower-case hexadecimal digits, as a keys file takes them behind `sha256:`.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// The public id of this key in the hands of `tenant`: the first 16 hexadecimal digits of SHA-256 over a label, the
    /// tenant and the digest.
    ///
    /// It depends on nothing else, so that it survives restarts and is the same on every replica; the tenant is part of
    /// it, so that a key that moves to another tenant becomes another key. Being a truncated digest of a digest, it
    /// gives a random key away no more than any 64-bit check value does.
    #[must_use]
    pub fn key_id(&self, tenant: &TenantId) -> KeyId {
        let mut hash = Sha256::new();
        hash.update(b"coppice-gateway key id 1\0");
        hash.update(tenant.as_str().as_bytes());
        hash.update(b":");
        hash.update(self.0);
        let hash: [u8; 32] = hash.finalize().into();
        let (start, _) = hash.split_at(8);
        KeyId::new(&hex(start))
    }
}

fn nibble(digit: u8) -> Result<u8, BadDigest> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(BadDigest),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Debug for KeyDigest {
    /// The first four bytes: enough to tell two apart in a log, too few to look one up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, _) = self.0.split_at(4);
        write!(f, "KeyDigest({}…)", hex(start))
    }
}

impl Hash for KeyDigest {
    /// Eight bytes are enough: digests are spread evenly already.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (start, _) = self.0.split_first_chunk().unwrap_or((&[0; 8], &[]));
        state.write_u64(u64::from_le_bytes(*start));
    }
}

/// Passes a digest's own bytes on. Only lookups see bytes that a client can influence, never insertions, so that nobody
/// can grow a bucket.
#[derive(Default)]
pub(super) struct DigestHasher(u64);

/// For maps keyed by [`KeyDigest`].
pub(super) type DigestHash = BuildHasherDefault<DigestHasher>;

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
