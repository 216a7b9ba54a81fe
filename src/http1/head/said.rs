//! What an answer's head says to this end of its connection: how its body is framed (RFC 9112 6.3), and whether the connection goes on.
//!
//! Pure. Fields are heard one by one, as they stand in the head, so that nothing has to be looked up in it afterwards. What is
//! for this hop alone (RFC 9110 7.6.1) ends here: whoever the answer is for never sees it.

use http::{HeaderName, Method, StatusCode};

use super::Framing;
use crate::chunked::Chunked;
use crate::http1::Fault;

/// Longest body that is believed, in bytes. There is none that long, but sums with it stay numbers.
const MAX_LENGTH: u64 = i64::MAX as u64;

/// What has been heard so far.
#[derive(Debug, Default)]
pub(super) struct Said<'h> {
    /// The first `Content-Length`.
    length: Option<&'h [u8]>,
    /// Whether another one is different.
    lengths_differ: bool,
    /// How many lines of `Transfer-Encoding` there are.
    codings: usize,
    is_chunked: bool,
    connection: Option<Connection>,
    /// What `Connection` says is for this hop alone, too.
    pub(super) listed: Vec<HeaderName>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Connection {
    closes: bool,
    keeps_alive: bool,
}

impl<'h> Said<'h> {
    /// Takes note of a field. Whether it is for others, too.
    pub(super) fn hear(&mut self, name: &[u8], value: &'h [u8]) -> bool {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        // The length picks the few names that matter here; most fields stop at this jump.
        match name.len() {
            2 => !is(b"te"),
            7 => !is(b"upgrade"),
            10 if is(b"connection") => {
                self.connection(value);
                false
            }
            10 => !is(b"keep-alive"),
            14 if is(b"content-length") => {
                self.lengths_differ |= self.length.is_some_and(|first| first != value);
                // One statement is enough.
                self.length.replace(self.length.unwrap_or(value)).is_none()
            }
            16 => !is(b"proxy-connection"),
            17 if is(b"transfer-encoding") => {
                self.codings += 1;
                self.is_chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
                false
            }
            _ => true,
        }
    }

    fn connection(&mut self, value: &[u8]) {
        let said = self.connection.get_or_insert_default();
        for word in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if word.eq_ignore_ascii_case(b"close") {
                said.closes = true;
            } else if word.eq_ignore_ascii_case(b"keep-alive") {
                // What is no text may mean anything, and promises nothing.
                said.keeps_alive |= value.is_ascii();
            } else {
                self.listed.extend(HeaderName::from_bytes(word));
            }
        }
    }

    /// Whether the body is coded, so that a `Content-Length` means nothing.
    pub(super) const fn is_coded(&self) -> bool {
        self.codings > 0
    }

    /// How the body is framed, and whether that lets the connection outlive it.
    ///
    /// # Errors
    /// It cannot be told beyond doubt.
    pub(super) fn framing(
        &self,
        status: StatusCode,
        method: &Method,
        is_http10: bool,
    ) -> Result<(Framing, bool), Fault> {
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok((Framing::Switched, false));
        }
        let length = self.length.map(|digits| self.number(digits)).transpose()?;
        let is_bodiless = *method == Method::HEAD
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !self.is_coded() {
            let framing = match length {
                _ if is_bodiless => Framing::Empty,
                Some(0) => Framing::Empty,
                Some(length) => Framing::Length(length),
                None => Framing::Close,
            };
            return Ok((framing, framing != Framing::Close));
        }
        if is_http10 {
            return Err(Fault::Malformed("it is coded in a way that its version does not have"));
        }
        // Two statements are one too many: the coding counts (RFC 9112 6.1), and nothing after this body is believed.
        let persistent = length.is_none();
        match (is_bodiless, self.is_chunked && self.codings == 1) {
            (true, _) => Ok((Framing::Empty, persistent)),
            (false, true) => Ok((Framing::Chunked(Chunked::of_answer()), persistent)),
            (false, false) => Err(Fault::Malformed("it is coded in a way that was not asked for")),
        }
    }

    /// The length that the head tells, if it is one: repeated, it must be the same.
    fn number(&self, digits: &[u8]) -> Result<u64, Fault> {
        let number = digits.iter().try_fold(0_u64, |number, digit| {
            let digit = Some(digit).filter(|digit| digit.is_ascii_digit())?;
            number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        });
        let is_said = !digits.is_empty() && !self.lengths_differ;
        let number = number.filter(|number| is_said && *number <= MAX_LENGTH);
        number.ok_or(Fault::Malformed("its length cannot be read"))
    }

    /// Whether the upstream goes on with the connection (RFC 9112 9.3).
    pub(super) const fn keeps_alive(&self, is_http10: bool) -> bool {
        match self.connection {
            Some(said) => !said.closes && (!is_http10 || said.keeps_alive),
            None => !is_http10,
        }
    }
}
