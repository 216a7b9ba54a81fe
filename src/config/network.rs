//! Who is trusted to speak of others: proxies, by network or certificate, and web origins.

use std::net::IpAddr;

use ipnet::IpNet;
use rustls::pki_types::DnsName;

use super::value::decimal;

/// A web origin as browsers send it: `scheme://host[:port]`, lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin(Box<str>);

impl Origin {
    /// Reads an exact origin. Wildcards and `null` are refused: they would trust pages nobody named.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let exact = || {
            let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
            let (name, port) = match host.rsplit_once(':').filter(|_| !host.ends_with(']')) {
                Some((name, port)) => (name, Some(decimal::<u16>(port)?)),
                None => (host, None),
            };
            let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
            let is_host = match address {
                Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
                None => name.split('.').all(is_label),
            };
            (is_host && port != Some(0)).then(|| Self(text.into()))
        };
        let upper = text.bytes().any(|b| b.is_ascii_uppercase());
        exact().filter(|_| !upper).ok_or_else(|| {
            format!(
                "'{text}' is no exact origin; write https://HOST or https://HOST:PORT in lower case"
            )
        })
    }

    /// The origin.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A proxy whose forwarded headers are believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Proxy {
    /// Any with an address of this network.
    Network(IpNet),
    /// Any that proves, with its certificate, to have this DNS name; in lower case.
    Certificate(Box<str>),
}

impl Proxy {
    /// Reads `cert:NAME`, a network, or one address. The whole Internet is no proxy.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("cert:") {
            return match DnsName::try_from(name) {
                Ok(_) => Ok(Self::Certificate(name.to_ascii_lowercase().into())),
                Err(_) => Err(format!("'{name}' is no DNS name of a certificate")),
            };
        }
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let net = net.map_err(|_| {
            format!("'{text}' is no network; write 10.0.0.0/8, an address, or cert:NAME")
        })?;
        if net.prefix_len() == 0 {
            return Err(format!("'{text}' would let everybody forge forwarded headers"));
        }
        Ok(Self::Network(net.trunc()))
    }

    pub(super) const fn network(&self) -> Option<IpNet> {
        match self {
            Self::Network(network) => Some(*network),
            Self::Certificate(_) => None,
        }
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        for text in
            ["https://app.example", "http://localhost:5173", "http://[::1]:80", "http://[::1]"]
        {
            assert_eq!(Origin::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "*",
            "null",
            "https://",
            "https://*.a",
            "https://a/",
            "https://A",
            "a",
            "ftp://a",
            "https://a:",
            "https://a:0",
            "https://a:080",
            "https://u@a",
            "https://a?b",
            "http://[x]",
        ] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn proxies() {
        let network = |text: &str| Proxy::parse(text).unwrap().network().unwrap().to_string();
        assert_eq!(network("10.1.2.3/8"), "10.0.0.0/8");
        assert_eq!(network("::1"), "::1/128");
        assert_eq!(
            Proxy::parse("cert:Edge.Example"),
            Ok(Proxy::Certificate("edge.example".into()))
        );
        for text in [
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/33",
            "proxy",
            "10.0.0",
            "cert:",
            "cert:*.example",
            "cert:a b",
            "Cert:a",
        ] {
            assert!(Proxy::parse(text).is_err(), "{text}");
        }
    }
}
