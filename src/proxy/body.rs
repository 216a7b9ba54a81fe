//! Bodies on their way through: nothing is buffered, frames pass as they come.
//!
//! [`Outgoing`] goes to the upstream, [`Reply`] to the client. A reply ends when its caller's key is revoked, however
//! long it has been streaming; dropping either one cancels the other side's work.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use super::headers::{may_trail, may_trail_answer};
use super::inbound::Inbound;
use super::lease::Lease;
use super::pool::{Answer, ReadError};
use super::tunnel::Tunnel;
use crate::principal::Principal;

/// What a client may leave unread before the server stops asking for more, at the least: the window that HTTP/2 starts
/// with, less a frame.
const CAN_STALL: usize = 32 * 1024;

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The other side broke off.
    #[error("the body broke off")]
    Broken(#[from] ReadError),
    /// The caller's key was revoked.
    #[error("the key was revoked")]
    Revoked,
    /// The gateway's own router failed.
    #[error("the gateway's own answer broke off")]
    Own(#[from] axum::Error),
}

/// A request body for the upstream.
#[derive(Debug)]
pub enum Outgoing {
    /// One the gateway read and edited, or none.
    Whole(Full<Bytes>),
    /// The client's, as it comes. The flag is set once all of it has been passed on.
    Stream(Inbound, Arc<AtomicBool>),
}

impl Outgoing {
    /// No body.
    #[must_use]
    pub fn none() -> Self {
        Self::Whole(Full::default())
    }

    /// A body of these bytes.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }

    /// The client's body, and a flag that tells when it has all been passed on. `None`: there is nothing to wait for.
    #[must_use]
    pub fn stream(body: Inbound) -> (Self, Option<Arc<AtomicBool>>) {
        if body.is_end_stream() {
            return (Self::none(), None);
        }
        let sent = Arc::new(AtomicBool::new(false));
        (Self::Stream(body, Arc::clone(&sent)), Some(sent))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Pin::new(bytes).poll_frame(cx).map_err(|never| match never {}),
            Self::Stream(body, sent) => {
                let polled = Pin::new(&mut *body).poll_frame(cx);
                if body.is_end_stream() || matches!(polled, Poll::Ready(None | Some(Err(_)))) {
                    sent.store(true, Ordering::Relaxed);
                }
                polled.map_ok(|frame| keep_trailers(frame, may_trail))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_end_stream(),
            Self::Stream(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => bytes.size_hint(),
            Self::Stream(body, _) => body.size_hint(),
        }
    }
}

/// Trailers may not say what a head may not say.
fn keep_trailers(frame: Frame<Bytes>, may_stay: fn(&HeaderName) -> bool) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(trailers) if trailers.keys().all(may_stay) => Frame::trailers(trailers),
        Ok(trailers) => Frame::trailers(
            trailers
                .iter()
                .filter(|(name, _)| may_stay(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<HeaderMap>(),
        ),
        Err(data) => data,
    }
}

/// An answer's body for the client.
#[derive(Debug)]
pub struct Reply {
    content: Content,
    watch: Option<Watch>,
}

#[derive(Debug)]
enum Content {
    Whole(Full<Bytes>),
    Upstream(Answer),
    Leased(Lease),
    Own(axum::body::Body),
    /// Nothing, and then a tunnel.
    Tunnel(Box<Tunnel>),
}

/// Ends the body with the caller's key. The wait is set up only once the body has had to wait for its upstream.
struct Watch {
    principal: Arc<Principal>,
    revoked: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Bytes passed on before the body was leased.
    passed: usize,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watch({:?})", self.principal.key)
    }
}

impl Watch {
    fn poll_revoked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let wait = self.revoked.get_or_insert_with(|| {
            let principal = Arc::clone(&self.principal);
            Box::pin(async move { principal.revocation.revoked().await })
        });
        wait.as_mut().poll(cx)
    }
}

impl Reply {
    /// A body of these bytes.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self { content: Content::Whole(Full::new(bytes)), watch: None }
    }

    /// The upstream's body, for as long as `principal`'s key lives.
    #[must_use]
    pub fn upstream(body: Answer, principal: Option<Arc<Principal>>) -> Self {
        let watch = principal.map(|principal| Watch { principal, revoked: None, passed: 0 });
        Self { content: Content::Upstream(body), watch }
    }

    /// The body of the gateway's own router.
    #[must_use]
    pub const fn own(body: axum::body::Body) -> Self {
        Self { content: Content::Own(body), watch: None }
    }

    /// The 101 on which `tunnel` can be opened.
    #[must_use]
    pub fn tunnel(tunnel: Tunnel) -> Self {
        Self { content: Content::Tunnel(Box::new(tunnel)), watch: None }
    }

    /// Takes the tunnel out, where this is the answer that agrees to one.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        if !matches!(self.content, Content::Tunnel(_)) {
            return None;
        }
        match std::mem::replace(&mut self.content, Content::Whole(Full::default())) {
            Content::Tunnel(tunnel) => Some(*tunnel),
            Content::Whole(_) | Content::Upstream(_) | Content::Leased(_) | Content::Own(_) => None,
        }
    }

    /// From here on the client could stop reading: the key must be able to end the body without it.
    fn lease(&mut self) {
        let Some(watch) = &self.watch else { return };
        let principal = Arc::clone(&watch.principal);
        let content = std::mem::replace(&mut self.content, Content::Whole(Full::default()));
        self.content = match content {
            Content::Upstream(body) if !body.is_end_stream() => {
                Content::Leased(Lease::new(body, principal))
            }
            other @ (Content::Upstream(_)
            | Content::Whole(_)
            | Content::Leased(_)
            | Content::Own(_)
            | Content::Tunnel(_)) => other,
        };
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = match &mut this.content {
            Content::Whole(bytes) => Pin::new(bytes).poll_frame(cx).map_err(|never| match never {}),
            Content::Upstream(body) => Pin::new(body)
                .poll_frame(cx)
                .map_ok(|frame| keep_trailers(frame, may_trail_answer))
                .map_err(BodyError::from),
            Content::Leased(lease) => lease
                .poll_frame(cx)
                .map_ok(|frame| keep_trailers(frame, may_trail_answer))
                .map_err(BodyError::from),
            Content::Own(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::from),
            Content::Tunnel(_) => Poll::Ready(None),
        };
        let Some(watch) = &mut this.watch else { return polled };
        let is_first_over = watch.passed < CAN_STALL && {
            watch.passed += length(&polled);
            watch.passed >= CAN_STALL
        };
        let revoked = match polled {
            Poll::Ready(_) => watch.principal.revocation.is_revoked(),
            Poll::Pending => watch.poll_revoked(cx).is_ready(),
        };
        if revoked {
            return Poll::Ready(Some(Err(BodyError::Revoked)));
        }
        if is_first_over {
            this.lease();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_end_stream(),
            Content::Upstream(body) => body.is_end_stream(),
            Content::Leased(lease) => lease.is_end_stream(),
            Content::Own(body) => body.is_end_stream(),
            Content::Tunnel(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => bytes.size_hint(),
            Content::Upstream(body) => body.size_hint(),
            Content::Leased(lease) => lease.size_hint(),
            Content::Own(body) => body.size_hint(),
            Content::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}

fn length<E>(polled: &Poll<Option<Result<Frame<Bytes>, E>>>) -> usize {
    match polled {
        Poll::Ready(Some(Ok(frame))) => frame.data_ref().map_or(0, Bytes::len),
        Poll::Ready(Some(Err(_)) | None) | Poll::Pending => 0,
    }
}
