//! The sockets that are open, as doors: whether a connection that was let in elsewhere would be let in here.
//!
//! A process that takes another's place may have other settings. What a connection means is for them to say, not for the
//! process that it comes from.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Adopted, Socket, Stream};
use crate::listener::bind;
use crate::route::Listener;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Doors {
    open: Vec<(Place, Listener)>,
    /// Whether TLS is spoken at all that are reached over a network.
    is_secure: bool,
}

/// Where a socket is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    Tcp(SocketAddr),
    Unix(Option<PathBuf>),
}

impl Doors {
    /// Those that these sockets are.
    pub(super) fn of(sockets: &[Socket], is_secure: bool) -> io::Result<Self> {
        let open = sockets.iter().map(|Socket { listener, socket }| {
            let place = match socket {
                bind::Socket::Tcp(socket) => Place::Tcp(socket.local_addr()?),
                bind::Socket::Unix(socket) => Place::unix(&socket.local_addr()?),
            };
            Ok((place, *listener))
        });
        Ok(Self { open: open.collect::<io::Result<_>>()?, is_secure })
    }

    /// Whether a connection may stay that another process let in: not in clear text where TLS is spoken now, and through
    /// no door that is closed or leads elsewhere.
    pub(super) fn admit(&self, adopted: &Adopted) -> io::Result<bool> {
        let place = match &adopted.stream {
            Stream::Tcp(_) if self.is_secure => return Ok(false),
            Stream::Tcp(stream) => Place::Tcp(stream.local_addr()?),
            Stream::Unix(stream) => Place::unix(&stream.local_addr()?),
        };
        Ok(self
            .open
            .iter()
            .any(|(door, listener)| *listener == adopted.listener && door.is_way_to(&place)))
    }
}

impl Place {
    fn unix(address: &std::os::unix::net::SocketAddr) -> Self {
        Self::Unix(address.as_pathname().map(PathBuf::from))
    }

    /// Whether somebody who connects here has come to `other`: an unspecified address stands for all of its kind.
    fn is_way_to(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(door), Self::Tcp(other)) => {
                let (own, met) = (door.ip(), other.ip());
                let is_it = own == met || (own.is_unspecified() && own.is_ipv4() == met.is_ipv4());
                is_it && door.port() == other.port()
            }
            (Self::Unix(door), Self::Unix(other)) => door == other,
            (Self::Tcp(_), Self::Unix(_)) | (Self::Unix(_), Self::Tcp(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_stands_for_all_of_its_kind() {
        let tcp = |text: &str| Place::Tcp(text.parse().unwrap());
        let unix = |text: &str| Place::Unix(Some(text.into()));
        for (door, way, expected) in [
            (tcp("127.0.0.1:1"), tcp("127.0.0.1:1"), true),
            (tcp("127.0.0.1:1"), tcp("127.0.0.1:2"), false),
            (tcp("127.0.0.1:1"), tcp("127.0.0.2:1"), false),
            (tcp("0.0.0.0:1"), tcp("127.0.0.2:1"), true),
            (tcp("0.0.0.0:1"), tcp("127.0.0.2:2"), false),
            (tcp("0.0.0.0:1"), tcp("[::1]:1"), false),
            (tcp("[::]:1"), tcp("[::1]:1"), true),
            (tcp("[::]:1"), tcp("[::ffff:127.0.0.1]:1"), true),
            (tcp("[::]:1"), tcp("127.0.0.1:1"), false),
            (unix("/a"), unix("/a"), true),
            (unix("/a"), unix("/b"), false),
            (unix("/a"), tcp("127.0.0.1:1"), false),
        ] {
            assert_eq!(door.is_way_to(&way), expected, "{door:?} {way:?}");
        }
    }
}
