//! The digest that stands for a key, and the id derived from it.
//!
//! Keys are looked up by digest, so that the time a lookup takes says nothing about how much of a guess was right.

use std::fmt;

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
        let pairs: &[[u8; 2]; 32] = pairs.try_into().map_err(|_| BadDigest)?;
        let mut bytes = [0; 32];
        let mut all = 0;
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let (high, low) = (nibble(*high), nibble(*low));
            all |= high | low;
            *byte = high << 4 | low & 0xf;
        }
        if all > 0xf || !rest.is_empty() { Err(BadDigest) } else { Ok(Self(bytes)) }
    }

    /// 64 lower-case hexadecimal digits, as a keys file takes them behind `sha256:`.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// The public id of this key in the hands of `tenant`, as a number: the first 64 bits of SHA-256 over a label, the
    /// tenant and the digest.
    ///
    /// It depends on nothing else, so that it survives restarts and is the same on every replica; the tenant is part of
    /// it, so that a key that moves to another tenant becomes another key. Being a truncated digest of a digest, it
    /// gives a random key away no more than any 64-bit check value does.
    pub(super) fn id_number(&self, tenant: &TenantId) -> u64 {
        let mut hash = Sha256::new_with_prefix(b"coppice-gateway key id 1\0");
        hash.update(tenant.as_str().as_bytes());
        hash.update(b":");
        hash.update(self.0);
        let hash: [u8; 32] = hash.finalize().into();
        hash.first_chunk().copied().map_or(0, u64::from_be_bytes)
    }

    /// Where to look for it in a table: digests are spread evenly already. Only look-ups see bytes that a client can
    /// influence, never insertions, so that nobody can crowd a table.
    pub(super) fn tag(&self) -> u32 {
        self.0.first_chunk().copied().map_or(0, u32::from_be_bytes)
    }

    /// All of it.
    #[must_use]
    pub const fn bytes(&self) -> [u8; 32] {
        self.0
    }
}

impl From<[u8; 32]> for KeyDigest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// The public id of this number: its 16 hexadecimal digits.
pub(super) fn id_of(number: u64) -> KeyId {
    let digits = number.to_be_bytes().map(digits_of);
    // Digits are ASCII.
    KeyId::new(std::str::from_utf8(digits.as_flattened()).unwrap_or_default())
}

/// The value of a hexadecimal digit; more than any has for anything else. A table, since digits of digests are nothing
/// that a processor could predict.
#[expect(clippy::indexing_slicing, reason = "a byte never exceeds 255")]
fn nibble(digit: u8) -> u8 {
    const VALUES: [u8; 256] = {
        let mut values = [0xff; 256];
        let mut value = 0;
        while value < 16 {
            values[b"0123456789abcdef"[value] as usize] = value as u8;
            values[b"0123456789ABCDEF"[value] as usize] = value as u8;
            value += 1;
        }
        values
    };
    VALUES[usize::from(digit)]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| digits_of(*byte)).map(char::from).collect()
}

/// The two digits of a byte.
#[expect(clippy::indexing_slicing, reason = "four bits never exceed 15")]
const fn digits_of(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[(byte >> 4) as usize], DIGITS[(byte & 0xf) as usize]]
}

impl fmt::Debug for KeyDigest {
    /// The first four bytes: enough to tell two apart in a log, too few to look one up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, _) = self.0.split_at(4);
        write!(f, "KeyDigest({}…)", hex(start))
    }
}
