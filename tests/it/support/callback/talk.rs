//! What the gateway sends an auth service, and the ways in which that can answer or fail to.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};

/// One request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// The request target: path and query.
    pub(crate) target: String,
    /// Every line, names as they were written.
    pub(crate) headers: Vec<(String, String)>,
    /// The head, and whatever came right behind it.
    pub(crate) raw: Vec<u8>,
}

impl Call {
    fn parse(raw: Vec<u8>) -> Self {
        let text = String::from_utf8(raw.clone()).unwrap();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap().split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let headers = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Self { method, target, headers, raw }
    }

    /// The values of all lines with this name, in any letter case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of the only line with this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name}: {self:?}");
        all.first().copied()
    }

    /// What is judged: `Authorization`'s or `X-API-Key`'s value.
    pub(crate) fn credential(&self) -> &str {
        let bearer = self.header("authorization").map(|value| &value["Bearer ".len()..]);
        bearer.or(self.header("x-api-key")).unwrap()
    }

    pub(crate) fn path(&self) -> &str {
        self.header("x-request-path").unwrap()
    }
}

/// How a call is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// An empty answer with these headers, on a connection that is kept.
    Status(u16, Vec<(String, String)>),
    /// The same, on a connection that is closed right after it without having said so.
    StatusAndClose(u16),
    /// These bytes, and the connection is closed.
    Bytes(Vec<u8>),
    /// Nothing, ever.
    Silence,
    /// Half a head, then a reset.
    Reset,
    /// A good head, one byte every 200 ms.
    Drip,
    /// A head whose lines do not end.
    EndlessHead,
    /// 200 at once, and a body that does not end.
    EndlessBody,
    /// 200 at once, and a body of so many bytes.
    Body(usize),
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self::Status(status, Vec::new())
    }

    /// 200, which allows.
    pub(crate) fn allow() -> Self {
        Self::status(200)
    }

    /// The answer with one more header; only for whole answers.
    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        let Self::Status(status, mut headers) = self else {
            panic!("only whole answers have headers")
        };
        headers.push((name.to_owned(), value.to_owned()));
        Self::Status(status, headers)
    }

    /// The status, where it is a whole answer that says one.
    pub(crate) fn number(&self) -> Option<u16> {
        if let Self::Status(number, _) = self { Some(*number) } else { None }
    }

    /// The answer with `Cache-Control: max-age`.
    pub(crate) fn max_age(self, seconds: u32) -> Self {
        self.with("Cache-Control", &format!("max-age={seconds}"))
    }

    /// Answers. Whether another call may follow on the connection.
    pub(super) fn send(&self, channel: &mut Channel) -> io::Result<bool> {
        match self {
            Self::Status(status, headers) => {
                channel.write_all(&head(*status, headers, "Content-Length: 0\r\n"))?;
                return Ok(true);
            }
            Self::StatusAndClose(status) => {
                channel.write_all(&head(*status, &[], "Content-Length: 0\r\n"))?;
            }
            Self::Bytes(bytes) => channel.write_all(bytes)?,
            Self::Silence => {
                while !channel.is_gone() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            Self::Reset => {
                channel.write_all(b"HTTP/1.1 200 OK\r\nContent-Le")?;
                socket2::SockRef::from(channel.tcp()).set_linger(Some(Duration::ZERO))?;
            }
            Self::Drip => {
                for byte in head(200, &[], "Content-Length: 0\r\n") {
                    channel.write_all(&[byte])?;
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
            Self::EndlessHead => {
                channel.write_all(b"HTTP/1.1 200 OK\r\n")?;
                loop {
                    channel.write_all(b"X-More: 0123456789012345678901234567890123456789\r\n")?;
                }
            }
            Self::EndlessBody => {
                channel.write_all(&head(200, &[], "Transfer-Encoding: chunked\r\n"))?;
                let chunk = [b"1000\r\n", &[b'x'; 0x1000][..], b"\r\n"].concat();
                loop {
                    channel.write_all(&chunk)?;
                }
            }
            Self::Body(length) => {
                let framing = format!("Content-Length: {length}\r\n");
                channel.write_all(&head(200, &[], &framing))?;
                let piece = [b'x'; 0x10000];
                let mut left = *length;
                while left > 0 {
                    let count = left.min(piece.len());
                    channel.write_all(&piece[..count])?;
                    left -= count;
                }
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn head(status: u16, headers: &[(String, String)], framing: &str) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n{framing}");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// A connection from the gateway.
#[derive(Debug)]
pub(super) enum Channel {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Channel {
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref(),
        }
    }

    /// Reads the next call; `None` when there will be none.
    pub(super) fn call(&mut self) -> Option<Call> {
        let (mut raw, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        while !raw.windows(4).any(|window| window == b"\r\n\r\n") {
            let count = self.read(&mut buffer).ok().filter(|count| *count > 0)?;
            raw.extend_from_slice(&buffer[..count]);
        }
        Some(Call::parse(raw))
    }

    /// Whether the gateway has closed or reset its side.
    pub(super) fn is_gone(&self) -> bool {
        let tcp = self.tcp();
        tcp.set_nonblocking(true).unwrap();
        let peeked = tcp.peek(&mut [0]);
        tcp.set_nonblocking(false).unwrap();
        match (peeked, self) {
            (Ok(0), _) => true,
            // A goodbye in TLS: nothing else comes before the answer.
            (Ok(_), Self::Tls(_)) => true,
            (Ok(_), Self::Plain(_)) => false,
            (Err(error), _) => error.kind() != ErrorKind::WouldBlock,
        }
    }
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
