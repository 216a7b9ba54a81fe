//! Addresses of auth services that nobody can talk to.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// An address that refuses connections for as long as this value lives: bound, so that nobody else gets it, and not
/// listening.
#[derive(Debug)]
pub(crate) struct Deaf(Socket);

impl Deaf {
    pub(crate) fn new() -> Self {
        Self(bound())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        address(&self.0)
    }
}

/// An address that neither takes connections nor refuses them: its queue is full and nobody empties it.
#[derive(Debug)]
pub(crate) struct Full {
    socket: Socket,
    _queued: Vec<TcpStream>,
}

impl Full {
    pub(crate) fn new() -> Self {
        let socket = bound();
        socket.listen(0).unwrap();
        let address = address(&socket);
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            queued.push(stream);
            assert!(queued.len() < 100, "the queue takes everything");
        }
        Self { socket, _queued: queued }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        address(&self.socket)
    }
}

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket
}

fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}
