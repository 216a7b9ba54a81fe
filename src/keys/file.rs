//! A keys file, taken in pieces as they are read, so that a long one is never in memory as a whole.
//!
//! What a file begins with decides its form. Lines are read as soon as they are there; JSON has to wait for its end.
//! Pieces of keys that are kept until then are overwritten when they are let go of.

use zeroize::Zeroizing;

use super::draft::KeyDraft;
use super::json;
use super::line::{Form, Lines};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The file is not UTF-8 text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not UTF-8 text")]
pub struct NotText;

/// Reads a keys file: a JSON array when the first character is `[` or `{`, else lines with `#` comments.
///
/// A byte order mark is skipped. What is wrong with entries is for the draft to tell.
pub struct KeyFile<'d> {
    draft: &'d mut KeyDraft,
    source: String,
    size: usize,
    form: Option<Reading>,
    /// What has not been read yet: the beginning of a line, or all of it.
    pending: Zeroizing<Vec<u8>>,
}

enum Reading {
    Lines(Lines),
    Json,
}

impl std::fmt::Debug for KeyFile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyFile({}, {} bytes pending)", self.source, self.pending.len())
    }
}

impl<'d> KeyFile<'d> {
    /// Begins a file, known as `source` to the reader of a message, of about `size` bytes.
    #[must_use]
    pub fn new(draft: &'d mut KeyDraft, source: &str, size: usize) -> Self {
        let source = source.to_owned();
        Self { draft, source, size, form: None, pending: Zeroizing::default() }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// [`NotText`]; the draft is of no use then.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), NotText> {
        if self.form.is_none() {
            let before = self.pending.len();
            self.keep(piece);
            // A byte order mark may come in pieces; white space is not looked at again with each.
            let is_begun = before >= BYTE_ORDER_MARK.len();
            let fresh = if is_begun { piece } else { without_mark(&self.pending) };
            let first = fresh.trim_ascii_start().first().copied();
            let (Some(first), true) = (first, self.pending.len() >= BYTE_ORDER_MARK.len()) else {
                return Ok(());
            };
            let begun = std::mem::take(&mut self.pending);
            if matches!(first, b'[' | b'{') {
                self.pending = Zeroizing::new(Vec::with_capacity(self.size));
                self.form = Some(Reading::Json);
            } else {
                self.form = Some(Reading::Lines(self.lines()));
            }
            return self.take(without_mark(&begun));
        }
        let Some(Reading::Lines(lines)) = &mut self.form else {
            self.keep(piece);
            return Ok(());
        };
        let mut rest = piece;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, more) = rest.split_at_checked(end).unwrap_or_default();
            if self.pending.is_empty() {
                lines.read(self.draft, text(line)?);
            } else {
                let mut begun = std::mem::take(&mut self.pending);
                extend(&mut begun, line);
                lines.read(self.draft, text(&begun)?);
            }
            rest = more.get(1..).unwrap_or_default();
        }
        self.keep(rest);
        Ok(())
    }

    /// Reads what is left, after the last piece.
    ///
    /// # Errors
    /// [`NotText`]; the draft is of no use then.
    pub fn end(mut self) -> Result<(), NotText> {
        let pending = std::mem::take(&mut self.pending);
        let pending = text(&pending)?;
        let mut lines = match self.form.take() {
            Some(Reading::Lines(lines)) => lines,
            // Two bytes or white space.
            None if !pending.trim_ascii_start().starts_with(['[', '{']) => self.lines(),
            Some(Reading::Json) | None => {
                json::parse(self.draft, &self.source, pending);
                return Ok(());
            }
        };
        lines.read(self.draft, pending);
        lines.end(self.draft);
        Ok(())
    }

    fn lines(&mut self) -> Lines {
        Lines::new(self.draft.begin(&self.source), Form::File)
    }

    fn keep(&mut self, piece: &[u8]) {
        extend(&mut self.pending, piece);
    }
}

/// Appends without leaving a copy behind when the vector moves.
fn extend(bytes: &mut Zeroizing<Vec<u8>>, piece: &[u8]) {
    let length = bytes.len() + piece.len();
    if length > bytes.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(length.max(2 * bytes.capacity())));
        larger.extend_from_slice(bytes);
        *bytes = larger;
    }
    bytes.extend_from_slice(piece);
}

fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

fn text(bytes: &[u8]) -> Result<&str, NotText> {
    std::str::from_utf8(bytes).map_err(|_| NotText)
}
