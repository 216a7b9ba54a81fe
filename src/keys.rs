//! Static keys: how lists of them are written, and the immutable set that requests are looked up in.
//!
//! Pure: text in, values out. Reading environment and files, watching and swapping sets happen elsewhere. No key text
//! outlives parsing (a [`KeySet`] holds digests), and no problem reported here quotes any part of a key. Meant for a
//! million keys: see [`rows`] for what each takes.

mod blocks;
mod digest;
mod draft;
mod file;
mod index;
mod json;
mod line;
mod problem;
mod rows;
mod set;

pub use digest::{BadDigest, KeyDigest};
pub use draft::KeyDraft;
pub use file::{KeyFile, NotText};
pub use problem::{KeyFault, KeyProblem, Place};
pub use set::{Key, KeySet};

use line::{Form, Lines};

use crate::principal::Scopes;

/// Longest key in bytes; a longer credential is refused before it is looked up.
pub const MAX_KEY: usize = 4096;

/// Reads the line form as a setting holds it: `tenant:key:scope|scope`, separated by commas or newlines.
pub fn read_list(draft: &mut KeyDraft, source: &str, text: &str) {
    let mut lines = Lines::new(draft.begin(source), Form::Setting);
    text.split('\n').for_each(|line| lines.read(draft, line));
    lines.end(draft);
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
