//! The rules one HTTP/1 request head must obey, checked line by line as it arrives (RFC 9112, and stricter).
//!
//! Pure: no I/O, no clock, no allocation. Lines are judged in order and each once, so that a verdict never depends on how
//! the network cut the head into pieces. What passes is text that no two HTTP parsers read differently.

use memchr::memchr;

use super::plain;
use super::refusal::Refusal;
use crate::chunked::is_token;
use crate::request::upgrade::{Wish, trim};

/// Largest Content-Length accepted: what fits an `i64`, as most peers store it.
const MAX_CONTENT_LENGTH: u64 = i64::MAX as u64;

/// How long the body after a head is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// This many bytes.
    Length(u64),
    /// Chunked.
    Chunked,
}

/// What is known of a head that passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    /// Bytes up to and including the empty line.
    pub(super) len: usize,
    /// What follows.
    pub(super) framing: Framing,
    /// Whether it asks its connection to become something else.
    pub(super) asks: bool,
}

/// A head that is being checked.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct HeadCheck {
    /// Where the first line that has not been judged begins.
    line_start: usize,
    /// How far LF has been looked for.
    scanned: usize,
    lines: usize,
    http_11: bool,
    has_host: bool,
    chunked: bool,
    length: Option<u64>,
    wish: Wish,
}

impl HeadCheck {
    /// Looks at what has arrived since the last call. `head` always begins where the head does.
    ///
    /// `None` while the head is incomplete.
    pub(super) fn advance(
        &mut self,
        head: &[u8],
        max_head: usize,
        max_headers: usize,
    ) -> Result<Option<Head>, Refusal> {
        let window = head.get(..max_head).unwrap_or(head);
        loop {
            if self.scanned == self.line_start {
                if self.lines > 0 && unjudged(window, self.line_start).starts_with(b"\r\n") {
                    self.line_start += 2;
                    return self.finish().map(Some);
                }
                if self.plain_line(window, max_headers)? {
                    continue;
                }
            }
            let unseen = window.get(self.scanned..).unwrap_or_default();
            let Some(offset) = memchr(b'\n', unseen) else {
                self.scanned = window.len();
                return if head.len() >= max_head { Err(Refusal::HeadTooLarge) } else { Ok(None) };
            };
            let lf = self.scanned + offset;
            let line = window.get(self.line_start..lf).unwrap_or_default();
            let line = line.strip_suffix(b"\r").ok_or(Refusal::BareLf)?;
            self.scanned = lf + 1;
            self.line_start = lf + 1;
            if self.lines == 0 {
                self.request_line(line)?;
            } else if line.is_empty() {
                return self.finish().map(Some);
            } else if self.lines > max_headers {
                return Err(Refusal::TooManyHeaders);
            } else {
                self.field(line)?;
            }
            self.lines += 1;
        }
    }

