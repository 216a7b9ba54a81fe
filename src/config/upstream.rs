//! Where requests go.
//!
//! Upstream URLs are never quoted in messages: people put passwords into them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use http::uri::{Authority, Uri};

use super::reader::Reader;
use super::table;
use super::trust::Files;
use super::value::decimal;
use crate::http1::{Address, Authorities, ServerName, Tls, server_name};

/// The base URL of an upstream: `http://host[:port][/prefix]`, the same with `https://`, or `unix:/path` of a socket.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    place: Place,
    path_prefix: Box<str>,
}

/// Host and port are as written; without a port, the scheme's own is meant.
#[derive(Clone, PartialEq, Eq)]
enum Place {
    Clear(Authority),
    Tls(Authority, ServerName),
    Unix(Box<Path>),
}

impl UpstreamUrl {
    /// Reads a base URL.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let fail = |message: &str| Err(message.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.len() {
                1..=MAX_SOCKET_PATH
                    if path.starts_with('/') && !path.starts_with("//") && !path.contains('\0') =>
                {
                    let place = Place::Unix(Path::new(path).into());
                    Ok(Self { place, path_prefix: "".into() })
                }
                _ => fail("has no usable path of a socket; write unix:/PATH, of 103 bytes at most"),
            };
        }
        let uri: Uri = match text.parse() {
            Ok(uri) if !text.contains(['#', '\\']) => uri,
            Ok(_) | Err(_) => {
                return fail("is no URL; write http://HOST:PORT, https://HOST or unix:/PATH");
            }
        };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return fail("is no whole URL; write http://HOST:PORT, https://HOST or unix:/PATH");
        };
        if !matches!(scheme, "http" | "https") {
            return fail("must start with http://, https:// or unix:/");
        }
        if authority.as_str().contains('@') {
            return fail("must not hold a user name or password");
        }
        let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        let port = port.strip_prefix(':').map(decimal::<u16>);
        if authority.host().is_empty() || matches!(port, Some(None | Some(0))) {
            return fail("has no usable host and port");
        }
        if uri.query().is_some() {
            return fail("must not hold a query");
        }
        let path = uri.path().strip_suffix('/').unwrap_or(uri.path());
        let segments = path.split('/').skip(1);
        if path.contains('%') || segments.into_iter().any(|part| matches!(part, "" | "." | "..")) {
            return fail("has a path with empty, '.', '..' or escaped segments");
        }
        let place = match (scheme, server_name(authority)) {
            ("https", Some(name)) => Place::Tls(authority.clone(), name),
            ("https", None) => return fail("has a host that no certificate can be for"),
            _ => Place::Clear(authority.clone()),
        };
        Ok(Self { place, path_prefix: path.into() })
    }

    /// Whether it is reached through TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        matches!(self.place, Place::Tls(..))
    }

    /// Where it is; through TLS as `tls` says, if that is how it is reached.
    #[must_use]
    pub fn address(&self, tls: &UpstreamTls) -> Address {
        match &self.place {
            Place::Clear(authority) => Address::clear(authority.clone()),
            Place::Tls(authority, own) => {
                let name = tls.server_name.as_ref().unwrap_or(own);
                Address::tls(authority.clone(), name.clone(), tls.tls.clone())
            }
            Place::Unix(path) => Address::unix(path),
        }
    }

    /// What goes before every path: empty, or a path that starts with `/` and does not end with one.
    #[must_use]
    pub fn path_prefix(&self) -> &str {
        &self.path_prefix
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = &self.path_prefix;
        match &self.place {
            Place::Clear(authority) => write!(f, "http://{authority}{prefix}"),
            Place::Tls(authority, _) => write!(f, "https://{authority}{prefix}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamUrl({self})")
    }
}

/// Longest path of a socket, in bytes: what Linux and FreeBSD both take, with the zero behind it, and some less.
const MAX_SOCKET_PATH: usize = 103;

/// TLS towards upstreams.
#[derive(Clone, Debug, Default)]
pub struct UpstreamTls {
    /// Whom upstreams have to be vouched for by, and who the gateway says it is.
    pub tls: Tls,
    /// The name that upstreams have to prove, in place of the one in their URL.
    pub server_name: Option<ServerName>,
}

