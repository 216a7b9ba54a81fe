//! One serving thread: a single-threaded runtime with its own sockets, upstream pool and stack.
//!
//! Workers share immutable snapshots and nothing that has to be locked on the way of a request.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use ipnet::IpNet;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::MissedTickBehavior;
use tokio_util::net::Listener as Accepts;
use tokio_util::task::TaskTracker;

use crate::endpoint::Audit;
use crate::layer::auth::Gate;
use crate::layer::cors::Cors;
use crate::layer::observe::Watch;
use crate::lifecycle::{Phases, Pulse};
use crate::listener::bind;
use crate::proxy::admission::Admissions;
use crate::proxy::pool;
use crate::proxy::tunnel::Tunnels;
use crate::proxy::{Forwarder, Upstreams};
use crate::record::Observers;
use crate::request::Conn;
use crate::request::trace::Sampler;
use crate::route::Listener;
use crate::server::connection::{self, Coming, Connections, Left};
use crate::server::stack;

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// What decides.
    pub gate: Arc<Gate>,
    /// Who may start sandboxes.
    pub admissions: Arc<Admissions>,
    /// Where everything is.
    pub upstreams: Arc<Upstreams>,
    /// Which browsers' origins may ask.
    pub cors: Arc<Cors>,
    /// Who is told of requests.
    pub observers: Observers,
    /// Which traces are kept; none: none are made.
    pub sampler: Option<Sampler>,
    /// Open tunnels of all workers.
    pub tunnels: Arc<AtomicUsize>,
    /// What the audit endpoints tell of.
    pub audit: Audit,
    /// How upstreams are reached.
    pub pool: pool::Settings,
    /// What connections may take.
    pub connections: connection::Settings,
    /// Whose forwarded headers are believed; a reload changes it for connections that come later.
    pub trusted_proxies: ArcSwap<Arc<[IpNet]>>,
    /// Places for open connections.
    pub places: Arc<Semaphore>,
    /// The steps of stopping.
    pub phases: Phases,
    /// Who goes on with connections that are to leave this process; nobody until there is one.
    pub heir: OnceLock<Heir>,
    /// How often somebody wants to see that the workers turn; none: nobody does.
    pub watched: Option<Duration>,
}

/// Goes on with connections that leave this process.
pub struct Heir(pub Box<dyn Fn(Adopted) + Send + Sync>);

impl fmt::Debug for Heir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Heir")
    }
}

/// A client's connection that changes processes.
#[derive(Debug)]
pub struct Adopted {
    /// What requests on it are for.
    pub listener: Listener,
    /// Whether a request ever came on it.
    pub is_used: bool,
    /// The connection.
    pub stream: Stream,
}

/// A connection outside of any runtime.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// On a unix socket.
    Unix(std::os::unix::net::UnixStream),
}

/// One socket of a worker and what it stands for.
#[derive(Debug)]
pub struct Socket {
    /// What requests on it are for.
    pub listener: Listener,
    /// The socket.
    pub socket: bind::Socket,
}

/// What one worker has to itself.
#[derive(Debug)]
pub struct Part {
    /// What it accepts connections on.
    pub sockets: Vec<Socket>,
    /// Connections that come from the process before this one, until that has ended.
    pub adopted: UnboundedReceiver<Adopted>,
    /// Whether it lists sandboxes for all of them.
    pub keeps_census: bool,
}

/// How long a connection may be silent before the kernel asks whether its peer is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long accepting rests after it failed, for want of file descriptors most likely.
const REST: Duration = Duration::from_millis(50);

