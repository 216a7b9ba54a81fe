//! Decides whether a request is for the control plane or for one port of one sandbox, and for which.
//!
//! A pure function of where the request arrived, its `Host`, its `E2b-Sandbox-*` headers and the sandbox that its token
//! names. The answer is the one target that is authorised and forwarded; sources that contradict it are an error, so
//! that no later hop can read another target out of the same request. Whose sandbox it is, is decided elsewhere.

use std::str::FromStr;

use http::{HeaderMap, HeaderName};

use super::HostKind;
use super::authority::parse_port;
use crate::target::{SandboxId, Target};

/// The header that names a sandbox on shared hosts.
pub const SANDBOX_ID: HeaderName = HeaderName::from_static("e2b-sandbox-id");
/// The header that names a port of it.
pub const SANDBOX_PORT: HeaderName = HeaderName::from_static("e2b-sandbox-port");

/// What a listener is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listener {
    /// The control plane, and what its `Host` sends to the data plane.
    Control {
        /// Whether an address or `localhost` as `Host` may also reach the data plane, for clients behind one tunnel.
        one_port: bool,
    },
    /// The data plane only.
    Data(PortLabel),
}

/// The sandbox port a data-plane listener stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortLabel {
    /// This one.
    Port(u16),
    /// `*`: whichever the request names.
    Every,
}

/// A text that is no port label.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a sandbox port (1 to 65535, or '*' for every port)")]
pub struct BadPortLabel;

impl FromStr for PortLabel {
    type Err = BadPortLabel;

    fn from_str(text: &str) -> Result<Self, BadPortLabel> {
        match text {
            "*" => Ok(Self::Every),
            _ => parse_port(text).map(Self::Port).ok_or(BadPortLabel),
        }
    }
}

/// What is known of a request's sandbox token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SandboxToken<'a> {
    /// None was sent.
    Absent,
    /// One was sent, and it is not the gateway's.
    Unreadable,
    /// A genuine one names this sandbox.
    Names(&'a SandboxId),
}

/// Where a request goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Plane {
    /// To the sandbox API, the registry or the gateway itself. `E2b-Sandbox-*` headers mean nothing there.
    Control,
    /// To a port of a sandbox.
    Data(Target),
}

/// Why a data-plane request is for nothing in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// A header is there twice.
    #[error("E2b-Sandbox-Id or E2b-Sandbox-Port is repeated")]
    Duplicate,
    /// `E2b-Sandbox-Id` is no id.
    #[error("E2b-Sandbox-Id is malformed")]
    Id,
    /// `E2b-Sandbox-Port` is no plain decimal from 1 to 65535.
    #[error("E2b-Sandbox-Port is malformed")]
    Port,
    /// Two sources name different sandboxes or ports.
    #[error("the host, the listener and the E2b-Sandbox headers name different targets")]
    Disagreement,
    /// Nothing names a sandbox.
    #[error(
        "no sandbox is named: use <port>-<id>.<domain>, or E2b-Sandbox-Id on an address or sandbox.<domain>"
    )]
    NoSandbox,
    /// Nothing names a port.
    #[error("no sandbox port is named: use <port>-<id>.<domain> or E2b-Sandbox-Port")]
    NoPort,
    /// Only a token could have named the sandbox, and it is not genuine. To be answered as a bad credential, not as a
    /// bad request.
    #[error("the sandbox token is not valid")]
    UnreadableToken,
}

/// All that says where a request is aimed.
#[derive(Clone, Copy, Debug)]
pub struct Aim<'a> {
    /// Where it arrived.
    pub listener: Listener,
    /// What its `Host` names.
    pub host: &'a HostKind,
    /// Its headers, of which only two are read.
    pub headers: &'a HeaderMap,
    /// Its sandbox token.
    pub token: SandboxToken<'a>,
}

impl Aim<'_> {
    /// Decides. `listed_port` says which sandbox port lists the request's path, envd's or the interpreter's; it is
    /// asked only for requests that one listener for both planes leaves undecided, and there also stands in for the
    /// port of clients that send nothing but a token.
    ///
    /// # Errors
    /// [`BadTarget`] for a data-plane request that does not name exactly one port of one sandbox. A token for another
    /// sandbox is no contradiction here; it is the authorisation that will not find it good for this one.
    pub fn resolve(&self, listed_port: impl FnOnce() -> Option<u16>) -> Result<Plane, BadTarget> {
        match (self.listener, self.host) {
            (Listener::Data(PortLabel::Port(label)), _) => self.data(Some(label), None),
            (Listener::Data(PortLabel::Every), _)
            | (Listener::Control { .. }, HostKind::Sandbox(_) | HostKind::Shared) => {
                self.data(None, None)
            }
            (Listener::Control { one_port: true }, HostKind::Local) if self.names_a_sandbox() => {
                match listed_port() {
                    Some(listed) => self.data(None, Some(listed)),
                    None => Ok(Plane::Control),
                }
            }
            (Listener::Control { .. }, HostKind::Local | HostKind::Other) => Ok(Plane::Control),
        }
    }

    fn names_a_sandbox(&self) -> bool {
        self.token != SandboxToken::Absent
            || (self.headers.contains_key(SANDBOX_ID) && self.headers.contains_key(SANDBOX_PORT))
    }

    fn data(&self, label: Option<u16>, listed: Option<u16>) -> Result<Plane, BadTarget> {
        let header_id = single(self.headers, &SANDBOX_ID)?
            .map(|value| value.and_then(|id| SandboxId::parse(id).ok()).ok_or(BadTarget::Id))
            .transpose()?;
        let header_port = single(self.headers, &SANDBOX_PORT)?
            .map(|value| value.and_then(parse_port).ok_or(BadTarget::Port))
            .transpose()?;
        let (from_host, headers_count) = match self.host {
            HostKind::Sandbox(target) => (Some(target), false),
            HostKind::Shared | HostKind::Local => (None, true),
            HostKind::Other => (None, false),
        };
        let host_port = from_host.map(|target| target.port);

        let port = label
            .or(host_port)
            .or(header_port.filter(|_| headers_count))
            .or(listed)
            .ok_or(BadTarget::NoPort);
        let sandbox = match (from_host, &header_id, self.token) {
            (Some(target), _, _) => &target.sandbox,
            (None, Some(id), _) if headers_count => id,
            (None, _, SandboxToken::Names(id)) => id,
            (None, _, SandboxToken::Unreadable) => return Err(BadTarget::UnreadableToken),
            (None, _, SandboxToken::Absent) => return Err(BadTarget::NoSandbox),
        };
        let port = port?;

        // Headers that may not name the target may still not contradict it.
        let ports_agree =
            [label, host_port, header_port].into_iter().flatten().all(|other| other == port);
        let ids_agree = header_id.as_ref().is_none_or(|id| same_sandbox(id, sandbox));
        if ports_agree && ids_agree {
            Ok(Plane::Data(Target { sandbox: sandbox.clone(), port }))
        } else {
            Err(BadTarget::Disagreement)
        }
    }
}

/// The value of a header that may be there once; `Some(None)` if it is no visible ASCII.
fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<Option<&'a str>>, BadTarget> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        Some(_) => Err(BadTarget::Duplicate),
        None => Ok(first.map(|value| value.to_str().ok())),
    }
}

/// Whether two ids are the same, or one is the other with a `-<clientID>` behind it.
fn same_sandbox(a: &SandboxId, b: &SandboxId) -> bool {
    let (a, b) = (a.as_str(), b.as_str());
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests;
