//! One connection that lasts: several requests after another, answers that are read piece by piece, and bytes after an upgrade.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::gateway::PATIENCE;
use super::http::{Answer, Ask};

/// An open connection.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl KeepAlive {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { address, stream: BufReader::new(stream) }
    }

    /// Sends a request and reads its whole answer.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Answer {
        self.send(&ask.kept_bytes(self.address));
        self.answer(ask.method())
    }

    /// Sends a request and reads the head of its answer.
    pub(crate) fn start(&mut self, ask: &Ask) -> Answer {
        self.send(&ask.kept_bytes(self.address));
        self.head()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Reads a whole answer to a request with `method`.
    pub(crate) fn answer(&mut self, method: &str) -> Answer {
        let mut answer = self.head();
        let length = answer.header("content-length").map(|length| length.parse().unwrap());
        if method == "HEAD" || matches!(answer.status, 101 | 204 | 304) {
            return answer;
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                answer.body.extend_from_slice(&chunk);
            }
        } else {
            answer.body = vec![0; length.unwrap_or(0)];
            self.stream.read_exact(&mut answer.body).unwrap();
        }
        answer
    }

    fn head(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let read = self.stream.read_until(b'\n', &mut head).unwrap();
            assert!(read > 0, "closed within a head: {:?}", String::from_utf8_lossy(&head));
        }
        Answer::parse(&head)
    }

    /// The next chunk of a chunked body; `None` at its end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
        let mut data = vec![0; size + 2];
        self.stream.read_exact(&mut data).unwrap();
        data.truncate(size);
        Some(data).filter(|data| !data.is_empty())
    }

    /// Exactly `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads until the other side is gone; panics if it still is there after `limit`.
    pub(crate) fn until_closed(&mut self, limit: Duration) -> Vec<u8> {
        let deadline = Instant::now() + limit;
        let mut all = Vec::new();
        let mut some = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "still open after {limit:?}");
            self.stream.get_ref().set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut some) {
                Ok(0) => return all,
                Ok(read) => all.extend_from_slice(&some[..read]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return all,
            }
        }
    }
}
