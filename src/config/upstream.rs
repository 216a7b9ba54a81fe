//! Where requests go.
//!
//! Upstream URLs are never quoted in messages: people put passwords into them.

use std::collections::BTreeMap;
use std::fmt;

use http::uri::{Authority, Uri};

use super::value::decimal;

/// The base URL of an upstream: `http://host[:port][/prefix]`.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    authority: Authority,
    path_prefix: Box<str>,
}

impl UpstreamUrl {
    /// Reads a base URL.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let fail = |message: &str| Err(message.to_owned());
        let uri: Uri = match text.parse() {
            Ok(uri) if !text.contains(['#', '\\']) => uri,
            Ok(_) | Err(_) => return fail("is no URL; write http://HOST:PORT"),
        };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return fail("is no whole URL; write http://HOST:PORT");
        };
        match scheme {
            "http" => {}
            "https" => {
                return fail("TLS to the upstream is not supported by this version; write http://");
            }
            _ => return fail("must start with http://"),
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
        Ok(Self { authority: authority.clone(), path_prefix: path.into() })
    }

    /// Host and port as written; without a port, 80 is meant.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What goes before every path: empty, or a path that starts with `/` and does not end with one.
    #[must_use]
    pub fn path_prefix(&self) -> &str {
        &self.path_prefix
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path_prefix)
    }
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamUrl({self})")
    }
}

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
        for (text, authority, prefix) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", ""),
            ("http://api.internal/", "api.internal", ""),
            ("http://[::1]:80/cubeapi/v1/", "[::1]:80", "/cubeapi/v1"),
            ("HTTP://a", "a", ""),
        ] {
            let url = UpstreamUrl::parse(text).unwrap();
            assert_eq!((url.authority().as_str(), url.path_prefix()), (authority, prefix));
        }
    }

    #[test]
    fn faulty_urls_are_told_without_being_quoted() {
        for (text, said) in [
            ("", "is no URL"),
            ("127.0.0.1:8080", "is no"),
            ("canary", "is no whole URL"),
            ("/canary", "is no whole URL"),
            ("https://canary", "TLS to the upstream is not supported by this version"),
            ("ftp://canary", "must start with http://"),
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
        for items in [
            &["http://a:1", "http://b:2"][..],
            &["49983=http://a:1", "http://b:2"],
            &["49983=http://a:1", "49983=http://b:2"],
            &["*=http://a:1", "*=http://b:2"],
            &["0=http://a:1"],
            &["+80=http://a:1"],
            &["x=http://a:1"],
            &["80=https://a:1"],
            &["80="],
        ] {
            assert!(DataUpstreams::parse(items).is_err(), "{items:?}");
        }
    }
}
