//! One serving thread: a single-threaded runtime with its own sockets, upstream pool and stack.
//!
//! Workers share immutable snapshots and nothing that has to be locked on the way of a request.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures_util::FutureExt as _;
use ipnet::IpNet;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::net::Listener as Accepts;
use tokio_util::task::TaskTracker;

use crate::endpoint::Audit;
use crate::layer::auth::Gate;
use crate::layer::cors::Cors;
use crate::layer::observe::Watch;
use crate::lifecycle::Phases;
use crate::listener::bind;
use crate::proxy::admission::Admissions;
use crate::proxy::pool;
use crate::proxy::tunnel::Tunnels;
use crate::proxy::{Forwarder, Upstreams};
use crate::record::Observers;
use crate::request::Conn;
use crate::request::trace::Sampler;
use crate::route::Listener;
use crate::server::connection::{self, Connections};
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
    /// Whose forwarded headers are believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Places for open connections.
    pub places: Arc<Semaphore>,
    /// The steps of stopping.
    pub phases: Phases,
}

/// One socket of a worker and what it stands for.
#[derive(Debug)]
pub struct Socket {
    /// What requests on it are for.
    pub listener: Listener,
    /// The socket.
    pub socket: bind::Socket,
}

/// How long a connection may be silent before the kernel asks whether its peer is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long accepting rests after it failed, for want of file descriptors most likely.
const REST: Duration = Duration::from_millis(50);

/// Serves until the gateway drains and every connection has ended, or until it stops.
///
/// # Errors
/// The runtime or a socket could not be set up.
pub fn run(shared: Arc<Shared>, sockets: Vec<Socket>, keeps_census: bool) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let tunnels = Tunnels {
            open: TaskTracker::new(),
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
            let (admissions, asker) = (Arc::clone(&shared.admissions), forwarder.asker());
            tokio::spawn(async move { admissions.census.keep(&asker, admissions.cadence).await })
        });
        let callback = shared.gate.authenticator.callback();
        let line = callback.map(|callback| callback.line()).transpose()?;
        let watch = Watch {
            cors: Arc::clone(&shared.cors),
            observers: shared.observers.clone(),
            sampler: shared.sampler,
        };
        let stack = stack(Arc::clone(&shared.gate), line, watch, shared.audit.clone(), forwarder);
        let connections = Connections::new(&shared.connections, stack);
        let worker = Worker { shared: &shared, connections, open: tunnels.open.clone() };
        let accepting = TaskTracker::new();
        for socket in sockets {
            worker.accept_on(socket, &accepting)?;
        }
        let begun = shared.phases.accepting.begin();
        accepting.close();
        accepting.wait().await;
        drop(begun);
        worker.open.close();
        tokio::select! {
            () = worker.open.wait() => {}
            () = shared.phases.stop.cancelled() => {}
        }
        if let Some(census) = census {
            census.abort();
        }
        Ok(())
    })
}

struct Worker<'a> {
    shared: &'a Arc<Shared>,
    connections: Connections,
    /// Every open connection and tunnel.
    open: TaskTracker,
}

impl Worker<'_> {
    fn accept_on(&self, socket: Socket, accepting: &TaskTracker) -> io::Result<()> {
        let accept = Accept {
            shared: Arc::clone(self.shared),
            connections: self.connections.clone(),
            open: self.open.clone(),
            listener: socket.listener,
        };
        match socket.socket {
            bind::Socket::Tcp(socket) => {
                let socket = TcpListener::from_std(socket)?;
                accepting.spawn(accept.from(socket, |stream, peer| {
                    prepare(stream)?;
                    Ok(Some(peer.ip()))
                }));
            }
            bind::Socket::Unix(socket) => {
                let socket = UnixListener::from_std(socket)?;
                accepting.spawn(accept.from(socket, |_, _| Ok(None)));
            }
        }
        Ok(())
    }
}

/// The accept loop of one socket.
struct Accept {
    shared: Arc<Shared>,
    connections: Connections,
    open: TaskTracker,
    listener: Listener,
}

impl Accept {
    /// Accepts until the gateway drains. `greet` makes a connection ready, and tells the address of its peer.
    async fn from<L>(
        self,
        mut socket: L,
        greet: impl Fn(&L::Io, L::Addr) -> io::Result<Option<IpAddr>>,
    ) where
        L: Accepts<Io: Unpin + Send + 'static>,
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
                    let Some(place) = self.place().await else { return };
                    self.serve(stream, peer, place);
                }
                Err(cause) => tracing::debug!(%cause, "a connection went away at once"),
            }
        }
    }

    /// A place for one more connection; `None` once the gateway drains. While there is none, further connections wait in the
    /// kernel's queue.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            place = Arc::clone(&self.shared.places).acquire_owned() => place.ok(),
            () = self.shared.phases.drain.cancelled() => None,
        }
    }

    fn serve<IO>(&self, stream: IO, peer: Option<IpAddr>, place: OwnedSemaphorePermit)
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let conn = Conn::new(self.listener, peer, Arc::clone(&self.shared.trusted_proxies));
        let serving = self.connections.serve(stream, Arc::new(conn), &self.shared.phases);
        // An async block would take the room of this future twice, for as long as the connection lasts.
        self.open.spawn(serving.map(|()| drop(place)));
    }
}

/// Small writes go out at once, and a peer that vanished without a word is noticed, however silent its stream may be.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE))
}
