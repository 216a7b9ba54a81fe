//! Tunnels: WebSockets and other HTTP/1.1 upgrades, opaque bytes both ways, and only after the upstream's own 101.
//!
//! The client's bytes wait (`listener::head_guard`) until the upstream has switched to what was asked for; any other answer is an ordinary
//! one. A tunnel ends with either side, with its caller's key, or with the gateway, and its request ends then, not with the 101.

mod carry;
mod websocket;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::carry::carry;
use super::body::Reply;
use super::exchange::Bounds;
use super::headers::strip_response;
use super::pool::Answer;
use crate::error::GatewayError;
use crate::http1::Switched;
use crate::permit::Upgrade;
use crate::principal::Principal;
use crate::record::{End, Pending};
use crate::request::upgrade::{self, BreakOff};

/// Protocols under which a connection would go on to carry HTTP requests, which nobody would judge any more (RFC 9110 7.8, RFC 2817).
const CARRY_HTTP: [&[u8]; 4] = [b"h2", b"h2c", b"http", b"tls"];

/// What the request asks its connection to become. What is to be tunnelled is one protocol alone, asked for without a body: a
/// WebSocket with GET (RFC 6455 4.1), any other with GET or POST. `h2c` is dropped and counts as nothing.
#[must_use]
pub fn upgrade_of<B>(request: &Request<B>) -> Upgrade {
    let headers = request.headers();
    if !upgrade::asks(request) {
        return Upgrade::None;
    }
    let bodiless = !headers.contains_key(TRANSFER_ENCODING)
        && headers.get_all(CONTENT_LENGTH).iter().all(|length| length == "0");
    match sole_protocol(headers) {
        Some(protocol) if bodiless => match *request.method() {
            Method::GET if protocol.eq_ignore_ascii_case(b"websocket") => Upgrade::WebSocket,
            Method::GET | Method::POST if may_be_tunnelled(protocol) => Upgrade::Protocol,
            _ => Upgrade::Other,
        },
        Some(_) | None => Upgrade::Other,
    }
}

/// The one member of `Upgrade`; `None` where there are none or several.
fn sole_protocol(headers: &HeaderMap) -> Option<&[u8]> {
    let mut protocols =
        headers.get_all(UPGRADE).into_iter().flat_map(|line| upgrade::items(line.as_bytes()));
    protocols.next().filter(|_| protocols.next().is_none())
}

/// Whether this is a well-formed protocol (`name` or `name/version`, both tokens) for which no stricter rule is written.
fn may_be_tunnelled(protocol: &[u8]) -> bool {
    let mut parts = protocol.splitn(2, |byte| *byte == b'/');
    let name = parts.next().unwrap_or_default();
    let is_token = |text: &[u8]| HeaderName::from_bytes(text).is_ok();
    let has_own_rule = |own: &&[u8]| name.eq_ignore_ascii_case(own);
    is_token(name)
        && parts.next().is_none_or(is_token)
        && !name.eq_ignore_ascii_case(b"websocket")
        && !CARRY_HTTP.iter().any(has_own_rule)
}

/// A switch that a client asked for and may have.
#[derive(Debug)]
pub struct Switch {
    protocol: HeaderValue,
    client: Client,
}

/// A client's side of a tunnel, which is to come.
#[derive(Debug)]
struct Client {
    upgrade: OnUpgrade,
    break_off: Option<BreakOff>,
}

impl Switch {
    /// What `request` asks for; `None` when it asks for nothing.
    pub fn asked_by<B>(request: &mut Request<B>) -> Option<Self> {
        let protocol = request.headers().get(UPGRADE)?.clone();
        let break_off = request.extensions().get().copied();
        let client = Client { upgrade: hyper::upgrade::on(request), break_off };
        Some(Self { protocol, client })
    }

    /// Puts back the two headers that ask for it, after hop-by-hop headers were removed.
    pub fn put_into(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocol.clone());
    }

    /// Whether the upstream did switch, and to the same.
    #[must_use]
    pub fn is_made_by<B>(&self, answer: &Response<B>) -> bool {
        let headers = answer.headers();
        let mut connection = headers.get_all(CONNECTION).iter();
        let upgrades = |line: &HeaderValue| {
            upgrade::items(line.as_bytes()).any(|item| item.eq_ignore_ascii_case(b"upgrade"))
        };
        answer.status() == StatusCode::SWITCHING_PROTOCOLS
            && connection.any(upgrades)
            && sole_protocol(headers)
                .is_some_and(|protocol| protocol.eq_ignore_ascii_case(self.protocol.as_bytes()))
    }
}

/// Refuses a 101 that nobody asked for, or that switches to something else: no client may be left talking to nobody.
///
/// # Errors
/// [`GatewayError::UpstreamBadAnswer`].
pub fn refuse_stray_switch(status: StatusCode, bounds: &Bounds) -> Result<(), GatewayError> {
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    let request_id = bounds.request_id();
    tracing::warn!(request_id, "the upstream switched to a protocol that it was not asked for");
    Err(GatewayError::UpstreamBadAnswer { unknown_outcome: bounds.creates })
}

/// A tunnel, for as long as it counts as one.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What keeps tunnels within bounds when the gateway stops.
#[derive(Clone, Debug, Default)]
pub struct Tunnels {
    /// Every open tunnel.
    pub open: TaskTracker,
    /// Has those end that can say goodbye.
    pub close: CancellationToken,
    /// Ends them all at once.
    pub stop: CancellationToken,
    /// How many there are.
    pub count: Arc<AtomicUsize>,
}

