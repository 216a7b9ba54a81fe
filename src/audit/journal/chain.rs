//! The links of the chain: how a line is sealed, and how a sealed line is read. Pure.
//!
//! Reading goes by position from the end of the line, not by JSON, so that the bytes that are hashed are the bytes that
//! stand there. The definition is in the module above.

use std::fmt;

use sha2::{Digest as _, Sha256};

const BEFORE_SEQ: &[u8] = b"\"seq\":";
const BEFORE_PREV: &[u8] = b",\"prev\":\"";
const BEFORE_HASH: &[u8] = b",\"hash\":\"";

/// A SHA-256 in lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash([u8; 64]);

impl Hash {
    /// Reads exactly 64 lower-case hexadecimal digits.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let digits: [u8; 64] = text.try_into().ok()?;
        let is_digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        digits.iter().all(is_digit).then_some(Self(digits))
    }

    /// The hash of some bytes.
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 15)).copied().unwrap_or(b'0');
        let mut digits = [b'0'; 64];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(hash.finalize()) {
            *pair = [digit(byte >> 4), digit(byte)];
        }
        Self(digits)
    }

    /// The digits.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The place of a line in the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link {
    /// Its number; the first line has 1.
    pub(super) seq: u64,
    /// Its hash, which the next line has as `prev`.
    pub(super) hash: Hash,
}

impl Link {
    /// What the first line follows.
    pub(super) const GENESIS: Self = Self { seq: 0, hash: Hash([b'0'; 64]) };

    /// The number of the next line. A number from outside may be the last there is.
    pub(super) const fn next(&self) -> u64 {
        self.seq.saturating_add(1)
    }

    /// Makes the JSON object that `text` ends with, from `start` on, the line after this one, and gives its place. None
    /// when it is no object; `text` is then as long as `start`.
    pub(super) fn seal(&self, text: &mut Vec<u8>, start: usize) -> Option<Self> {
        let object = text.get(start..).unwrap_or_default();
        if object.first() != Some(&b'{') || object.last() != Some(&b'}') || object.contains(&b'\n')
        {
            text.truncate(start);
            return None;
        }
        let is_empty = object.len() == 2;
        text.pop();
        if !is_empty {
            text.push(b',');
        }
        let seq = self.next();
        text.extend_from_slice(BEFORE_SEQ);
        text.extend_from_slice(seq.to_string().as_bytes());
        text.extend_from_slice(BEFORE_PREV);
        text.extend_from_slice(&self.hash.0);
        text.push(b'"');
        let hash = Hash::of(&[&self.hash.0, text.get(start..).unwrap_or_default(), b"}"]);
        text.extend_from_slice(BEFORE_HASH);
        text.extend_from_slice(&hash.0);
        text.extend_from_slice(b"\"}\n");
        Some(Self { seq, hash })
    }
}

/// A sealed line, without its newline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Its place, as it says.
    pub(super) link: Link,
    /// The hash of the line before it, as it says.
    pub(super) prev: Hash,
    /// What the hash is over, less a brace.
    hashed: &'a [u8],
}

impl<'a> Line<'a> {
    /// Takes a line apart. None when it has not the form of one.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let (rest, hash) = line.strip_suffix(b"\"}")?.split_last_chunk::<64>()?;
        let hashed = rest.strip_suffix(BEFORE_HASH)?;
        let (rest, prev) = hashed.strip_suffix(b"\"")?.split_last_chunk::<64>()?;
        let rest = rest.strip_suffix(BEFORE_PREV)?;
        let digits = rest.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        let (rest, seq) = rest.split_at_checked(rest.len() - digits)?;
        let rest = rest.strip_suffix(BEFORE_SEQ)?;
        if rest.first() != Some(&b'{') || !(rest.len() == 1 || rest.last() == Some(&b',')) {
            return None;
        }
        let text = std::str::from_utf8(seq).ok().filter(|text| !text.starts_with('0'))?;
        let link = Link { seq: text.parse().ok()?, hash: Hash::parse(hash)? };
        Some(Self { link, prev: Hash::parse(prev)?, hashed })
    }

    /// Whether it comes next after this place, untouched.
    pub(super) fn follows(&self, link: &Link) -> bool {
        self.link.seq == link.next() && self.prev == link.hash && self.is_sound()
    }

    /// Whether its hash fits its content.
    pub(super) fn is_sound(&self) -> bool {
        Hash::of(&[&self.prev.0, self.hashed, b"}"]) == self.link.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_line_is_read_back() {
        let mut link = Link::GENESIS;
        for object in ["{}", "{\"a\":1}", "{\"a\":\"\\\",\\\"seq\\\":7,\"}"] {
            let mut text = format!("kept\n{object}").into_bytes();
            let next = link.seal(&mut text, 5).unwrap();
            let line = text[5..].strip_suffix(b"\n").unwrap();
            let read = Line::parse(line).unwrap();
            assert_eq!((read.link, read.prev, read.is_sound()), (next, link.hash, true));
            let json: serde_json::Value = serde_json::from_slice(line).unwrap();
            assert_eq!(json["seq"], next.seq);
            link = next;
        }
        assert_eq!(link.seq, 3);
    }

    #[test]
    fn what_is_no_object_is_not_sealed() {
        for object in ["", "1", "[]", "{", "\"{}\"", "{\n}"] {
            let mut text = format!("kept{object}").into_bytes();
            assert_eq!(Link::GENESIS.seal(&mut text, 4), None, "{object}");
            assert_eq!(text, b"kept");
        }
    }

    /// The definition is fixed: whoever wrote a verifier for it must be able to rely on it.
    #[test]
    fn the_first_line_is_this() {
        let mut text = b"{\"eventID\":\"e1\"}".to_vec();
        Link::GENESIS.seal(&mut text, 0).unwrap();
        let zeros = "0".repeat(64);
        let hashed = format!("{zeros}{{\"eventID\":\"e1\",\"seq\":1,\"prev\":\"{zeros}\"}}");
        let hash = Hash::of(&[hashed.as_bytes()]);
        let line = format!(
            "{{\"eventID\":\"e1\",\"seq\":1,\"prev\":\"{zeros}\",\"hash\":\"{}\"}}\n",
            hash.as_str()
        );
        assert_eq!(String::from_utf8(text).unwrap(), line);
        let known = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Hash::of(&[]).as_str(), known);
    }
}
