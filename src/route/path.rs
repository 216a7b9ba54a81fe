//! Which request paths are unambiguous enough to decide by.
//!
//! The gateway looks up the raw segments and forwards the same bytes. That is sound only if no upstream can read
//! another route out of them, so every spelling that some server normalises (empty and dot segments, needless or double
//! escapes, backslashes, `;` parameters) is refused here instead of being interpreted. Nothing is decoded, copied or
//! rewritten.

/// A path with one reading: RFC 3986 `path-absolute` without the refused spellings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CanonicalPath<'a> {
    raw: &'a str,
    encoded_slash: bool,
}

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// `*`, a full URL, nothing.
    #[error("the path must start with '/'")]
    NotAbsolute,
    /// Longer than [`CanonicalPath::MAX`].
    #[error("the path is longer than 8 KiB")]
    TooLong,
    /// `//`, also behind an encoded slash.
    #[error("the path holds an empty segment")]
    EmptySegment,
    /// `.` or `..`.
    #[error("the path holds a '.' or '..' segment")]
    DotSegment,
    /// `%` without two hexadecimal digits, or escaped bytes that are no UTF-8.
    #[error("the path holds a broken percent escape")]
    BrokenEscape,
    /// An escaped letter, digit, `-`, `.`, `_` or `~`.
    #[error("the path escapes a character that needs no escape")]
    NeedlessEscape,
    /// `%5C`, `%3B`, `%23`, `%3F` or `%25`.
    #[error("the path holds an encoded delimiter")]
    EncodedDelimiter,
    /// `%2F` where the route takes none.
    #[error("the path holds an encoded slash outside of a template name")]
    EncodedSlash,
    /// A control character, escaped or not.
    #[error("the path holds a control character")]
    Control,
    /// `\`.
    #[error("the path holds a backslash")]
    Backslash,
    /// `;`.
    #[error("the path holds a ';' parameter")]
    Parameter,
    /// Anything else that RFC 3986 does not allow in a path.
    #[error("the path holds a character that must be escaped")]
    Character,
}

impl<'a> CanonicalPath<'a> {
    /// Longest path accepted, in bytes.
    pub const MAX: usize = 8 * 1024;

    /// Takes a request's path, without its query, as it was sent.
    ///
    /// `%2F` is accepted here and remembered: only the route that matches can tell whether it may stand.
    ///
    /// # Errors
    /// [`BadPath`] for a path that could be read in two ways.
    pub fn parse(raw: &'a str) -> Result<Self, BadPath> {
        if raw.len() > Self::MAX {
            return Err(BadPath::TooLong);
        }
        let mut rest = raw.as_bytes().strip_prefix(b"/").ok_or(BadPath::NotAbsolute)?;
        let mut part = Part::default();
        let mut encoded_slash = false;
        loop {
            let plain = rest.iter().take_while(|byte| is_plain(**byte)).count();
            if plain > 0 {
                part.push();
                rest = rest.get(plain..).unwrap_or_default();
            }
            let [byte, tail @ ..] = rest else { break };
            rest = tail;
            match *byte {
                b'/' => {
                    part.check()?;
                    part = Part::default();
                }
                b'.' => part.push_dot(),
                b'%' => {
                    let (escaped, tail) = escape(rest)?;
                    rest = tail;
                    match escaped {
                        b'/' => {
                            encoded_slash = true;
                            part.check()?;
                            part = Part { after_encoded_slash: true, ..Part::default() };
                        }
                        0x80.. => {
                            rest = rest_of_character(escaped, rest)?;
                            part.push();
                        }
                        _ => {
                            may_be_escaped(escaped)?;
                            part.push();
                        }
                    }
                }
                byte => {
                    may_stand(byte)?;
                    part.push();
                }
            }
        }
        // What follows the last slash may be empty: a trailing slash makes another path, not an empty segment.
        if !part.is_empty() || part.after_encoded_slash {
            part.check()?;
        }
        Ok(Self { raw, encoded_slash })
    }

