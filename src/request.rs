//! Where a request came from, as the edge found out, the headers that tell the upstream, and what it asks its
//! connection to become.
//!
//! Vocabulary only: whom to believe about it is decided where it is filled in.

pub mod upgrade;

use std::net::IpAddr;

use http::{HeaderName, HeaderValue};

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
}

impl Conn {
    /// A connection from `peer`.
    #[must_use]
    pub fn new(listener: Listener, peer: Option<IpAddr>, trusted_proxy: bool) -> Self {
        let peer = peer.map(|address| address.to_canonical());
        let text = peer.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        let peer_value =
            HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self { listener, peer, peer_value, trusted_proxy }
    }
}

/// What the forwarder may tell the upstream of where a request came from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The request's id, on every answer, log line and control-plane request.
    pub request_id: HeaderValue,
    /// The client's address, or the chain that a trusted proxy reported with the proxy itself behind it.
    pub forwarded_for: HeaderValue,
    /// `http` or `https`, as the client saw it.
    pub proto: HeaderValue,
    /// The host that the client named.
    pub host: Option<HeaderValue>,
}