impl Tunnels {
    /// Agrees to what the upstream agreed to with `answer`: the client's own 101, on which the tunnel can be opened.
    #[must_use]
    pub fn agree(
        &self,
        switch: Switch,
        answer: Response<Answer>,
        principal: Option<Arc<Principal>>,
    ) -> Response<Reply> {
        let (mut parts, upstream) = answer.into_parts();
        strip_response(&mut parts.headers);
        switch.put_into(&mut parts.headers);
        let is_websocket = switch.protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
        let (client, upstream) = (switch.client, upstream.into_switched());
        let tunnel = Tunnel { client, upstream, is_websocket, principal, among: self.clone() };
        Response::from_parts(parts, Reply::tunnel(tunnel))
    }
}

/// A tunnel that both sides agreed to, on its way to whoever sends the 101. Dropping it lets go of the upstream.
#[derive(Debug)]
pub struct Tunnel {
    client: Client,
    upstream: Option<Switched>,
    is_websocket: bool,
    principal: Option<Arc<Principal>>,
    among: Tunnels,
}

impl Tunnel {
    /// Copies between the two sides, from when the 101 has gone out until either side, the key or the gateway ends. The
    /// request under way ends with that.
    pub fn open(self, mut pending: Pending) {
        let Self { client, upstream, is_websocket, principal, among } = self;
        let Tunnels { open, close, stop, count } = among;
        let close = is_websocket.then_some(close);
        let counted = Counted::new(&count);
        open.spawn(async move {
            let revoked = async {
                match &principal {
                    Some(principal) => principal.revocation.revoked().await,
                    None => std::future::pending().await,
                }
            };
            let end = tokio::select! {
                end = carry(client, upstream, close, pending.record().id()) => end,
                () = revoked => {
                    let request_id = pending.record().id();
                    tracing::info!(request_id, "a tunnel ended with its key");
                    End::Broken
                }
                () = stop.cancelled() => End::Broken,
            };
            drop(counted);
            pending.end(end);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Version;

    #[test]
    fn one_protocol_alone_without_a_body_is_tunnelled() {
        let one = Version::HTTP_11;
        let request = |method: &str, version, connection: &str, upgrade: &[&str]| {
            let mut builder =
                Request::builder().method(method).version(version).header(CONNECTION, connection);
            for value in upgrade {
                builder = builder.header(UPGRADE, *value);
            }
            upgrade_of(&builder.body(()).unwrap())
        };
        for (protocol, by_get, by_post) in [
            ("websocket", Upgrade::WebSocket, Upgrade::Other),
            ("WebSocket", Upgrade::WebSocket, Upgrade::Other),
            ("tcp", Upgrade::Protocol, Upgrade::Protocol),
            ("TCP", Upgrade::Protocol, Upgrade::Protocol),
            ("irc/6.9", Upgrade::Protocol, Upgrade::Protocol),
            ("websocket/13", Upgrade::Other, Upgrade::Other),
            ("websocket, h2c", Upgrade::Other, Upgrade::Other),
            ("tcp, udp", Upgrade::Other, Upgrade::Other),
            ("tcp,", Upgrade::Other, Upgrade::Other),
            ("t cp", Upgrade::Other, Upgrade::Other),
            ("tcp/", Upgrade::Other, Upgrade::Other),
            ("tcp/1/2", Upgrade::Other, Upgrade::Other),
            ("HTTP/2.0", Upgrade::Other, Upgrade::Other),
            ("http", Upgrade::Other, Upgrade::Other),
            ("h2", Upgrade::Other, Upgrade::Other),
            ("h2c/1", Upgrade::Other, Upgrade::Other),
            ("TLS/1.0", Upgrade::Other, Upgrade::Other),
            ("h2c", Upgrade::None, Upgrade::None),
            ("H2C, ,h2c", Upgrade::None, Upgrade::None),
            ("", Upgrade::None, Upgrade::None),
        ] {
            assert_eq!(request("GET", one, "Upgrade", &[protocol]), by_get, "{protocol}");
            assert_eq!(request("POST", one, "Upgrade", &[protocol]), by_post, "{protocol}");
        }
        assert_eq!(request("GET", one, "keep-alive, UPGRADE", &["tcp"]), Upgrade::Protocol);
        assert_eq!(request("PUT", one, "Upgrade", &["tcp"]), Upgrade::Other);
        assert_eq!(request("GET", one, "Upgrade", &["tcp", "tcp"]), Upgrade::Other);
        assert_eq!(request("GET", one, "Upgrade", &["websocket", "h2c"]), Upgrade::Other);
        assert_eq!(request("GET", one, "keep-alive", &["tcp"]), Upgrade::None);
        assert_eq!(request("GET", one, "Upgrade", &[]), Upgrade::None);
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert_eq!(request("GET", version, "Upgrade", &["websocket"]), Upgrade::None);
        }
    }

    #[test]
    fn a_body_keeps_a_request_a_request() {
        for (name, value, expected) in [
            (CONTENT_LENGTH, "0", Upgrade::Protocol),
            (CONTENT_LENGTH, "1", Upgrade::Other),
            (TRANSFER_ENCODING, "chunked", Upgrade::Other),
        ] {
            let builder = Request::post("/").header(CONNECTION, "upgrade").header(UPGRADE, "tcp");
            let request = builder.header(name, value).body(()).unwrap();
            assert_eq!(upgrade_of(&request), expected, "{value}");
        }
    }
}
