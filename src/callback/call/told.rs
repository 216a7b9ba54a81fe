//! What the service is told of one request: the lines of a head that are about it.
//!
//! Written once, as they go over the wire: every request that nobody remembers takes this.

use std::fmt;
use std::io::Write as _;

use http::HeaderValue;

use super::Failure;
use crate::callback::question::Question;
use crate::credential::Kind;

/// See the module.
pub(in crate::callback) struct Told {
    /// Each with its end. The first is the credential.
    lines: Vec<u8>,
    request_id: HeaderValue,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

impl Told {
    /// Puts a question in words.
    ///
    /// # Errors
    /// [`Failure::Unsendable`].
    pub(in crate::callback) fn of(question: &Question<'_>) -> Result<Self, Failure> {
        let Question { credential, method, path, host, request_id, client } = question;
        let mut told = Self { lines: Vec::with_capacity(512), request_id: (*request_id).clone() };
        let begin = match credential.kind {
            Kind::Bearer => "authorization: Bearer ",
            Kind::ApiKey => "x-api-key: ",
        };
        told.line(begin, credential.expose().as_bytes())?;
        told.line("x-request-path: ", path.as_bytes())?;
        told.line("x-request-method: ", method.as_str().as_bytes())?;
        told.line("x-request-id: ", request_id.as_bytes())?;
        if let Some(host) = host {
            told.line("x-request-host: ", host.as_bytes())?;
        }
        if let Some(client) = client {
            // Writing to memory does not fail.
            let _ = write!(told.lines, "x-request-ip: {}\r\n", client.to_canonical());
        }
        Ok(told)
    }

    fn line(&mut self, begin: &str, value: &[u8]) -> Result<(), Failure> {
        let is_sendable = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
        // All of them without a branch for each, so that many are looked at at once.
        if !value.iter().fold(true, |all, byte| all & is_sendable(byte)) {
            return Err(Failure::Unsendable);
        }
        for piece in [begin.as_bytes(), value, b"\r\n"] {
            self.lines.extend_from_slice(piece);
        }
        Ok(())
    }

    /// The lines of the head.
    pub(super) fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// The request's id, for the log.
    pub(in crate::callback) const fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }
}
