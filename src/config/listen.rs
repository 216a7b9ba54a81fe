//! Where the gateway listens.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::value::decimal;
use crate::route::PortLabel;

/// An address to listen on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listen {
    /// TCP. Port 0 takes any free port.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl Listen {
    /// Reads `IP:PORT`, `[IPv6]:PORT`, `localhost:PORT` or `unix:/path`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("'unix:' needs a path behind it".to_owned()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        if let Some(port) = text.strip_prefix("localhost:").and_then(decimal) {
            return Ok(Self::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            format!("'{text}' is no address; write IP:PORT, [IPv6]:PORT or unix:/path")
        })
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Whether both cannot be bound together. Port 0 never collides.
    pub(super) fn collides(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(a), Self::Tcp(b)) => a.port() != 0 && a == b,
            (Self::Unix(a), Self::Unix(b)) => a == b,
            (Self::Tcp(_), Self::Unix(_)) | (Self::Unix(_), Self::Tcp(_)) => false,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A data-plane listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataListen {
    /// Where it listens.
    pub at: Listen,
    /// What for.
    pub label: PortLabel,
}

impl DataListen {
    /// Reads `ADDR`, `ADDR=PORT` or `ADDR=*`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some((at, label)) = text.rsplit_once('=') else {
            let at = Listen::parse(text)?;
            return match &at {
                Listen::Tcp(address) if address.port() != 0 => {
                    Ok(Self { label: PortLabel::Port(address.port()), at })
                }
                Listen::Tcp(_) | Listen::Unix(_) => Err(format!(
                    "'{text}' does not say which sandbox port it stands for; write {text}=49983 or {text}=*"
                )),
            };
        };
        let label = match label.trim() {
            "*" => PortLabel::Every,
            port => {
                PortLabel::Port(decimal(port).filter(|port| *port != 0).ok_or_else(|| {
                    format!("'{port}' is no sandbox port; write 1 to 65535, or *")
                })?)
            }
        };
        Ok(Self { at: Listen::parse(at.trim())?, label })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, shown, local) in [
            ("127.0.0.1:3000", "127.0.0.1:3000", true),
            ("localhost:0", "127.0.0.1:0", true),
            ("[::1]:3000", "[::1]:3000", true),
            ("[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:3000", "0.0.0.0:3000", false),
            ("[::]:3000", "[::]:3000", false),
            ("10.0.0.1:80", "10.0.0.1:80", false),
            ("unix:/run/gate.sock", "unix:/run/gate.sock", true),
        ] {
            let listen = Listen::parse(text).unwrap();
            assert_eq!((listen.to_string().as_str(), listen.is_local()), (shown, local));
        }
        for text in [
            "",
            "3000",
            ":3000",
            "127.0.0.1",
            "::1:3000",
            "host:3000",
            "127.0.0.1:65536",
            "127.0.0.1:+1",
            "127.0.0.1:3000/",
            "http://127.0.0.1:3000",
            "unix:",
            "*:80",
        ] {
            assert!(Listen::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn labels() {
        for (text, label) in [
            ("127.0.0.1:49983", PortLabel::Port(49983)),
            ("127.0.0.1:8000=49999", PortLabel::Port(49999)),
            ("127.0.0.1:0=*", PortLabel::Every),
            ("unix:/run/a=b=80", PortLabel::Port(80)),
            ("[::1]:80 = *", PortLabel::Every),
        ] {
            assert_eq!(DataListen::parse(text).unwrap().label, label, "{text}");
        }
        for text in [
            "127.0.0.1:0",
            "unix:/run/envd",
            "127.0.0.1:80=",
            "127.0.0.1:80=0",
            "127.0.0.1:80=+80",
            "127.0.0.1:80=080",
            "127.0.0.1:80=65536",
            "127.0.0.1:80=x",
            "=80",
        ] {
            assert!(DataListen::parse(text).is_err(), "{text}");
        }
    }
}
