//! One sandbox whose application is the test itself, so that it sees both ends of a request, byte by byte.

use std::net::TcpListener;

use super::gateway::Setup;
use super::wire::Wire;
use super::world::{DOMAIN, World};

/// The usual arrangement with such a sandbox.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) world: World,
    listener: TcpListener,
    id: String,
    token: String,
}

impl App {
    pub(crate) fn new() -> Self {
        Self::with(|setup| setup)
    }

    /// The same before a gateway that was changed.
    pub(crate) fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let (world, listener) = World::with_app(change);
        let (id, token) = world.create("exec");
        Self { world, listener, id, token }
    }

    /// A client's connection, on which nothing was sent yet.
    pub(crate) fn client(&self) -> Wire {
        Wire::open(self.world.data())
    }

    /// The head of a request for a port, in full; `head` is its first line and whole header lines.
    pub(crate) fn head(&self, port: u16, head: &str) -> String {
        let Self { id, token, .. } = self;
        let (first, rest) = head.split_once("\r\n").unwrap_or((head, ""));
        format!("{first}\r\nHost: {port}-{id}.{DOMAIN}\r\nX-Access-Token: {token}\r\n{rest}\r\n")
    }

    /// Sends such a head on a connection of its own.
    pub(crate) fn begin(&self, port: u16, head: &str) -> Wire {
        let mut client = self.client();
        client.send(self.head(port, head).as_bytes());
        client
    }

    /// The next connection to the application, and the head that came on it, in lower case.
    pub(crate) fn accept(&self) -> (Wire, String) {
        let mut app = Wire::over(self.listener.accept().unwrap().0);
        let head = app.until(b"\r\n\r\n");
        (app, String::from_utf8(head).unwrap().to_ascii_lowercase())
    }
}
