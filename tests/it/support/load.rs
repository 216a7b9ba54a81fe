//! Requests in numbers: many on their way at once on one connection, and nothing kept of the answers but the status.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::http::Ask;
use super::wait::PATIENCE;

/// One connection.
#[derive(Debug)]
pub(crate) struct Load {
    address: SocketAddr,
    answers: BufReader<TcpStream>,
}

impl Load {
    /// Requests on their way at once.
    pub(crate) const AT_ONCE: u64 = 32;

    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { address, answers: BufReader::new(stream) }
    }

    /// Sends the requests and hands over the status of each answer, in their order; false when the gateway has gone.
    pub(crate) fn send(
        &mut self,
        asks: impl IntoIterator<Item = Ask>,
        mut each: impl FnMut(u16),
    ) -> bool {
        let mut asks = asks.into_iter().peekable();
        while asks.peek().is_some() {
            let some: Vec<Ask> = asks.by_ref().take(Self::AT_ONCE as usize).collect();
            let bytes: Vec<u8> = some.iter().flat_map(|ask| ask.kept_bytes(self.address)).collect();
            if self.answers.get_mut().write_all(&bytes).is_err() {
                return false;
            }
            for _ in some {
                let Some(status) = self.answer() else { return false };
                each(status);
            }
        }
        true
    }

    /// Sends requests that must all be answered with `status`.
    pub(crate) fn must(&mut self, status: u16, asks: impl IntoIterator<Item = Ask>) {
        assert!(self.send(asks, |answered| assert_eq!(answered, status)), "the gateway has gone");
    }

    /// The status of the next answer, whose length its head must tell.
    fn answer(&mut self) -> Option<u16> {
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            self.answers.read_line(&mut line).ok().filter(|count| *count > 0)?;
            match (status, line.trim_end().split_once(": ")) {
                (None, _) => status = Some(line.split(' ').nth(1)?.parse().ok()?),
                (_, Some((name, value))) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().ok()?;
                }
                (_, Some(_)) => {}
                (_, None) => break,
            }
        }
        let mut body = vec![0; length];
        self.answers.read_exact(&mut body).ok()?;
        status
    }
}
