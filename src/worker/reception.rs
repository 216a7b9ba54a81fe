//! How a worker's connections come in: by accepting them, after a handshake where TLS is spoken, or from another process.
//!
//! Each gets its place here, and a task. What is said on it is no concern of this file.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::net::Listener as Accepts;
use tokio_util::task::TaskTracker;

use super::doors::Doors;
use super::{Adopted, Heir, Shared, Socket, Stream};
use crate::listener::head_guard::Agreed;
use crate::listener::{bind, tls};
use crate::request::Conn;
use crate::route::Listener;
use crate::server::connection::{Breaks, Coming, Connections, Left};

/// How long a connection may be silent before the kernel asks whether its peer is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long accepting rests after it failed, for want of file descriptors most likely.
const REST: Duration = Duration::from_millis(50);

/// How long handshakes may go on when the gateway drains.
const LAST_HANDSHAKES: Duration = Duration::from_secs(1);

/// What takes a worker's connections in.
#[derive(Clone)]
pub(super) struct Reception {
    pub(super) shared: Arc<Shared>,
    pub(super) connections: Connections,
    /// Every open connection and tunnel.
    pub(super) open: TaskTracker,
}

/// A connection that has come, and what is known of it.
struct Arrived<IO> {
    io: IO,
    /// Whether another process has answered requests on it before.
    is_used: bool,
    conn: Conn,
    place: Option<OwnedSemaphorePermit>,
}

impl Reception {
    /// Accepts on `socket` in a task of its own, until the gateway drains.
    pub(super) fn accept_on(&self, socket: Socket, accepting: &TaskTracker) -> io::Result<()> {
        let (reception, listener) = (self.clone(), socket.listener);
        match socket.socket {
            bind::Socket::Tcp(socket) => {
                let socket = TcpListener::from_std(socket)?;
                let greet = |stream: &TcpStream, peer: SocketAddr| {
                    prepare(stream)?;
                    Ok(Some(peer.ip()))
                };
                match self.shared.tls.clone() {
                    None => accepting.spawn(reception.accept(listener, socket, greet, Self::serve)),
                    Some(tls) => {
                        let secure = move |reception: &Self, arrived| {
                            reception.secure(Arc::clone(&tls), arrived);
                        };
                        accepting.spawn(reception.accept(listener, socket, greet, secure))
                    }
                };
            }
            bind::Socket::Unix(socket) => {
                let socket = UnixListener::from_std(socket)?;
                accepting.spawn(reception.accept(listener, socket, |_, _| Ok(None), Self::serve));
            }
        }
        Ok(())
    }

    /// Accepts from when it may until the gateway drains. `greet` makes a connection ready, and tells the address of its peer; `serve` begins
    /// to serve it.
    async fn accept<L>(
        self,
        listener: Listener,
        mut socket: L,
        greet: impl Fn(&L::Io, L::Addr) -> io::Result<Option<IpAddr>>,
        serve: impl Fn(&Self, Arrived<L::Io>),
    ) where
        L: Accepts<Io: Carrier>,
    {
        tokio::select! {
            () = self.shared.phases.open.cancelled() => {}
            () = self.shared.phases.drain.cancelled() => return,
        }
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = self.shared.phases.drain.cancelled() => return,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(cause) => {
                    tracing::warn!(%cause, "could not accept a connection");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            match greet(&stream, address) {
                Ok(peer) => {
                    let place = self.place().await;
                    let conn = self.conn(listener, peer);
                    serve(&self, Arrived { io: stream, is_used: false, conn, place });
                }
                Err(cause) => tracing::debug!(%cause, "a connection went away at once"),
            }
        }
    }

    fn conn(&self, listener: Listener, peer: Option<IpAddr>) -> Conn {
        Conn::new(listener, peer, Arc::clone(&self.shared.trusted_proxies.load()))
    }

