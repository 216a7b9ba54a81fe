//! WebSocket tunnels: opaque bytes both ways, and only after the upstream's own 101.
//!
//! The client's bytes wait (`listener::head_guard`) until the upstream has switched; any other answer is an ordinary one. A tunnel ends
//! with either side, with its caller's key, or with the gateway.

use std::sync::Arc;

use http::header::{CONNECTION, HeaderMap, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::exchange::Chain;
use super::headers::words;
use crate::error::GatewayError;
use crate::permit::Upgrade;
use crate::principal::Principal;

/// Copied at a time, each way.
const BUFFER: usize = 16 * 1024;

/// What the request asks its connection to become. A WebSocket (RFC 6455 4.1) takes GET, HTTP/1.1, `Connection: upgrade` and
/// `Upgrade: websocket` alone; `h2c` is dropped and counts as nothing.
#[must_use]
pub fn upgrade_of<B>(request: &Request<B>) -> Upgrade {
    let headers = request.headers();
    if request.version() != Version::HTTP_11 || !lists(headers, &CONNECTION, b"upgrade") {
        return Upgrade::None;
    }
    if request.method() == Method::GET && asks_for_websocket(headers) {
        return Upgrade::WebSocket;
    }
    let dropped = |protocol: &[u8]| protocol.is_empty() || protocol.eq_ignore_ascii_case(b"h2c");
    if words(headers, &UPGRADE).all(dropped) { Upgrade::None } else { Upgrade::Other }
}

fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(UPGRADE).iter();
    let only = protocols
        .next()
        .is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"));
    only && protocols.next().is_none() && lists(headers, &CONNECTION, b"upgrade")
}

/// Whether the head guard holds back what follows this request until it hears whether the connection became a tunnel: its own
/// rule, which is wider than that of [`upgrade_of`].
#[must_use]
pub fn awaits_verdict<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.version() == Version::HTTP_11
        && lists(headers, &UPGRADE, b"websocket")
        && lists(headers, &CONNECTION, b"upgrade")
}

fn lists(headers: &HeaderMap, name: &HeaderName, word: &[u8]) -> bool {
    words(headers, name).any(|own| own.eq_ignore_ascii_case(word))
}

/// Puts back the two headers that ask the upstream to switch, after hop-by-hop headers were removed.
pub fn ask_upstream(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Whether the upstream did switch.
#[must_use]
pub fn has_switched(response: &Response<Incoming>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS && asks_for_websocket(response.headers())
}

/// Refuses a 101 that nobody asked for, or that switches to something else: no client may be left talking to nobody.
///
/// # Errors
/// [`GatewayError::UpstreamBadAnswer`].
pub fn refuse_stray_switch(status: StatusCode, unknown_outcome: bool) -> Result<(), GatewayError> {
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    tracing::warn!("the upstream switched protocols although it was not asked to");
    Err(GatewayError::UpstreamBadAnswer { unknown_outcome })
}

/// What keeps tunnels within bounds when the gateway stops.
#[derive(Clone, Debug, Default)]
pub struct Tunnels {
    /// Every open tunnel.
    pub open: TaskTracker,
    /// Ends them all at once.
    pub stop: CancellationToken,
}

impl Tunnels {
    /// Copies between the two sides until one ends.
    pub fn join(&self, client: OnUpgrade, upstream: OnUpgrade, principal: Option<Arc<Principal>>) {
        let stop = self.stop.clone();
        self.open.spawn(async move {
            let copied = async {
                match tokio::try_join!(client, upstream) {
                    Ok((client, upstream)) => copy(client, upstream).await,
                    Err(cause) => {
                        tracing::debug!(cause = %Chain(&cause), "a tunnel was not opened")
                    }
                }
            };
            let revoked = async {
                match &principal {
                    Some(principal) => principal.revocation.revoked().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = copied => {}
                () = revoked => tracing::info!("a tunnel ended with its key"),
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn copy(client: Upgraded, upstream: Upgraded) {
    let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
    let copied =
        tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await;
    if let Err(cause) = copied {
        tracing::debug!(%cause, "a tunnel broke off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_websocket_handshake_counts() {
        let request = |method: &str, version, connection: &str, upgrade: &[&str]| {
            let mut builder =
                Request::builder().method(method).version(version).header(CONNECTION, connection);
            for value in upgrade {
                builder = builder.header(UPGRADE, *value);
            }
            upgrade_of(&builder.body(()).unwrap())
        };
        let (tunnelled, other) = (Upgrade::WebSocket, Upgrade::Other);
        let one = Version::HTTP_11;
        assert_eq!(request("GET", one, "Upgrade", &["websocket"]), tunnelled);
        assert_eq!(request("GET", one, "keep-alive, UPGRADE", &["WebSocket"]), tunnelled);
        assert_eq!(request("POST", one, "Upgrade", &["websocket"]), other);
        assert_eq!(request("GET", Version::HTTP_10, "Upgrade", &["websocket"]), Upgrade::None);
        assert_eq!(request("GET", Version::HTTP_2, "Upgrade", &["websocket"]), Upgrade::None);
        assert_eq!(request("GET", one, "keep-alive", &["websocket"]), Upgrade::None);
        assert_eq!(request("GET", one, "Upgrade", &["h2c"]), Upgrade::None);
        assert_eq!(request("GET", one, "Upgrade", &["websocket, h2c"]), other);
        assert_eq!(request("GET", one, "Upgrade", &["websocket", "h2c"]), other);
        assert_eq!(request("GET", one, "Upgrade", &[]), Upgrade::None);
    }
}
