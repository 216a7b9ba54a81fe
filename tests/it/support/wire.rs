//! One connection, byte by byte, from either side: several requests after another, answers that are read piece by
//! piece, bytes after an upgrade, and who hangs up when.
//!
//! Reads give up, and the test with them, when nothing comes for as long as [`PATIENCE`].

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::http::{Answer, Ask};
use super::wait::PATIENCE;

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

    /// Sends a request and reads its whole answer, however long that says it is.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Answer {
        self.send_ask(ask);
        self.answer_to(ask.method())
    }

    /// The same; none where the other side is gone, be it by a reset.
    pub(crate) fn try_ask(&mut self, ask: &Ask) -> Option<Answer> {
        let address = self.stream.peer_addr().ok()?;
        self.stream.write_all(&ask.kept_bytes(address)).ok()?;
        while !self.read.windows(4).any(|window| window == b"\r\n\r\n") {
            match self.try_more() {
                Ok(1..) => {}
                Err(why) if why.kind() == ErrorKind::WouldBlock => panic!("nothing comes: {why}"),
                Ok(0) | Err(_) => return None,
            }
        }
        Some(self.answer_to(ask.method()))
    }

    /// Sends a request and reads the head of its answer.
    pub(crate) fn start(&mut self, ask: &Ask) -> Answer {
        self.send_ask(ask);
        self.head()
    }

    fn send_ask(&mut self, ask: &Ask) {
        let address = self.stream.peer_addr().unwrap();
        self.send(&ask.kept_bytes(address));
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
                return self.take(at + mark.len());
            }
            assert!(self.more() > 0, "closed before {:?}", String::from_utf8_lossy(mark));
        }
    }

    /// Reads exactly `count` bytes, and takes them.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.more() > 0, "closed before {count} bytes");
        }
        self.read.drain(..count).collect()
    }

    /// Reads one head.
    pub(crate) fn head(&mut self) -> Answer {
        Answer::parse(&self.until(b"\r\n\r\n"))
    }

    /// Reads one answer with `Content-Length`, and leaves what follows.
    pub(crate) fn answer(&mut self) -> Answer {
        let answer = self.answer_to("GET");
        assert!(answer.header("content-length").is_some(), "{answer:?}");
        answer
    }

    /// Reads one answer to a request with `method`, whose end is known from its head or its chunks.
    pub(crate) fn answer_to(&mut self, method: &str) -> Answer {
        let mut answer = self.head();
        if method == "HEAD" || matches!(answer.status, 101 | 204 | 304) {
            return answer;
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                answer.body.extend_from_slice(&chunk);
            }
        } else {
            let length = answer.header("content-length").unwrap().parse().unwrap();
            answer.body = self.take(length);
        }
        answer
    }

    /// The next chunk of a chunked body without trailers; `None` at its end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = String::from_utf8(self.until(b"\r\n")).unwrap();
        let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
        let mut data = self.take(size + 2);
        data.truncate(size);
        Some(data).filter(|data| !data.is_empty())
    }

    /// Reads to the end of what the other side sends, which must be no reset; what is sent back still goes.
    pub(crate) fn until_finished(&mut self) -> Vec<u8> {
        while self.more() > 0 {}
        std::mem::take(&mut self.read)
    }

    /// Reads to the end of the connection, which must be a reset.
    pub(crate) fn until_reset(&mut self) {
        let why = loop {
            match self.try_more() {
                Ok(0) => panic!("it ended as if all had been said"),
                Ok(_) => {}
                Err(why) => break why,
            }
        };
        assert_eq!(why.kind(), ErrorKind::ConnectionReset);
    }

    /// Reads until the other side is gone, be it by a reset; panics if it still is there after `limit`.
    pub(crate) fn until_closed(&mut self, limit: Duration) -> Vec<u8> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "still open after {limit:?}");
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.try_more() {
                Ok(1..) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Ok(0) | Err(_) => return std::mem::take(&mut self.read),
            }
        }
    }

    /// Whether nothing comes for so long.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let silent = self.read.is_empty()
            && self.try_more().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }

    /// Whether something has come that was not taken, or the other side has closed.
    pub(crate) fn has_something(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        !self.read.is_empty() || peeked.is_ok()
    }

    /// Goes with a reset, without a goodbye.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads `length` bytes and forgets them as they come.
    pub(crate) fn discard(&mut self, length: u64) {
        let mut left = length.checked_sub(self.read.len() as u64).unwrap();
        self.read.clear();
        let mut buffer = vec![0; 256 * 1024];
        while left > 0 {
            let most = usize::try_from(left).unwrap().min(buffer.len());
            let count = self.stream.read(&mut buffer[..most]).unwrap();
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
        self.read.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

/// Sends bytes on a connection of their own and reads until the other side closes.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut wire = Wire::open(address);
    // The other side may answer and close before it has read everything.
    let _ = wire.stream.write_all(bytes);
    let mut answer = Vec::new();
    if let Err(error) = wire.stream.read_to_end(&mut answer) {
        assert!(!answer.is_empty(), "no answer: {error}");
    }
    answer
}
