//! Which certificate is shown to whom: by the server name that a client asks for (RFC 6066 3).
//!
//! A certificate for the name itself comes before one with a wildcard, of equals the earlier one, and who asks for no
//! name, or for one that nobody has, sees the first. It is for the client to refuse that.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Identity;

type Names = HashMap<Box<str>, Arc<CertifiedKey>>;

/// Certificates by their names.
pub(super) struct Choice {
    exact: Names,
    /// Those with a wildcard, by what is behind its `*.`.
    wildcard: Names,
    first: Arc<CertifiedKey>,
}

impl Choice {
    /// None where there is none to choose from.
    pub(super) fn among(identities: &[Identity]) -> Option<Self> {
        let first = Arc::clone(&identities.first()?.key);
        let mut choice = Self { exact: Names::new(), wildcard: Names::new(), first };
        for identity in identities {
            for name in &identity.certificate.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(domain) => (&mut choice.wildcard, domain),
                    None => (&mut choice.exact, &**name),
                };
                names.entry(name.into()).or_insert_with(|| Arc::clone(&identity.key));
            }
        }
        Some(choice)
    }

    fn by(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let found = name.and_then(|name| {
            let name = name.strip_suffix('.').unwrap_or(name);
            let by_wildcard = || self.wildcard.get(name.split_once('.')?.1);
            self.exact.get(name).or_else(by_wildcard)
        });
        found.unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // In lower case already.
        Some(Arc::clone(self.by(hello.server_name())))
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.exact.keys().chain(self.wildcard.keys());
        f.debug_set().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::PrivateKeyDer;

    use super::*;

    fn identity(names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Identity::new(Path::new("x"), vec![certificate.der().clone()], der).unwrap()
    }

    #[test]
    fn the_exact_name_comes_first_then_a_wildcard_then_the_first_of_all() {
        let identities = [
            identity(&["first.test", "*.shared.test"]),
            identity(&["*.wild.test", "wild.test", "*.shared.test"]),
            identity(&["exact.wild.test", "*.deep.wild.test"]),
        ];
        let choice = Choice::among(&identities).unwrap();
        for (name, expected) in [
            (None, 0),
            (Some("first.test"), 0),
            (Some("unknown.test"), 0),
            (Some("a.first.test"), 0),
            (Some("49983-i1.wild.test"), 1),
            (Some("wild.test"), 1),
            (Some("wild.test."), 1),
            (Some("exact.wild.test"), 2),
            (Some("a.exact.wild.test"), 0),
            (Some("a.deep.wild.test"), 2),
            (Some("deep.wild.test"), 1),
            (Some("a.shared.test"), 0),
            (Some("test"), 0),
        ] {
            assert!(Arc::ptr_eq(choice.by(name), &identities[expected].key), "{name:?}");
        }
        assert!(Choice::among(&[]).is_none());
    }
}