/// Reads it. `any` is whether there is any upstream with TLS.
pub(super) fn read_tls(reader: &mut Reader<'_>, any: bool) -> UpstreamTls {
    for setting in FILES.all().into_iter().chain([table::UPSTREAM_TLS_SERVER_NAME]) {
        if let (Some(spelling), false) = (reader.given(setting), any) {
            reader.problem(spelling, "needs an https:// upstream beside it".to_owned());
        }
    }
    let server_name = reader.optional(table::UPSTREAM_TLS_SERVER_NAME, |raw| {
        let authority: Option<Authority> = raw.text()?.parse().ok();
        let host = authority.filter(|authority| authority.port().is_none());
        let name = host.as_ref().and_then(server_name);
        name.ok_or_else(|| "is neither the name of a host nor an IP address".to_owned())
    });
    let given = FILES.authorities(reader, Authorities::none);
    let identity = FILES.identity(reader);
    if !any {
        return UpstreamTls::default();
    }
    let authorities = given.unwrap_or_else(Authorities::of_system);
    if authorities.is_empty() {
        let key = table::UPSTREAM_TLS_CA.key;
        reader.warn(format!(
            "{key}: is not set, and the system trusts no authorities, so that no https:// upstream will be trusted"
        ));
    }
    UpstreamTls { tls: Tls::new(authorities, identity), server_name }
}

const FILES: Files = Files {
    authorities: table::UPSTREAM_TLS_CA,
    certificate: table::UPSTREAM_TLS_CLIENT_CERT,
    key: table::UPSTREAM_TLS_CLIENT_KEY,
};

/// The data plane's upstreams.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct DataUpstreams {
    by_port: BTreeMap<u16, UpstreamUrl>,
    rest: Option<UpstreamUrl>,
}

impl DataUpstreams {
    /// Reads one URL, or `PORT=URL` and `*=URL` items.
    pub(super) fn parse(items: &[&str]) -> Result<Self, String> {
        if let [url] = items
            && !is_labelled(url)
        {
            return Ok(Self { by_port: BTreeMap::new(), rest: Some(UpstreamUrl::parse(url)?) });
        }
        let mut upstreams = Self::default();
        for item in items {
            let Some((label, url)) = item.split_once('=').filter(|_| is_labelled(item)) else {
                return Err("takes one URL alone, or items written PORT=URL and *=URL".to_owned());
            };
            let label = label.trim();
            let url = UpstreamUrl::parse(url.trim()).map_err(|why| format!("{label}: {why}"))?;
            let replaced = if label == "*" {
                upstreams.rest.replace(url)
            } else {
                let port = decimal(label).filter(|port| *port != 0);
                let port = port.ok_or_else(|| format!("'{label}' is no port from 1 to 65535"))?;
                upstreams.by_port.insert(port, url)
            };
            if replaced.is_some() {
                return Err(format!("names {label} twice"));
            }
        }
        Ok(upstreams)
    }

    /// The upstream of a sandbox port.
    #[must_use]
    pub fn for_port(&self, port: u16) -> Option<&UpstreamUrl> {
        self.by_port.get(&port).or(self.rest.as_ref())
    }

    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_port.is_empty() && self.rest.is_none()
    }

    /// The ports with an upstream of their own.
    pub fn by_port(&self) -> impl Iterator<Item = (u16, &UpstreamUrl)> {
        self.by_port.iter().map(|(port, url)| (*port, url))
    }

    /// The upstream of every other port.
    #[must_use]
    pub fn rest(&self) -> Option<&UpstreamUrl> {
        self.rest.as_ref()
    }

    /// Every upstream; several ports may share one.
    pub fn iter(&self) -> impl Iterator<Item = &UpstreamUrl> {
        self.by_port.values().chain(&self.rest)
    }
}

