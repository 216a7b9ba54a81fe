//! Binds the sockets, once for all workers.
//!
//! Where the system spreads connections over sockets on the same address (`SO_REUSEPORT`), there is one for each worker, so
//! that no accept queue is shared. Elsewhere, and for unix sockets, workers share one.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use socket2::{Domain, Protocol, SockAddr, Type};

use crate::platform::SPREADS_PORTS;

const BACKLOG: i32 = 1024;

/// One listening socket, not yet in any runtime.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

impl Socket {
    /// Another one with the same accept queue.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
        }
    }

    /// A socket that somebody else opened, of whichever kind it is.
    ///
    /// # Errors
    /// It is none that a server listens on.
    pub fn adopt(descriptor: OwnedFd) -> io::Result<Self> {
        let socket = socket2::Socket::from(descriptor);
        let domain = socket.local_addr()?.domain();
        if !socket.is_listener()? || socket.r#type()? != Type::STREAM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no listening socket"));
        }
        socket.set_nonblocking(true)?;
        match domain {
            Domain::UNIX => Ok(Self::Unix(socket.into())),
            Domain::IPV4 | Domain::IPV6 => Ok(Self::Tcp(socket.into())),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        match socket {
            Socket::Tcp(socket) => socket.into(),
            Socket::Unix(socket) => socket.into(),
        }
    }
}

/// Binds `address` for `workers`: a socket for each of them, or one for all. Port 0 becomes one free port for all.
///
/// # Errors
/// The address is in use or not ours.
pub fn tcp(address: SocketAddr, workers: usize) -> io::Result<(Vec<Socket>, SocketAddr)> {
    // The first shares the address with nobody and listens at once, so that another program there is noticed, and a second
    // gateway that starts at the same moment as well. Who connects meanwhile is in the queue of a worker.
    let (first, address) = claim(address, false)?;
    first.listen(BACKLOG)?;
    if SPREADS_PORTS {
        first.set_reuse_port(true)?;
    }
    let mut sockets = vec![first];
    if SPREADS_PORTS {
        for _ in 1..workers {
            let (another, _) = claim(address, true)?;
            another.listen(BACKLOG)?;
            sockets.push(another);
        }
    }
    Ok((sockets.into_iter().map(|socket| Socket::Tcp(socket.into())).collect(), address))
}

/// A socket that has `address`, and which one that is. Nobody can connect to it yet.
fn claim(address: SocketAddr, shared: bool) -> io::Result<(socket2::Socket, SocketAddr)> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let bound = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok((socket, bound))
}

/// Binds a unix socket at `path`. A socket file that nobody answers on any more is replaced; one on which somebody may, is
/// not.
///
/// # Errors
/// Something answers there, or the path cannot be bound.
pub fn unix(path: &Path) -> io::Result<Socket> {
    match knock(path) {
        Err(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => {
            if std::fs::symlink_metadata(path).is_ok_and(|metadata| is_socket(&metadata)) {
                std::fs::remove_file(path)?;
            }
        }
        // Whatever else is there is for the system to object to.
        Err(cause) if cause.kind() != io::ErrorKind::WouldBlock => {}
        // Its queue may be full.
        Ok(()) | Err(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another program listens on this socket",
            ));
        }
    }
    let one = UnixListener::bind(path)?;
    one.set_nonblocking(true)?;
    Ok(Socket::Unix(one))
}

/// Connects, without waiting for anybody who is too busy.
fn knock(path: &Path) -> io::Result<()> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

fn is_socket(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    metadata.file_type().is_socket()
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn a_taken_address_is_noticed_although_workers_share_theirs() {
        let (first, address) = tcp("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        assert_eq!(tcp(address, 2).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(tcp(address, 2).is_ok());
    }

    #[test]
    fn of_two_that_bind_at_the_same_moment_one_notices() {
        for _ in 0..200 {
            let address = tcp("127.0.0.1:0".parse().unwrap(), 1).unwrap().1;
            let both = Barrier::new(2);
            let bind = || {
                both.wait();
                tcp(address, 3)
            };
            let (one, other) = std::thread::scope(|scope| {
                let other = scope.spawn(bind);
                (bind(), other.join().unwrap())
            });
            assert_ne!(one.is_ok(), other.is_ok());
        }
    }

    #[test]
    fn all_workers_get_connections() {
        let (sockets, address) = tcp("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let clients: Vec<_> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
        let accepted = |socket: &Socket| match socket {
            Socket::Tcp(socket) => std::iter::from_fn(|| socket.accept().ok()).count(),
            Socket::Unix(_) => 0,
        };
        let counts: Vec<usize> = sockets.iter().map(accepted).collect();
        assert_eq!(counts.iter().sum::<usize>(), clients.len());
        assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
    }

    #[test]
    fn a_dead_socket_file_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gate.sock");
        let live = unix(&path).unwrap();
        assert_eq!(unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(live);
        assert!(unix(&path).is_ok());
        std::fs::write(directory.path().join("file"), "kept").unwrap();
        assert!(unix(&directory.path().join("file")).is_err());
    }

    #[test]
    fn only_who_certainly_answers_no_more_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let taken = |path: &Path| unix(path).unwrap_err().kind() == io::ErrorKind::AddrInUse;
        // Of another kind, which cannot be connected to.
        let path = directory.path().join("datagrams.sock");
        let other = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        assert!(taken(&path));
        let client = std::os::unix::net::UnixDatagram::unbound().unwrap();
        client.send_to(b"there", &path).unwrap();
        assert_eq!(other.recv(&mut [0; 8]).unwrap(), 5);
        // Too busy to accept.
        let path = directory.path().join("busy.sock");
        let busy = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let address = SockAddr::unix(&path).unwrap();
        busy.bind(&address).unwrap();
        busy.listen(0).unwrap();
        let connect = || {
            let client = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            client.connect(&address).map(|()| client)
        };
        let waiting: Vec<_> = std::iter::from_fn(|| connect().ok()).take(100).collect();
        assert!(waiting.len() < 100, "its queue is full");
        assert!(taken(&path));
        assert!(busy.accept().is_ok());
    }
}
