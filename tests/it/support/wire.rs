//! One connection, byte by byte: for tests that care when something arrives, or who hangs up first.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use tokio::time::Instant;

use super::gateway::PATIENCE;
use super::http::{Answer, Ask};

/// A connection with what was read of it and not yet taken.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// Takes over a connection.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Opens a connection and sends a request on it.
    pub(crate) fn ask(address: SocketAddr, ask: &Ask) -> Self {
        let mut wire = Self::open(address);
        wire.send(&ask.bytes(address));
        wire
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads up to and including `mark`, and takes it.
    pub(crate) fn until(&mut self, mark: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.read.windows(mark.len()).position(|window| window == mark) {
                return self.read.drain(..at + mark.len()).collect();
            }
            assert!(self.more() > 0, "closed before {:?}", String::from_utf8_lossy(mark));
        }
    }

    /// Reads one head.
    pub(crate) fn head(&mut self) -> Answer {
        Answer::parse(&self.until(b"\r\n\r\n"))
    }

    /// Reads one answer with `Content-Length`, and leaves what follows.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer.header("content-length").unwrap().parse().unwrap();
        while self.read.len() < length {
            assert!(self.more() > 0, "closed in a body");
        }
        answer.body = self.read.drain(..length).collect();
        answer
    }

    /// Reads to the end; a reset is an end too.
    pub(crate) fn rest(mut self) -> Vec<u8> {
        while matches!(self.try_more(), Ok(1..)) {}
        self.read
    }

    /// Reads to the end of what the other side sends; what is sent back still goes.
    pub(crate) fn into_its_end(mut self) -> (Vec<u8>, Self) {
        while self.more() > 0 {}
        (std::mem::take(&mut self.read), self)
    }

    /// Whether nothing comes for so long.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let silent = self.read.is_empty()
            && self.try_more().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }

    /// The bare connection, once nothing that was read is left.
    pub(crate) fn into_stream(self) -> TcpStream {
        assert!(self.read.is_empty(), "{} bytes were read and not taken", self.read.len());
        self.stream
    }

    /// Reads `length` bytes and forgets them as they come.
    pub(crate) fn discard(mut self, length: u64) {
        let mut left = length.checked_sub(self.read.len() as u64).unwrap();
        let mut buffer = vec![0; 256 * 1024];
        while left > 0 {
            let count = self.stream.read(&mut buffer).unwrap();
            assert!(count > 0, "closed {left} bytes early");
            left -= count as u64;
        }
    }

    fn more(&mut self) -> usize {
        self.try_more().unwrap()
    }

    fn try_more(&mut self) -> std::io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let count = self.stream.read(&mut buffer)?;
        self.read.extend_from_slice(buffer.get(..count).unwrap());
        Ok(count)
    }
}

/// Waits until `done`, which something outside this process brings about.
pub(crate) fn eventually(what: &str, limit: Duration, done: impl Fn() -> bool) {
    let deadline = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < deadline, "still not after {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