    /// Goes on with connections of the process before this one, until that has ended, as far as they could have come in
    /// here.
    pub(super) async fn adopt(
        self,
        mut adopted: UnboundedReceiver<(Adopted, OwnedSemaphorePermit)>,
        doors: Doors,
    ) {
        while let Some((adopted, place)) = adopted.recv().await {
            if !doors.admit(&adopted).unwrap_or_default() {
                tracing::debug!(
                    "a connection is closed that the settings would not let in any more"
                );
                continue;
            }
            let Adopted { listener, is_used, stream } = adopted;
            let place = Some(place);
            let served = match stream {
                Stream::Tcp(stream) => TcpStream::from_std(stream).and_then(|io| {
                    let conn = self.conn(listener, Some(io.peer_addr()?.ip()));
                    self.serve(Arrived { io, is_used, conn, place });
                    Ok(())
                }),
                Stream::Unix(stream) => UnixStream::from_std(stream).map(|io| {
                    self.serve(Arrived { io, is_used, conn: self.conn(listener, None), place });
                }),
            };
            if let Err(cause) = served {
                tracing::debug!(%cause, "a connection went away while it changed processes");
            }
        }
    }

    /// A place for one more connection; none once the gateway drains, when nobody counts any more. While there is none,
    /// further connections wait in the kernel's queue.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            place = Arc::clone(&self.shared.places).acquire_owned() => place.ok(),
            () = self.shared.phases.drain.cancelled() => None,
        }
    }

    /// Shakes hands first. Who is in the midst of that when the gateway begins to drain may finish, if that is soon: the
    /// first request comes right behind.
    fn secure(&self, tls: Arc<tls::Store>, arrived: Arrived<TcpStream>) {
        let Arrived { io, is_used, conn, place } = arrived;
        let reception = self.clone();
        self.open.spawn(async move {
            let limit = reception.shared.connections.limits.load().head_timeout;
            let accepted = tokio::select! {
                accepted = tls.accept(io, limit) => accepted,
                () = reception.shared.phases.drain.cancelled().then(|()| tokio::time::sleep(LAST_HANDSHAKES)) => None,
            };
            // In a task of its own, which has nothing of the handshake in it.
            if let Some(tls::Accepted { stream: io, is_proxy }) = accepted {
                reception.serve(Arrived { io, is_used, conn: conn.secured(is_proxy), place });
            }
        });
    }

    fn serve<IO: Carrier>(&self, arrived: Arrived<IO>) {
        let Arrived { io, is_used, conn, place } = arrived;
        let listener = conn.listener;
        let agreed = io.agreed();
        let coming = Coming { io, is_used, can_leave: IO::CAN_LEAVE, agreed };
        let serving = self.connections.serve(coming, Arc::new(conn), &self.shared.phases);
        let shared = Arc::clone(&self.shared);
        // An async block would take the room of this future twice, for as long as the connection lasts.
        self.open.spawn(serving.map(move |left| {
            drop(place);
            if let (Some(Left { io, is_used }), Some(Heir(heir))) = (left, shared.heir.get())
                && let Some(stream) = io.leave()
            {
                heir(Adopted { listener, is_used, stream });
            }
        }));
    }
}

/// What a client's bytes come on.
trait Carrier: AsyncRead + AsyncWrite + Breaks + Unpin + Send + 'static {
    /// Whether it is nothing but a socket, with which another process can go on.
    const CAN_LEAVE: bool;

    /// Which HTTP is spoken on it.
    fn agreed(&self) -> Agreed {
        Agreed::Nothing
    }

    /// The socket alone, if it is one.
    fn leave(self) -> Option<Stream>;
}

impl Carrier for TcpStream {
    const CAN_LEAVE: bool = true;

    fn leave(self) -> Option<Stream> {
        self.into_std().ok().map(Stream::Tcp)
    }
}

impl Carrier for UnixStream {
    const CAN_LEAVE: bool = true;

    fn leave(self) -> Option<Stream> {
        self.into_std().ok().map(Stream::Unix)
    }
}

impl Carrier for tls::Secured {
    const CAN_LEAVE: bool = false;

    fn agreed(&self) -> Agreed {
        match self.get_ref().1.alpn_protocol() {
            Some(b"h2") => Agreed::Http2,
            Some(_) => Agreed::Http1,
            None => Agreed::Nothing,
        }
    }

    fn leave(self) -> Option<Stream> {
        None
    }
}

impl Breaks for TcpStream {
    fn break_off(self) {
        // With a reset, if the system lets it; an ordinary end is the best that is left.
        let _ = SockRef::from(&self).set_linger(Some(Duration::ZERO));
    }
}

impl Breaks for UnixStream {
    /// There is nothing else to it than to go.
    fn break_off(self) {}
}

impl Breaks for tls::Secured {
    /// Without a goodbye.
    fn break_off(self) {}
}

/// Small writes go out at once, and a peer that vanished without a word is noticed, however silent its stream may be.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE))
}