/// Whether an item has a label before its URL: a `=` ahead of any colon.
fn is_labelled(item: &str) -> bool {
    item.find('=').is_some_and(|equals| item.find(':').is_none_or(|colon| equals < colon))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls() {
        for (text, address, prefix) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", ""),
            ("http://api.internal/", "http://api.internal", ""),
            ("http://[::1]:80/cubeapi/v1/", "http://[::1]:80", "/cubeapi/v1"),
            ("HTTP://a", "http://a", ""),
            ("https://a_b.internal", "https://a_b.internal", ""),
            ("HTTPS://[::1]:8443/v1", "https://[::1]:8443", "/v1"),
            ("https://127.0.0.1", "https://127.0.0.1", ""),
            ("unix:/run/api.sock", "unix:/run/api.sock", ""),
        ] {
            let url = UpstreamUrl::parse(text).unwrap();
            let at = url.address(&UpstreamTls::default());
            assert_eq!((&*at.to_string(), url.path_prefix()), (address, prefix));
            assert_eq!(url.to_string(), format!("{address}{prefix}"));
        }
    }

    #[test]
    fn faulty_urls_are_told_without_being_quoted() {
        for (text, said) in [
            ("", "is no URL"),
            ("127.0.0.1:8080", "is no"),
            ("canary", "is no whole URL"),
            ("/canary", "is no whole URL"),
            ("https://canary..canary", "has a host that no certificate can be for"),
            ("https://user:canary@host", "must not hold a user name"),
            ("ftp://canary", "must start with http://, https:// or unix:/"),
            ("unix:canary", "has no usable path of a socket"),
            ("unix:", "has no usable path of a socket"),
            ("unix:/canary\0", "has no usable path of a socket"),
            (&format!("unix:/{}", "canary".repeat(18)), "has no usable path of a socket"),
            ("unix://canary", "has no usable path"),
            ("http://user:canary@host", "must not hold a user name"),
            ("http://canary:0", "no usable host and port"),
            ("http://canary:", "no usable host and port"),
            ("http://canary:99999", "no usable host and port"),
            ("http://host?canary", "must not hold a query"),
            ("http://host/#canary", "is no URL"),
            ("http://host/a//canary", "has a path with"),
            ("http://host/../canary", "has a path with"),
            ("http://host/%2e/canary", "has a path with"),
            ("http://host canary", "is no URL"),
        ] {
            let message = UpstreamUrl::parse(text).unwrap_err();
            assert!(message.contains(said) && !message.contains("canary"), "{text}: {message}");
        }
    }

    #[test]
    fn data_upstreams() {
        let one = DataUpstreams::parse(&["http://a:1"]).unwrap();
        assert_eq!(one.for_port(5).unwrap().to_string(), "http://a:1");
        let some = DataUpstreams::parse(&["49983=http://a:1", "49999 = http://b:2"]).unwrap();
        assert_eq!(some.for_port(49999).unwrap().to_string(), "http://b:2");
        assert_eq!(some.for_port(80), None);
        assert_eq!(some.iter().count(), 2);
        let all = DataUpstreams::parse(&["49983=http://a:1", "*=http://c:3"]).unwrap();
        assert_eq!(all.for_port(80).unwrap().to_string(), "http://c:3");
        let mixed = DataUpstreams::parse(&["49983=https://a", "*=unix:/run/x=y.sock"]).unwrap();
        assert_eq!(mixed.for_port(49983).unwrap().to_string(), "https://a");
        assert_eq!(mixed.for_port(80).unwrap().to_string(), "unix:/run/x=y.sock");
        let socket = DataUpstreams::parse(&["unix:/run/x=y.sock"]).unwrap();
        assert_eq!(socket.for_port(80).unwrap().to_string(), "unix:/run/x=y.sock");
        for items in [
            &["http://a:1", "http://b:2"][..],
            &["49983=http://a:1", "http://b:2"],
            &["49983=http://a:1", "49983=http://b:2"],
            &["*=http://a:1", "*=http://b:2"],
            &["0=http://a:1"],
            &["+80=http://a:1"],
            &["x=http://a:1"],
            &["80=https://a:0"],
            &["80="],
        ] {
            assert!(DataUpstreams::parse(items).is_err(), "{items:?}");
        }
    }
}
