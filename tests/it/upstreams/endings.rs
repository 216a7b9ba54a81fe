//! Ends of connections in TLS: what was closed is not used again, and only a goodbye ends what has no other end.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;

use coppice_gateway::simulator::Options;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::NAMES;
use crate::support::authority::Authority;
use crate::support::wait::PATIENCE;
use crate::support::world::DOMAIN;
use crate::support::{Ask, Wire, World};

type Talk = StreamOwned<ServerConnection, TcpStream>;

/// Sandboxes whose ports are all one server with TLS, which is the test itself.
pub(super) struct Ports {
    pub(super) world: World,
    listener: TcpListener,
    config: Arc<ServerConfig>,
    sandbox: (String, String),
}

impl Ports {
    /// The server may insist on a certificate, of which the gateway has none.
    pub(super) fn new(ask_client: bool) -> Self {
        let authority = Authority::new();
        let config = authority.server(NAMES, ask_client);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let world = World::with(Options::default(), |setup| {
            let setup = setup.without("--envd-upstream=").flag(format!("--envd-upstream={url}"));
            setup
                .without("--workers")
                .flag("--workers=1")
                .flag(super::path("ca", &authority.file()))
        });
        let sandbox = world.create("exec");
        Self { world, listener, config, sandbox }
    }

    /// Has `serve` talk on so many connections, one after the other, each from when a head was read, which it is given.
    pub(super) fn serve(
        &self,
        connections: usize,
        mut serve: impl FnMut(&mut Talk, String) + Send + 'static,
    ) -> thread::JoinHandle<()> {
        let (listener, config) = (self.listener.try_clone().unwrap(), Arc::clone(&self.config));
        thread::spawn(move || {
            for _ in 0..connections {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut talk = StreamOwned::new(connection, listener.accept().unwrap().0);
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    // Whoever gets no further than the handshake has nothing to say.
                    let Ok(()) = talk.read_exact(&mut byte) else { break };
                    head.push(byte[0]);
                }
                serve(&mut talk, String::from_utf8(head).unwrap());
            }
        })
    }

    /// A request to a sandbox's port.
    pub(super) fn ask(&self, path: &str) -> Ask {
        let (id, token) = &self.sandbox;
        Ask::get(path).host(&format!("8080-{id}.{DOMAIN}")).header("X-Access-Token", token)
    }
}

/// Says goodbye, after which more can be read.
pub(super) fn finish(talk: &mut Talk) {
    talk.conn.send_close_notify();
    talk.flush().unwrap();
}

const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn what_its_upstream_has_closed_is_not_used_again() {
    for polite in [true, false] {
        let ports = Ports::new(false);
        let (closed, is_closed) = mpsc::channel();
        let server = ports.serve(4, move |talk, _| {
            talk.write_all(WHOLE).unwrap();
            if polite {
                finish(talk);
            }
            talk.sock.shutdown(Shutdown::Both).unwrap();
            closed.send(()).unwrap();
        });
        for _ in 0..4 {
            assert_eq!(ports.ask("/").send(ports.world.data()).text(), "hi");
            is_closed.recv().unwrap();
        }
        server.join().unwrap();
    }
}

#[test]
fn an_answer_without_a_length_ends_with_a_goodbye_and_not_without() {
    let ports = Ports::new(false);
    let (read, is_read) = mpsc::channel();
    let server = ports.serve(2, move |talk, head| {
        talk.write_all(b"HTTP/1.1 200 OK\r\n\r\nas it seems, all of it").unwrap();
        if head.contains("/polite") {
            finish(talk);
        } else {
            is_read.recv().unwrap();
        }
        talk.sock.shutdown(Shutdown::Both).unwrap();
    });
    let whole = ports.ask("/polite").send(ports.world.data());
    assert_eq!(whole.text(), "as it seems, all of it");
    let mut wire = Wire::open(ports.world.data());
    assert_eq!(wire.start(&ports.ask("/cut")).status, 200);
    wire.until(b"all of it\r\n");
    read.send(()).unwrap();
    assert_eq!(wire.until_closed(PATIENCE), b"", "no last chunk");
    server.join().unwrap();
}

#[test]
fn either_side_of_a_tunnel_may_finish_first_and_a_cut_is_no_end() {
    let ports = Ports::new(false);
    let server = ports.serve(3, |talk, head| {
        talk.write_all(b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: tcp\r\n\r\nfirst")
            .unwrap();
        let mut rest = String::new();
        if head.contains("/cut") {
            talk.sock.shutdown(Shutdown::Both).unwrap();
            return;
        }
        if head.contains("/finish") {
            finish(talk);
            talk.read_to_string(&mut rest).unwrap();
        } else {
            talk.read_to_string(&mut rest).unwrap();
            talk.write_all(b"heard it all").unwrap();
            finish(talk);
        }
        assert_eq!(rest, "the end");
    });
    for path in ["/listen", "/finish", "/cut"] {
        let mut wire = Wire::open(ports.world.data());
        let ask = ports.ask(path).header("Connection", "Upgrade").header("Upgrade", "tcp");
        assert_eq!(wire.start(&ask).status, 101);
        wire.until(b"first");
        if path == "/cut" {
            wire.until_reset();
        } else if path == "/finish" {
            assert_eq!(wire.until_finished(), b"");
            wire.send(b"the end");
            wire.finish();
        } else {
            wire.send(b"the end");
            wire.finish();
            assert_eq!(wire.until_finished(), b"heard it all");
        }
    }
    server.join().unwrap();
}
