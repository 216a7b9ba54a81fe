//! What the service is told of one request: the lines of a head that are about it.
//!
//! Written once, as they go over the wire: every request that nobody remembers takes this.

use std::fmt;
use std::io::Write as _;
use std::net::IpAddr;

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
        // These two end no line.
        told.sound("x-request-method: ", method.as_str().as_bytes());
        told.sound("x-request-id: ", request_id.as_bytes());
        if let Some(host) = host {
            told.line("x-request-host: ", host.as_bytes())?;
        }
        if let Some(client) = client {
            told.lines.extend_from_slice(b"x-request-ip: ");
            told.address(client.to_canonical());
            told.lines.extend_from_slice(b"\r\n");
        }
        Ok(told)
    }

    fn line(&mut self, begin: &str, value: &[u8]) -> Result<(), Failure> {
        let is_sendable = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
        // All of them without a branch for each, so that many are looked at at once.
        if !value.iter().fold(true, |all, byte| all & is_sendable(byte)) {
            return Err(Failure::Unsendable);
        }
        self.sound(begin, value);
        Ok(())
    }

    fn sound(&mut self, begin: &str, value: &[u8]) {
        for piece in [begin.as_bytes(), value, b"\r\n"] {
            self.lines.extend_from_slice(piece);
        }
    }

    /// Most have four numbers, which are quicker written than formatted.
    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                for (place, octet) in address.octets().into_iter().enumerate() {
                    let digits = [octet / 100, octet / 10 % 10, octet % 10];
                    let leading = usize::from(octet < 100) + usize::from(octet < 10);
                    if place > 0 {
                        self.lines.push(b'.');
                    }
                    self.lines.extend(digits.into_iter().skip(leading).map(|digit| b'0' + digit));
                }
            }
            // Writing to memory does not fail.
            IpAddr::V6(address) => _ = write!(self.lines, "{address}"),
        }
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_formatted() {
        let octets = [0, 1, 9, 10, 42, 99, 100, 105, 199, 200, 255];
        let v4 = octets.map(|octet| IpAddr::from(Ipv4Addr::new(octet, 127, 0, octet)));
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        for address in v4.into_iter().chain([v6]) {
            let request_id = HeaderValue::from_static("r");
            let mut told = Told { lines: Vec::new(), request_id };
            told.address(address);
            assert_eq!(told.lines, address.to_string().into_bytes());
        }
    }
}