    /// Reads the next line the quick way; false if that says nothing about it.
    fn plain_line(&mut self, window: &[u8], max_headers: usize) -> Result<bool, Refusal> {
        let unseen = unjudged(window, self.line_start);
        let len = if self.lines == 0 {
            let Some(line) = plain::request_line(unseen) else { return Ok(false) };
            self.http_11 = line.http_11;
            line.len
        } else {
            let Some((name, value, len)) = plain::field(unseen) else { return Ok(false) };
            if self.lines > max_headers {
                return Err(Refusal::TooManyHeaders);
            }
            self.known_field(name, value)?;
            len
        };
        self.line_start += len;
        self.scanned = self.line_start;
        self.lines += 1;
        Ok(true)
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if line.is_empty() {
            return Err(Refusal::EmptyLine);
        }
        if let Some(refusal) = line.iter().find_map(|&byte| control(byte)) {
            return Err(refusal);
        }
        let mut words = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Refusal::RequestLine);
        };
        if method.is_empty() || target.is_empty() || !method.iter().all(|&byte| is_token(byte)) {
            return Err(Refusal::RequestLine);
        }
        self.http_11 = match version {
            b"HTTP/1.1" => true,
            b"HTTP/1.0" => false,
            other if other.starts_with(b"HTTP/") => return Err(Refusal::Version),
            _ => return Err(Refusal::RequestLine),
        };
        if matches!(method, b"CONNECT" | b"TRACE") {
            return Err(Refusal::Method);
        }
        check_target(method, target)
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let name_len = line.iter().position(|&byte| !is_token(byte)).ok_or(Refusal::HeaderName)?;
        let (name, rest) = line.split_at_checked(name_len).ok_or(Refusal::HeaderName)?;
        let value = match rest.split_first() {
            Some((b':', value)) if !name.is_empty() => value,
            Some((b' ' | b'\t', _)) if name.is_empty() => return Err(Refusal::ObsFold),
            Some((b' ' | b'\t', after)) => {
                let colon = after.iter().find(|&&byte| byte != b' ' && byte != b'\t');
                return Err(match colon {
                    Some(b':') => Refusal::SpaceBeforeColon,
                    _ => Refusal::HeaderName,
                });
            }
            Some((&byte, _)) => return Err(control(byte).unwrap_or(Refusal::HeaderName)),
            None => return Err(Refusal::HeaderName),
        };
        check_value(value)?;
        self.known_field(name, value)
    }

    /// Notes what a header means that counts here.
    fn known_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        // The length picks the few names that matter here; most headers stop at this jump.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host()?,
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.wish.see_upgrade(value),
            10 if name.eq_ignore_ascii_case(b"connection") => self.wish.see_connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let chunked = trim(value).eq_ignore_ascii_case(b"chunked");
                if !chunked || std::mem::replace(&mut self.chunked, true) {
                    return Err(Refusal::TransferEncoding);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn host(&mut self) -> Result<(), Refusal> {
        let repeated = std::mem::replace(&mut self.has_host, true);
        if repeated { Err(Refusal::RepeatedHost) } else { Ok(()) }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() || value.contains(&b',') {
            return Err(Refusal::RepeatedContentLength);
        }
        let digits = trim(value);
        if digits.is_empty() {
            return Err(Refusal::ContentLength);
        }
        let mut length = 0_u64;
        for &byte in digits {
            if !byte.is_ascii_digit() {
                return Err(Refusal::ContentLength);
            }
            length = length
                .checked_mul(10)
                .and_then(|tens| tens.checked_add(u64::from(byte - b'0')))
                .filter(|&length| length <= MAX_CONTENT_LENGTH)
                .ok_or(Refusal::ContentLength)?;
        }
        self.length = Some(length);
        Ok(())
    }

    fn finish(&self) -> Result<Head, Refusal> {
        if self.http_11 && !self.has_host {
            return Err(Refusal::MissingHost);
        }
        let framing = match (self.chunked, self.length) {
            (true, Some(_)) => return Err(Refusal::AmbiguousLength),
            (true, None) if !self.http_11 => return Err(Refusal::TransferEncodingVersion),
            (true, None) => Framing::Chunked,
            (false, length) => Framing::Length(length.unwrap_or(0)),
        };
        // HTTP/1.0 has no upgrade (RFC 9110, section 7.8).
        let asks = self.http_11 && self.wish.is_whole();
        Ok(Head { len: self.line_start, framing, asks })
    }
}

fn unjudged(window: &[u8], line_start: usize) -> &[u8] {
    window.get(line_start..).unwrap_or_default()
}

/// Origin-form of RFC 9112 section 3.2.1, or the `*` of `OPTIONS`.
///
/// Browsers send a few bytes as they are that RFC 3986 wants encoded, others in a path than in a query. Refused is only
/// what the HTTP server's own parser would refuse; what a path means is for later ranks to say.
fn check_target(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    let mut encoded_only = b'`';
    for &byte in target {
        match byte {
            b'#' => return Err(Refusal::TargetFragment),
            b'?' => encoded_only = b'"',
            b'<' | b'>' => return Err(Refusal::TargetCharacter),
            _ if byte == encoded_only || !byte.is_ascii_graphic() => {
                return Err(Refusal::TargetCharacter);
            }
            _ => {}
        }
    }
    if target.starts_with(b"/") || (method == b"OPTIONS" && target == b"*") {
        Ok(())
    } else {
        Err(Refusal::TargetForm)
    }
}

/// Refuses what is no field-value of RFC 9110 section 5.5. Bytes from 0x80 on are allowed, as they are there.
fn check_value(value: &[u8]) -> Result<(), Refusal> {
    // No early exit, so that the compiler can look at many bytes at a time.
    let bad = value
        .iter()
        .fold(false, |bad, &byte| bad | ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f));
    if !bad {
        return Ok(());
    }
    let refusal = value.iter().filter(|&&byte| byte != b'\t').find_map(|&byte| control(byte));
    Err(refusal.unwrap_or(Refusal::ControlCharacter))
}

/// The refusal for a control character, HTAB included.
fn control(byte: u8) -> Option<Refusal> {
    match byte {
        b'\r' => Some(Refusal::BareCr),
        0..=0x1f | 0x7f => Some(Refusal::ControlCharacter),
        _ => None,
    }
}
