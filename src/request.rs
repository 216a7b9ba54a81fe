//! Where a request came from, as the edge found out, the headers that tell the upstream, and what it asks its
//! connection to become.
//!
//! Vocabulary, and whom to believe about it: a client says where it comes from only through a configured proxy.

pub mod trace;
pub mod upgrade;

use std::net::IpAddr;
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use ipnet::IpNet;

pub use trace::{TRACEPARENT, TRACESTATE, Trace, traceparent};

use crate::route::Listener;

/// The request's id, on requests to the control plane and on every answer.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The client's address, behind those that trusted proxies reported.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `http` or `https`, as the client saw it.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The host that the client named.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// One connection from a client.
#[derive(Debug)]
pub struct Conn {
    /// What the listener it arrived on stands for.
    pub listener: Listener,
    /// The peer's address; none on a unix socket.
    pub peer: Option<IpAddr>,
    /// The peer's address as a header value, made once.
    pub peer_value: HeaderValue,
    /// Whether the peer is a configured proxy, whose forwarded headers count.
    pub trusted_proxy: bool,
    /// Whether it came through TLS.
    pub is_secure: bool,
    proxies: Arc<[IpNet]>,
}

impl Conn {
    /// A connection from `peer`, where the forwarded headers of `proxies` count.
    #[must_use]
    pub fn new(listener: Listener, peer: Option<IpAddr>, proxies: Arc<[IpNet]>) -> Self {
        let peer = peer.map(|address| address.to_canonical());
        let trusted_proxy = peer.is_some_and(|peer| is_among(&proxies, peer));
        let text = peer.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        let peer_value =
            HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self { listener, peer, peer_value, trusted_proxy, is_secure: false, proxies }
    }

    /// The same through TLS, whose peer may have proved there to be a configured proxy.
    #[must_use]
    pub fn secured(mut self, is_proxy: bool) -> Self {
        self.is_secure = true;
        self.trusted_proxy |= is_proxy;
        self
    }

    /// `http` or `https`, as the peer speaks it.
    #[must_use]
    pub const fn proto(&self) -> HeaderValue {
        HeaderValue::from_static(if self.is_secure { "https" } else { "http" })
    }

    /// The client's address: the peer's, or the last one that trusted proxies reported and that is none of theirs. What
    /// stands left of it, the client may have written itself. None on a unix socket.
    #[must_use]
    pub fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        if !self.trusted_proxy {
            return self.peer;
        }
        let mut nearest = self.peer;
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        for entry in lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')) {
            let text = std::str::from_utf8(entry.trim_ascii()).unwrap_or_default();
            let Ok(address) = text.parse::<IpAddr>() else { break };
            let address = address.to_canonical();
            nearest = Some(address);
            if !is_among(&self.proxies, address) {
                break;
            }
        }
        nearest
    }
}

fn is_among(proxies: &[IpNet], address: IpAddr) -> bool {
    proxies.iter().any(|network| network.contains(&address))
}

/// What the forwarder may tell the upstream of where a request came from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The client's address, or the chain that a trusted proxy reported with the proxy itself behind it.
    pub forwarded_for: HeaderValue,
    /// `http` or `https`, as the client saw it.
    pub proto: HeaderValue,
    /// The host that the client named.
    pub host: Option<HeaderValue>,
}

impl Origin {
    /// Where the request of `head`, as it came on `conn`, is from.
    #[must_use]
    pub fn of(conn: &Conn, head: &Parts) -> Self {
        let Parts { headers, uri, .. } = head;
        let host = headers.get(HOST).cloned().or_else(|| authority(uri));
        if !conn.trusted_proxy {
            let proto = conn.proto();
            return Self { forwarded_for: conn.peer_value.clone(), proto, host };
        }
        let only = |name: &HeaderName| {
            let mut lines = headers.get_all(name).iter();
            lines.next().filter(|_| lines.next().is_none()).cloned()
        };
        Self {
            forwarded_for: chain(headers, &conn.peer_value),
            proto: only(&X_FORWARDED_PROTO).unwrap_or_else(|| conn.proto()),
            host: only(&X_FORWARDED_HOST).or(host),
        }
    }
}

/// `:authority`, which HTTP/2 clients send in place of `Host`.
fn authority(uri: &Uri) -> Option<HeaderValue> {
    HeaderValue::from_str(uri.authority()?.as_str()).ok()
}

/// What a trusted proxy reported, with the proxy's own address behind it.
fn chain(headers: &HeaderMap, peer: &HeaderValue) -> HeaderValue {
    let mut joined = Vec::new();
    for line in headers.get_all(X_FORWARDED_FOR) {
        joined.extend_from_slice(line.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(peer.as_bytes());
    HeaderValue::from_bytes(&joined).unwrap_or_else(|_| peer.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_whom_the_last_trusted_proxy_saw() {
        let proxies: Arc<[IpNet]> =
            ["10.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap()).into();
        let client = |peer: &str, lines: &[&str]| {
            let listener = Listener::Control { one_port: true };
            let conn = Conn::new(listener, Some(peer.parse().unwrap()), proxies.clone());
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(X_FORWARDED_FOR, line.parse().unwrap());
            }
            conn.client(&headers).unwrap().to_string()
        };
        for (peer, lines, expected) in [
            ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["forged, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3"),
            ("::ffff:10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
        ] {
            assert_eq!(client(peer, lines), expected, "{peer} {lines:?}");
        }
    }
}
