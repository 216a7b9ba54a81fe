//! JSON text that is checked once, looked at in place, and edited without being written anew.
//!
//! A gateway owns a few members of the bodies it passes; everything else must survive byte for byte: order, unknown
//! members, number texts, white space. So there is no tree here, only a checked text ([`Document`]), places in it
//! ([`Value`], [`Object`]) and changes to it ([`Edit`]). Pure: no I/O, no recursion, and memory bounded by the text's
//! size.

mod edit;
mod parse;
mod text;
mod value;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

pub use self::edit::Edit;
pub use self::text::{folded, quote};
pub use self::value::{Array, Elements, Found, Kind, Member, Members, Object, Value};

/// What a text may ask of its reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most objects and arrays inside each other; `[]` alone has depth 1.
    pub max_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_depth: 64 }
    }
}

/// A place in a text: from the byte `start` up to, not including, the byte `end`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset of the byte after the last.
    pub end: usize,
}

impl From<Span> for Range<usize> {
    fn from(span: Span) -> Self {
        span.start..span.end
    }
}

/// Why a text is not taken. Offsets count bytes from 0; no text is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JsonError {
    /// Not UTF-8.
    #[error("not UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// Not JSON by RFC 8259.
    #[error("not JSON at byte {0}")]
    Syntax(usize),
    /// The text ends too early.
    #[error("JSON ends too early")]
    Truncated,
    /// Too many objects and arrays inside each other.
    #[error("JSON nested too deeply at byte {0}")]
    TooDeep(usize),
    /// A key that its object already has, perhaps in other case.
    #[error("JSON object repeats a key at byte {0}")]
    RepeatedKey(usize),
}

/// A text that is one JSON value, by RFC 8259 and nothing else.
#[derive(Clone, Copy)]
pub struct Document<'a> {
    text: &'a str,
    root: Value<'a>,
}

impl<'a> Document<'a> {
    /// Checks the whole text. Keys may repeat; see [`Object::check_keys`].
    ///
    /// # Errors
    /// Everything RFC 8259 does not allow, a byte order mark and unpaired surrogates among it, and nesting deeper than
    /// the limit.
    pub fn parse(input: &'a [u8], limits: Limits) -> Result<Self, JsonError> {
        let text =
            str::from_utf8(input).map_err(|error| JsonError::NotUtf8(error.valid_up_to()))?;
        let start = parse::check(text.as_bytes(), limits.max_depth)?;
        Ok(Self { text, root: Value::at(text, start) })
    }

    /// The value the text is.
    #[must_use]
    pub fn root(&self) -> Value<'a> {
        self.root
    }

    /// The text itself.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }
}

impl fmt::Debug for Document<'_> {
    /// Without the text: it may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("len", &self.text.len()).finish_non_exhaustive()
    }
}
