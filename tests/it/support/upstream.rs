//! An upstream that does exactly what a test says, byte by byte: for answers that no well-behaved server gives, and to
//! see what really went over the wire.
//!
//! Each connection runs the test's script with a [`Talk`]; whatever it reads is kept.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::gateway::{Gateway, Setup};
use super::world;

/// What one connection sent, as it grows.
type Bytes = Arc<Mutex<Vec<u8>>>;

#[derive(Debug, Default)]
struct Seen {
    connections: Vec<Bytes>,
    requests: Vec<String>,
}

/// A scripted upstream. Its thread lives as long as the test's process.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Upstream {
    /// Runs `script` for each connection, with its number from 0.
    pub(crate) fn start(script: impl Fn(usize, &mut Talk) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// The same on a socket that was bound before.
    pub(crate) fn on(
        listener: TcpListener,
        script: impl Fn(usize, &mut Talk) + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (script, shared) = (Arc::new(script), Arc::clone(&seen));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let bytes = Bytes::default();
                shared.lock().unwrap().connections.push(Arc::clone(&bytes));
                let (script, seen) = (Arc::clone(&script), Arc::clone(&shared));
                thread::spawn(move || {
                    script(number, &mut Talk { stream, bytes, seen, unread: Vec::new() });
                });
            }
        });
        Self { address, seen }
    }

    /// Answers every request with these bytes, and keeps its connections open.
    pub(crate) fn always(answer: &'static str) -> Self {
        Self::start(move |_, talk| {
            while talk.request().is_some() {
                talk.send(answer);
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request read so far by a script, as text.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// Everything that came in so far, of all connections.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let seen = self.seen.lock().unwrap();
        seen.connections.iter().flat_map(|bytes| bytes.lock().unwrap().clone()).collect()
    }

    /// A gateway with the usual keys before this upstream, for both planes.
    pub(crate) fn gateway(&self) -> Gateway {
        self.gateway_with(|setup| setup.env("COPPICE_API_KEYS", world::key_list()))
    }

    /// A gateway without keys before this upstream, or as `change` makes it. One worker, so that there is one pool.
    pub(crate) fn gateway_with(&self, change: impl FnOnce(Setup) -> Setup) -> Gateway {
        gateway_before(&self.url(), change)
    }
}

/// A gateway with one worker before the upstream at `url`.
pub(crate) fn gateway_before(url: &str, change: impl FnOnce(Setup) -> Setup) -> Gateway {
    let setup = world::setup_before(url, url);
    change(setup.flag("--envd-listen=127.0.0.1:0=*").flag("--workers=1")).start(2)
}

/// One connection, from the upstream's side.
#[derive(Debug)]
pub(crate) struct Talk {
    stream: TcpStream,
    bytes: Bytes,
    seen: Arc<Mutex<Seen>>,
    unread: Vec<u8>,
}

impl Talk {
    /// Reads one head and counts it as a request; `None` when the other side has closed.
    pub(crate) fn head(&mut self) -> Option<String> {
        let end = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                break end + 4;
            }
            self.fill()?;
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        let text = String::from_utf8_lossy(&head).into_owned();
        self.seen.lock().unwrap().requests.push(text.clone());
        Some(text)
    }

    /// Reads one request to its end; what is kept of it is its head.
    pub(crate) fn request(&mut self) -> Option<String> {
        let head = self.head()?;
        let lower = head.to_ascii_lowercase();
        if lower.contains("transfer-encoding: chunked") {
            while find(&self.unread, b"0\r\n")
                .is_none_or(|at| find(&self.unread[at..], b"\r\n\r\n").is_none())
            {
                self.fill()?;
            }
            self.unread.clear();
        } else if let Some((_, rest)) = lower.split_once("content-length: ") {
            let length: usize = rest.lines().next().unwrap().trim().parse().unwrap();
            while self.unread.len() < length {
                self.fill()?;
            }
            self.unread.drain(..length);
        }
        Some(head)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The gateway may have gone, and then it is its answer that tells.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Reads until the other side closes.
    pub(crate) fn stall(&mut self) {
        while self.fill().is_some() {}
    }

    /// Ends the connection with a reset instead of a close.
    pub(crate) fn reset(&mut self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    fn fill(&mut self) -> Option<()> {
        let mut buffer = [0; 16 * 1024];
        let count = self.stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        self.unread.extend_from_slice(&buffer[..count]);
        self.bytes.lock().unwrap().extend_from_slice(&buffer[..count]);
        Some(())
    }
}

/// A whole answer with this body.
pub(crate) fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
