//! Where an upstream is, and how it is spoken to there: in clear, through TLS, or over a unix socket.
//!
//! Addresses are made once, from the settings. All requests to one share its connections, whatever names they bear.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::uri::{Authority, Scheme};

use super::tls::{Proof, ServerName, Tls};

/// See the module. Cheap to clone and to compare.
#[derive(Clone, Eq)]
pub struct Address(Arc<Place>);

#[derive(Eq)]
struct Place {
    authority: Authority,
    way: Way,
}

/// How to get there.
#[derive(PartialEq, Eq)]
pub(super) enum Way {
    /// In clear, port 80 unless the authority says otherwise.
    Tcp,
    /// Through TLS, port 443 unless the authority says otherwise, to a server that proves to have this name.
    Tls(ServerName, Tls),
    /// In clear over the socket at this path.
    Unix(PathBuf),
}

impl Address {
    /// Host and port, in clear.
    #[must_use]
    pub fn clear(authority: Authority) -> Self {
        Self(Arc::new(Place { authority, way: Way::Tcp }))
    }

    /// Host and port, through TLS. The server there has to prove that its name is `name`.
    #[must_use]
    pub fn tls(authority: Authority, name: ServerName, tls: Tls) -> Self {
        Self(Arc::new(Place { authority, way: Way::Tls(name, tls) }))
    }

    /// A unix socket, which is called `localhost` by whoever has no better name for it.
    #[must_use]
    pub fn unix(path: &Path) -> Self {
        let authority = Authority::from_static("localhost");
        Self(Arc::new(Place { authority, way: Way::Unix(path.to_owned()) }))
    }

    /// What `Host` says there, as long as a request bears no name of its own.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.0.authority
    }

    /// The scheme of URIs there.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self.0.way {
            Way::Tls(..) => Scheme::HTTPS,
            Way::Tcp | Way::Unix(_) => Scheme::HTTP,
        }
    }

    /// What whoever is there proves from now on; none, where that is nothing.
    #[must_use]
    pub fn proof(&self) -> Option<Proof> {
        match &self.0.way {
            Way::Tls(_, tls) => Some(tls.proof()),
            Way::Tcp | Way::Unix(_) => None,
        }
    }

    pub(super) fn way(&self) -> &Way {
        &self.0.way
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        // By text: letter case makes another address, which costs a connection and not a comparison letter by letter.
        self.authority.as_str() == other.authority.as_str() && self.way == other.way
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.way {
            Way::Tcp | Way::Tls(..) => write!(f, "{}://{}", self.scheme(), self.0.authority),
            Way::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_is_one_address_and_another_way_to_it_another() {
        let (one, other) = (Authority::from_static("a:1"), Authority::from_static("b:1"));
        let (name, tls) = (ServerName::try_from("a").unwrap(), Tls::default());
        let through = Address::tls(one.clone(), name.clone(), tls.clone());
        let all = [
            Address::clear(one.clone()),
            Address::clear(other),
            through.clone(),
            Address::tls(one.clone(), ServerName::try_from("b").unwrap(), tls.clone()),
            Address::unix(Path::new("/run/a")),
            Address::unix(Path::new("/run/b")),
        ];
        for (index, address) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|known| known == address), Some(index), "{address}");
        }
        assert_eq!(Address::clear(one.clone()), all[0]);
        assert_eq!(Address::tls(one, name, tls), through);
        assert_eq!(Address::unix(Path::new("/run/a")), all[4]);
    }
}
