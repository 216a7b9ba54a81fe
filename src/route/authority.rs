//! Reads `Host` and `:authority`, and says what kind of place they name.
//!
//! Strict on purpose: a host that two readers could read differently is an error, and a label that looks like a
//! sandbox's but is none is never taken for the control plane. Parsing borrows; only a sandbox id is copied.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::target::{SandboxId, Target};

/// A request's authority: a host, perhaps with a port. RFC 3986 section 3.2 less userinfo, escapes and the like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Authority<'a> {
    host: Host<'a>,
    port: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Host<'a> {
    Name(&'a str),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

/// Why an authority is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAuthority {
    /// No host.
    #[error("the host is empty")]
    Empty,
    /// Userinfo, white space, commas, escapes, empty labels, a final dot, no address in the brackets, over 253 bytes.
    #[error("the host is malformed")]
    Malformed,
    /// Not plain decimal from 1 to 65535.
    #[error("the port of the host is malformed")]
    Port,
    /// Directly under the domain, and almost `<port>-<id>`.
    #[error("the host is no <port>-<sandbox id> label")]
    SandboxLabel,
}

/// Reads a port: plain decimal from 1 to 65535, without sign or leading zero.
#[must_use]
pub fn parse_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().ok() } else { None }
}

impl<'a> Authority<'a> {
    /// Takes an authority as it was sent.
    ///
    /// # Errors
    /// [`BadAuthority`] for anything but a DNS name, an IPv4 address or a bracketed IPv6 address, with an optional
    /// port. A name may hold `_` but must not end in a dot.
    pub fn parse(text: &'a str) -> Result<Self, BadAuthority> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(BadAuthority::Malformed)?;
                let address = address.parse().map_err(|_| BadAuthority::Malformed)?;
                let port = match port {
                    "" => None,
                    port => Some(port.strip_prefix(':').ok_or(BadAuthority::Malformed)?),
                };
                (Host::V6(address), port)
            }
            None => {
                let (host, port) = match text.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (text, None),
                };
                let host = match host.parse() {
                    Ok(address) => Host::V4(address),
                    Err(_) => Host::Name(name(host)?),
                };
                (host, port)
            }
        };
        let port = port.map(|port| parse_port(port).ok_or(BadAuthority::Port)).transpose()?;
        Ok(Self { host, port })
    }

    /// The port, if one is given.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// What kind of place the host names, where sandboxes live under `domain`.
    ///
    /// # Errors
    /// [`BadAuthority::SandboxLabel`] for a label directly under the domain whose part before the first `-` is a number
    /// (or nothing) and which still names no port of a sandbox.
    pub fn classify(&self, domain: Option<&Domain>) -> Result<HostKind, BadAuthority> {
        let name = match self.host {
            Host::V4(_) | Host::V6(_) => return Ok(HostKind::Local),
            Host::Name(name) => name,
        };
        let Some(label) = domain.and_then(|domain| domain.label_of(name)) else {
            let is_localhost = name.eq_ignore_ascii_case("localhost");
            return Ok(if is_localhost { HostKind::Local } else { HostKind::Other });
        };
        if label.eq_ignore_ascii_case("sandbox") {
            return Ok(HostKind::Shared);
        }
        match label.split_once('-') {
            Some((port, id)) if port.bytes().all(|b| b.is_ascii_digit()) => {
                let port = parse_port(port).ok_or(BadAuthority::SandboxLabel)?;
                let sandbox = SandboxId::parse(id).map_err(|_| BadAuthority::SandboxLabel)?;
                Ok(HostKind::Sandbox(Target { sandbox, port }))
            }
            _ => Ok(HostKind::Other),
        }
    }
}

/// A DNS name without a final dot; case does not matter.
fn name(text: &str) -> Result<&str, BadAuthority> {
    if text.is_empty() {
        return Err(BadAuthority::Empty);
    }
    // Dots stand between labels, of which none is empty.
    let mut in_label = false;
    for byte in text.bytes() {
        in_label = match byte {
            b'.' if in_label => false,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => true,
            _ => return Err(BadAuthority::Malformed),
        };
    }
    if in_label && text.len() <= 253 { Ok(text) } else { Err(BadAuthority::Malformed) }
}

/// What kind of place a host names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostKind {
    /// `<port>-<id>.<domain>`. The id is all that follows the first `-`, as the client wrote it: old clients append
    /// `-<clientID>`.
    Sandbox(Target),
    /// `sandbox.<domain>`: headers name the sandbox.
    Shared,
    /// An IP address or `localhost`.
    Local,
    /// `api.<domain>` and every other name.
    Other,
}

/// The domain under which sandboxes have their names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domain(Box<str>);

/// A text that is no domain.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a domain name (letters, digits, '-' and '_', without a port)")]
pub struct BadDomain;

impl Domain {
    /// Takes a domain as an operator writes it.
    ///
    /// # Errors
    /// [`BadDomain`] for an address, a port, a final dot or anything that could be no part of a host name.
    pub fn parse(text: &str) -> Result<Self, BadDomain> {
        match Authority::parse(text) {
            Ok(Authority { host: Host::Name(name), port: None }) => {
                Ok(Self(name.to_ascii_lowercase().into()))
            }
            Ok(_) | Err(_) => Err(BadDomain),
        }
    }

    /// The domain in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The label of a name directly under the domain.
    fn label_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let (front, end) = name.split_at_checked(name.len().checked_sub(self.0.len())?)?;
        let label = front.strip_suffix('.')?;
        (end.eq_ignore_ascii_case(&self.0) && !label.contains('.')).then_some(label)
    }
}

#[cfg(test)]
mod tests;