/// Serves until the gateway drains and every connection has ended, or until it stops.
///
/// # Errors
/// The runtime or a socket could not be set up.
pub fn run(shared: Arc<Shared>, part: Part) -> io::Result<()> {
    let Part { sockets, adopted, keeps_census } = part;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let tunnels = Tunnels {
            open: TaskTracker::new(),
            close: shared.phases.close.clone(),
            stop: shared.phases.stop.clone(),
            count: Arc::clone(&shared.tunnels),
        };
        let forwarder = Forwarder::new(
            pool::build(&shared.pool),
            Arc::clone(&shared.upstreams),
            Arc::clone(&shared.gate.authenticator),
            shared.gate.directory.clone(),
            Arc::clone(&shared.admissions),
            tunnels.clone(),
        );
        let census = keeps_census.then(|| {
            let (shared, asker) = (Arc::clone(&shared), forwarder.asker());
            tokio::spawn(async move {
                let admissions = &shared.admissions;
                tokio::select! {
                    () = admissions.census.keep(&asker, admissions.cadence) => {}
                    () = shared.phases.replaced() => {}
                }
            })
        });
        if let Some(interval) = shared.watched {
            tokio::spawn(turn(shared.phases.pulse.clone(), interval));
        }
        let callback = shared.gate.authenticator.callback();
        let line = callback.map(|callback| callback.line()).transpose()?;
        let watch = Watch {
            cors: Arc::clone(&shared.cors),
            observers: shared.observers.clone(),
            sampler: shared.sampler,
        };
        let stack = stack(Arc::clone(&shared.gate), line, watch, shared.audit.clone(), forwarder);
        let connections = Connections::new(&shared.connections, stack);
        let open = tunnels.open.clone();
        let reception = Reception { shared: Arc::clone(&shared), connections, open: open.clone() };
        let accepting = TaskTracker::new();
        for socket in sockets {
            reception.accept_on(socket, &accepting)?;
        }
        open.spawn(reception.adopt(adopted));
        let begun = shared.phases.accepting.begin();
        accepting.close();
        accepting.wait().await;
        drop(begun);
        open.close();
        tokio::select! {
            () = open.wait() => {}
            () = shared.phases.stop.cancelled() => {}
        }
        if let Some(census) = census {
            census.abort();
        }
        Ok(())
    })
}

/// What takes a worker's connections in.
#[derive(Clone)]
struct Reception {
    shared: Arc<Shared>,
    connections: Connections,
    /// Every open connection and tunnel.
    open: TaskTracker,
}

impl Reception {
    fn accept_on(&self, socket: Socket, accepting: &TaskTracker) -> io::Result<()> {
        let (reception, listener) = (self.clone(), socket.listener);
        match socket.socket {
            bind::Socket::Tcp(socket) => {
                let socket = TcpListener::from_std(socket)?;
                accepting.spawn(reception.accept(listener, socket, |stream, peer| {
                    prepare(stream)?;
                    Ok(Some(peer.ip()))
                }));
            }
            bind::Socket::Unix(socket) => {
                let socket = UnixListener::from_std(socket)?;
                accepting.spawn(reception.accept(listener, socket, |_, _| Ok(None)));
            }
        }
        Ok(())
    }

    /// Accepts until the gateway drains. `greet` makes a connection ready, and tells the address of its peer.
    async fn accept<L>(
        self,
        listener: Listener,
        mut socket: L,
        greet: impl Fn(&L::Io, L::Addr) -> io::Result<Option<IpAddr>>,
    ) where
        L: Accepts<Io: Carrier>,
    {
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
                    self.serve(stream, false, listener, peer, place);
                }
                Err(cause) => tracing::debug!(%cause, "a connection went away at once"),
            }
        }
    }

    /// Goes on with connections of the process before this one, until that has ended. They had a place there.
    async fn adopt(self, mut adopted: UnboundedReceiver<Adopted>) {
        while let Some(Adopted { listener, is_used, stream }) = adopted.recv().await {
            let place = self.place().await;
            let served = match stream {
                Stream::Tcp(stream) => TcpStream::from_std(stream).and_then(|stream| {
                    let peer = Some(stream.peer_addr()?.ip());
                    self.serve(stream, is_used, listener, peer, place);
                    Ok(())
                }),
                Stream::Unix(stream) => UnixStream::from_std(stream)
                    .map(|stream| self.serve(stream, is_used, listener, None, place)),
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

    fn serve<IO: Carrier>(
        &self,
        io: IO,
        is_used: bool,
        listener: Listener,
        peer: Option<IpAddr>,
        place: Option<OwnedSemaphorePermit>,
    ) {
        let conn = Conn::new(listener, peer, Arc::clone(&self.shared.trusted_proxies.load()));
        let coming = Coming { io, is_used, can_leave: IO::CAN_LEAVE };
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
trait Carrier: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Whether it is nothing but a socket, with which another process can go on.
    const CAN_LEAVE: bool;

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

/// Answers whenever somebody wants to see that this worker turns.
async fn turn(pulse: Pulse, interval: Duration) {
    let (mut ticks, mut seen) = (tokio::time::interval(interval), 0);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        pulse.answer(&mut seen);
    }
}

/// Small writes go out at once, and a peer that vanished without a word is noticed, however silent its stream may be.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE))
}
