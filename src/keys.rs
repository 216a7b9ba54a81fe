//! Static keys: how lists of them are written, and the immutable set that requests are looked up in.
//!
//! Pure: text in, values out. Reading environment and files, watching and swapping sets happen elsewhere. No key text
//! outlives parsing (a [`KeyEntry`] holds a digest), and no problem reported here quotes any part of a key.

mod digest;
mod json;
mod line;
mod problem;
mod set;

pub use digest::{BadDigest, KeyDigest};
pub use problem::{KeyFault, KeyProblem, Place};
pub use set::KeySet;

use std::sync::Arc;

use crate::clock::UnixTime;
use crate::principal::{Scopes, TenantId};

/// Longest key in bytes; a longer credential is refused before it is looked up.
pub const MAX_KEY: usize = 4096;

/// One valid entry of a key list.
#[derive(Clone, Debug)]
pub struct KeyEntry {
    /// Whose key it is.
    pub tenant: TenantId,
    /// What its owner calls it.
    pub name: Option<Arc<str>>,
    /// Stands for the key, which is forgotten.
    pub digest: KeyDigest,
    /// What it grants, never empty.
    pub scopes: Scopes,
    /// Not valid before.
    pub not_before: Option<UnixTime>,
    /// Not valid from here on.
    pub expires: Option<UnixTime>,
    /// Where it was written, for messages.
    pub place: Place,
}

impl KeyEntry {
    /// Whether both say the same of the same key, wherever they were written.
    #[must_use]
    fn says_the_same(&self, other: &Self) -> bool {
        self.digest == other.digest
            && self.tenant == other.tenant
            && self.scopes == other.scopes
            && self.name == other.name
            && self.not_before == other.not_before
            && self.expires == other.expires
    }
}

/// Reads the line form as a setting holds it: `tenant:key:scope|scope`, separated by commas or newlines.
///
/// # Errors
/// Every problem of every entry; at least one when the list holds no entry.
pub fn parse_list(source: &str, text: &str) -> Result<Vec<KeyEntry>, Vec<KeyProblem>> {
    line::parse(source, text, line::Form::Setting)
}

/// Reads a keys file: a JSON array when the first character is `[` or `{`, else lines with `#` comments.
///
/// A byte order mark is skipped.
///
/// # Errors
/// Every problem with its line and column; at least one when the file holds no entry.
pub fn parse_file(source: &str, text: &str) -> Result<Vec<KeyEntry>, Vec<KeyProblem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with(['[', '{']) {
        json::parse(source, text)
    } else {
        line::parse(source, text, line::Form::File)
    }
}

/// Reads a key, or `sha256:` and the digest of one.
///
/// # Errors
/// [`KeyFault`] when it is empty, too long or could not be sent in a header, or when the digest is malformed.
pub fn parse_key(text: &str) -> Result<KeyDigest, KeyFault> {
    if let Some(hex) = text.strip_prefix("sha256:") {
        return KeyDigest::parse_hex(hex).map_err(KeyFault::Digest);
    }
    match text.len() {
        0 => Err(KeyFault::EmptyKey),
        length if length > MAX_KEY => Err(KeyFault::LongKey),
        _ if !text.bytes().all(|b| b.is_ascii_graphic()) => Err(KeyFault::KeyCharacter),
        _ => Ok(KeyDigest::of(text.as_bytes())),
    }
}

/// Reads scope names; an unknown or empty one is a fault, and so is none at all.
fn parse_scopes<'a>(names: impl Iterator<Item = &'a str>) -> Result<Scopes, KeyFault> {
    let mut scopes = Scopes::default();
    for name in names {
        if name.is_empty() {
            return Err(KeyFault::EmptyScope);
        }
        scopes = scopes.with(name.parse().map_err(|_| KeyFault::UnknownScope)?);
    }
    if scopes.is_empty() { Err(KeyFault::NoScopes) } else { Ok(scopes) }
}

#[cfg(test)]
mod tests;