    /// The path as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.raw
    }

    /// Whether some segment holds `%2F`.
    #[must_use]
    pub fn has_encoded_slash(&self) -> bool {
        self.encoded_slash
    }

    /// The first of the [segments](Self::segments).
    #[must_use]
    pub fn first_segment(&self) -> &'a str {
        let rest = self.raw.get(1..).unwrap_or_default();
        let end = memchr::memchr(b'/', rest.as_bytes()).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    /// The raw segments; the last one is empty if the path ends in a slash.
    pub fn segments(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.raw.split('/').skip(1)
    }
}

/// What stands between two slashes, encoded ones included.
#[derive(Clone, Copy, Default)]
struct Part {
    dots: u8,
    other: bool,
    after_encoded_slash: bool,
}

impl Part {
    fn push_dot(&mut self) {
        self.dots = self.dots.saturating_add(1);
    }

    fn push(&mut self) {
        self.other = true;
    }

    fn is_empty(self) -> bool {
        self.dots == 0 && !self.other
    }

    fn check(self) -> Result<(), BadPath> {
        match self.dots {
            _ if self.other => Ok(()),
            0 => Err(BadPath::EmptySegment),
            1 | 2 => Err(BadPath::DotSegment),
            _ => Ok(()),
        }
    }
}

/// RFC 3986 `unreserved`, of which alone the fixed segments of the route table consist.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What most paths consist of, so that it is read quickly: unreserved, and no dot.
fn is_plain(byte: u8) -> bool {
    PLAIN.get(usize::from(byte)).copied().unwrap_or(false)
}

static PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        #[expect(clippy::indexing_slicing, reason = "a byte is below 256; checked when compiled")]
        {
            table[byte as usize] = is_unreserved(byte) && byte != b'.';
        }
        byte += 1;
    }
    table
};

/// `pchar` less `;` and escapes.
fn may_stand(byte: u8) -> Result<(), BadPath> {
    match byte {
        byte if is_unreserved(byte) => Ok(()),
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@' => {
            Ok(())
        }
        b';' => Err(BadPath::Parameter),
        b'\\' => Err(BadPath::Backslash),
        0..=0x1f | 0x7f => Err(BadPath::Control),
        _ => Err(BadPath::Character),
    }
}

fn may_be_escaped(byte: u8) -> Result<(), BadPath> {
    match byte {
        byte if is_unreserved(byte) => Err(BadPath::NeedlessEscape),
        b'\\' | b';' | b'#' | b'?' | b'%' => Err(BadPath::EncodedDelimiter),
        0..=0x1f | 0x7f => Err(BadPath::Control),
        _ => Ok(()),
    }
}

/// Reads the two digits behind a `%`.
fn escape(rest: &[u8]) -> Result<(u8, &[u8]), BadPath> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    let [high, low, tail @ ..] = rest else { return Err(BadPath::BrokenEscape) };
    match (digit(*high), digit(*low)) {
        (Some(high), Some(low)) => Ok((high << 4 | low, tail)),
        _ => Err(BadPath::BrokenEscape),
    }
}

/// Reads the escapes that complete a UTF-8 character, so that an overlong `/` or `.` does not slip through.
fn rest_of_character(lead: u8, mut rest: &[u8]) -> Result<&[u8], BadPath> {
    let mut character = [lead, 0, 0, 0];
    let width = match lead {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Err(BadPath::BrokenEscape),
    };
    for byte in character.iter_mut().take(width).skip(1) {
        let escaped = rest.strip_prefix(b"%").ok_or(BadPath::BrokenEscape)?;
        (*byte, rest) = escape(escaped)?;
    }
    let whole = character.get(..width).and_then(|bytes| str::from_utf8(bytes).ok());
    whole.map(|_| rest).ok_or(BadPath::BrokenEscape)
}

#[cfg(test)]
mod tests;
