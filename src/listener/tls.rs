//! TLS at the front: what is offered to whoever connects now, and the handshake.
//!
//! An [`Offer`] is swapped as a whole. A connection keeps for its life the one that it began with, so that a reload is
//! seen by new connections alone. Nothing of HTTP is looked at here, but that somebody speaks it in clear text, who is
//! told so.

mod clear_text;
mod linger;
mod tally;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::tally::Tally;
use crate::clock::UnixTime;
use crate::metrics::Exposition;
use crate::tls::Offer;

/// The first byte of a TLS connection: a record with a handshake in it (RFC 8446 5.1).
const HANDSHAKE: u8 = 0x16;

/// What is offered now, and how it went.
#[derive(Debug)]
pub struct Store {
    offer: ArcSwap<Offer>,
    tally: Tally,
}

/// What is said inside of TLS, in clear text on this side.
pub type Secured = TlsStream<TcpStream>;

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Accepted {
    /// What is inside.
    pub stream: Secured,
    /// Whether the client proved to be a proxy whose forwarded headers count.
    pub is_proxy: bool,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the client went away without a word")]
    Gone,
    #[error("the client speaks HTTP in clear text")]
    ClearText,
    #[error("the client does not speak TLS")]
    NotTls,
    #[error("{0}")]
    Handshake(#[source] io::Error),
    #[error("the client's certificate is not valid now")]
    OutOfDate,
}

impl Store {
    /// Offers this.
    #[must_use]
    pub fn new(offer: Arc<Offer>) -> Self {
        Self { offer: ArcSwap::new(offer), tally: Tally::default() }
    }

    /// What is offered now.
    #[must_use]
    pub fn offer(&self) -> Arc<Offer> {
        self.offer.load_full()
    }

    /// Offers this to whoever connects from now on.
    pub fn install(&self, offer: Arc<Offer>) {
        self.offer.store(offer);
    }

    /// Shakes hands with whoever has connected, within `limit`. None: there is no connection any more, and the log says
    /// why.
    pub async fn accept(&self, stream: TcpStream, limit: Duration) -> Option<Accepted> {
        let shaken = timeout_at(Instant::now() + limit, self.shake_hands(stream)).await;
        self.tally.count(&shaken);
        match shaken {
            Ok(Ok(accepted)) => return Some(accepted),
            Ok(Err(cause)) => tracing::debug!(%cause, "no TLS connection"),
            Err(_) => tracing::debug!(cause = "the handshake took too long", "no TLS connection"),
        }
        None
    }

    async fn shake_hands(&self, mut stream: TcpStream) -> Result<Accepted, Failure> {
        let mut first = [0];
        if !stream.peek(&mut first).await.is_ok_and(|count| count > 0) {
            return Err(Failure::Gone);
        }
        match first {
            [HANDSHAKE] => {}
            [b'A'..=b'Z'] => {
                // Who has gone meanwhile need not hear it.
                let _ = clear_text::answer(&mut stream).await;
                return Err(Failure::ClearText);
            }
            _ => return Err(Failure::NotTls),
        }
        let offer = self.offer();
        let acceptor = TlsAcceptor::from(Arc::clone(offer.config()));
        let stream = match acceptor.accept(stream).into_fallible().await {
            Ok(stream) => stream,
            Err((cause, mut stream)) => {
                // An alert says why, and who has gone meanwhile need not hear it.
                let _ = linger::until_heard(&mut stream).await;
                return Err(Failure::Handshake(cause));
            }
        };
        let proved = stream.get_ref().1.peer_certificates();
        if !Offer::is_in_time(proved, UnixTime::now()) {
            return Err(Failure::OutOfDate);
        }
        let is_proxy = offer.is_proxy(proved);
        Ok(Accepted { stream, is_proxy })
    }

    /// How handshakes went, and until when the certificates are good.
    pub fn write(&self, into: &mut Exposition) {
        self.tally.write(into);
        tally::write_ends(&self.offer.load(), into);
    }
}
