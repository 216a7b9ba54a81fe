//! One connection from accept to close: the head guard, hyper, and the stack above it.
//!
//! Every limit and timer of the HTTP server is set here; there is no whole-request timeout, because streams may last.

mod reclaim;
mod request;
mod seldom;
mod serving;
mod streams;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::server::conn::{http1, http2};
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use self::reclaim::Reclaim;
use self::request::PerConnection;
pub use self::serving::Left;
use self::serving::Serving;
use super::Stack;
use crate::lifecycle::Phases;
use crate::listener::head_guard::{Agreed, HeadGuard, Limits};
use crate::request::Conn;
use crate::request::upgrade::BreakOff;

/// For how long a connection must have been quiet before the HTTP server's part of it is given back. Not at once, because
/// making a new one takes some work, which a client that sends one request after another should not cause.
pub const PARK_AFTER: Duration = Duration::from_secs(1);

/// How long a connection that begins when the gateway drains already may take until its one request is there.
const LAST_HEAD: Duration = Duration::from_secs(2);

/// What connections may take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the head guard allows; a reload changes it for connections that come later.
    pub limits: Arc<ArcSwap<Limits>>,
    /// HTTP/2 streams at once.
    pub max_streams: u32,
}

/// Serves connections the same way, all with one worker's stack.
#[derive(Clone, Debug)]
pub struct Connections {
    protocols: Arc<Protocols>,
    limits: Arc<ArcSwap<Limits>>,
    stack: Arc<Stack>,
}

/// A connection to be served.
#[derive(Debug)]
pub struct Coming<IO> {
    /// The connection.
    pub io: IO,
    /// Whether another process has answered requests on it before.
    pub is_used: bool,
    /// Whether a successor can go on with it: it is nothing but a socket.
    pub can_leave: bool,
    /// Which HTTP its client has agreed to speak.
    pub agreed: Agreed,
}

/// What can end so that nobody takes that for the end of what was said.
pub trait Breaks {
    /// Ends so.
    fn break_off(self);
}

/// The same for what hyper gave back as something else.
fn break_off<IO>(upgraded: Upgraded)
where
    IO: AsyncRead + AsyncWrite + Breaks + Unpin + Send + 'static,
{
    if let Ok(parts) = upgraded.downcast::<TokioIo<HeadGuard<IO>>>() {
        let (io, _) = parts.io.into_inner().into_inner();
        io.break_off();
    }
}

/// How each version of HTTP is spoken, and who hears when it is not.
#[derive(Debug)]
struct Protocols {
    http1: http1::Builder,
    /// For a client that is to ask once, and then to come again.
    last_http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    reclaim: Reclaim,
}

impl Protocols {
    fn new(max_streams: u32) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            // The head guard has its own timers, which know an idle connection from a slow head.
            .header_read_timeout(None)
            .max_buf_size(64 * 1024);
        let mut last_http1 = http1.clone();
        last_http1.keep_alive(false);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(max_streams)
            .max_header_list_size(32 * 1024)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(100)
            .max_send_buf_size(128 * 1024)
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(4 * 1024 * 1024)
            .keep_alive_interval(Duration::from_secs(60))
            .keep_alive_timeout(Duration::from_secs(20));
        Self { http1, last_http1, http2, reclaim: Reclaim::new() }
    }
}

impl Connections {
    /// A server of `stack`. Must be made within the runtime that serves.
    #[must_use]
    pub fn new(settings: &Settings, stack: Stack) -> Self {
        let protocols = Arc::new(Protocols::new(settings.max_streams));
        Self { protocols, limits: Arc::clone(&settings.limits), stack: Arc::new(stack) }
    }

    /// Serves one connection until it ends, or until the gateway does, or until a successor is to go on with it.
    pub fn serve<IO>(
        &self,
        coming: Coming<IO>,
        conn: Arc<Conn>,
        phases: &Phases,
    ) -> impl Future<Output = Option<Left<IO>>> + Send + use<IO>
    where
        IO: AsyncRead + AsyncWrite + Breaks + Unpin + Send + 'static,
    {
        let Coming { io, is_used, can_leave, agreed } = coming;
        let mut limits = **self.limits.load();
        if phases.drain.is_cancelled() {
            limits.head_timeout = limits.head_timeout.min(LAST_HEAD);
        }
        let (guard, handle) =
            if is_used { HeadGuard::after_another(io, limits) } else { HeadGuard::new(io, limits) };
        let guard = if is_used { guard } else { guard.where_agreed(agreed) };
        let break_off = BreakOff(break_off::<IO>);
        let service = PerConnection::new(Arc::clone(&self.stack), conn, handle.clone(), break_off);
        let protocols = Arc::clone(&self.protocols);
        Serving::new((guard, handle), service, protocols, phases, can_leave)
    }
}
