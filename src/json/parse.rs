//! Says whether a text is JSON (RFC 8259), in one pass with an explicit stack.
//!
//! Everything else in this module reads only texts that passed here, so no rule may be loosened without looking there.

use memchr::memchr2;

use super::JsonError;

/// Checks a whole text. Where its value begins, if it is JSON.
pub(super) fn check(text: &[u8], max_depth: usize) -> Result<usize, JsonError> {
    let mut parser = Parser { text, at: 0, open: Vec::new(), max_depth };
    parser.skip_space();
    let start = parser.at;
    parser.value()?;
    parser.skip_space();
    if parser.at == text.len() { Ok(start) } else { Err(JsonError::Syntax(parser.at)) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Object,
    Array,
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    open: Vec<Open>,
    max_depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// What is wrong here: something, or the lack of anything.
    fn wrong(&self) -> JsonError {
        if self.at < self.text.len() { JsonError::Syntax(self.at) } else { JsonError::Truncated }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return Err(self.wrong());
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self) -> Result<(), JsonError> {
        loop {
            let complete = match self.peek() {
                Some(b'{') => self.enter(Open::Object, b'}')?,
                Some(b'[') => self.enter(Open::Array, b']')?,
                Some(b'"') => self.string().map(|()| true)?,
                Some(b'-' | b'0'..=b'9') => self.number().map(|()| true)?,
                Some(b't') => self.literal(b"true").map(|()| true)?,
                Some(b'f') => self.literal(b"false").map(|()| true)?,
                Some(b'n') => self.literal(b"null").map(|()| true)?,
                _ => return Err(self.wrong()),
            };
            if complete && self.leave()? {
                return Ok(());
            }
        }
    }

    /// Opens an object or array up to its first value. `true` if it is empty, and closed again.
    fn enter(&mut self, open: Open, close: u8) -> Result<bool, JsonError> {
        if self.open.len() >= self.max_depth {
            return Err(JsonError::TooDeep(self.at));
        }
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(true);
        }
        self.open.push(open);
        if open == Open::Object {
            self.key()?;
        }
        Ok(false)
    }

    /// After a value: closes what ends here. `true` if nothing is open; otherwise another value follows.
    fn leave(&mut self) -> Result<bool, JsonError> {
        while let Some(&open) = self.open.last() {
            self.skip_space();
            match (open, self.peek()) {
                (Open::Object, Some(b'}')) | (Open::Array, Some(b']')) => {
                    self.at += 1;
                    self.open.pop();
                }
                (_, Some(b',')) => {
                    self.at += 1;
                    self.skip_space();
                    if open == Open::Object {
                        self.key()?;
                    }
                    return Ok(false);
                }
                _ => return Err(self.wrong()),
            }
        }
        Ok(true)
    }

    /// A key with its colon, up to its value.
    fn key(&mut self) -> Result<(), JsonError> {
        self.string()?;
        self.skip_space();
        self.expect(b':')?;
        self.skip_space();
        Ok(())
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), JsonError> {
        word.iter().try_for_each(|&byte| self.expect(byte))
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.wrong()) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.expect(b'"')?;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            let run = rest.get(..plain).unwrap_or_default();
            // No early exit, so that the compiler can look at many bytes at a time.
            if run.iter().fold(false, |bad, &byte| bad | (byte < b' ')) {
                let control = run.iter().position(|&byte| byte < b' ').unwrap_or(0);
                return Err(JsonError::Syntax(self.at + control));
            }
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(_) => self.escape()?,
                None => return Err(JsonError::Truncated),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.expect(b'\\')?;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => match self.unit()? {
                0xd800..=0xdbff => {
                    self.expect(b'\\')?;
                    match self.unit()? {
                        0xdc00..=0xdfff => Ok(()),
                        _ => Err(JsonError::Syntax(start)),
                    }
                }
                0xdc00..=0xdfff => Err(JsonError::Syntax(start)),
                _ => Ok(()),
            },
            _ => Err(self.wrong()),
        }
    }

    /// The UTF-16 unit of a `u` escape: four hexadecimal digits.
    fn unit(&mut self) -> Result<u32, JsonError> {
        self.expect(b'u')?;
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit << 4 | digit.ok_or_else(|| self.wrong())?;
            self.at += 1;
        }
        Ok(unit)
    }
}
