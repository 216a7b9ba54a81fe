//! A raw HTTP/2 client (RFC 9113): sends the frames that a test spells out, well-formed or not, and reads what comes
//! back.
//!
//! Headers go out as literals without indexing or Huffman coding (RFC 7541 6.2.2), so that any name and any bytes can
//! be sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::wait::PATIENCE;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With an answer.
    Answered(u16, String),
    /// With RST_STREAM.
    Reset,
    /// With its connection.
    Gone,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Frames {
    stream: TcpStream,
    /// The server's SETTINGS, as pairs.
    pub(crate) settings: Vec<(u16, u32)>,
}

impl Frames {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let mut frames = Self { stream, settings: Vec::new() };
        frames.send(SETTINGS, 0, 0, &[]);
        let first = frames.read().unwrap();
        assert_eq!(first.kind, SETTINGS);
        let pairs = first.payload.chunks(6);
        frames.settings = pairs
            .map(|pair| {
                let value = u32::from_be_bytes(pair[2..6].try_into().unwrap());
                (u16::from_be_bytes([pair[0], pair[1]]), value)
            })
            .collect();
        frames.send(SETTINGS, 1, 0, &[]);
        frames
    }

    /// Sends one frame. An error is the server's doing, and shows when its frames are read.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        let _ = self.stream.write_all(&bytes);
    }

    /// Sends a request head.
    pub(crate) fn head(&mut self, stream: u32, fields: &[(&str, &str)], end: bool) {
        let block = block(fields);
        let mut parts = block.chunks(16_000).peekable();
        let mut kind = HEADERS;
        let mut flags = if end { END_STREAM } else { 0 };
        while let Some(part) = parts.next() {
            let last = if parts.peek().is_none() { END_HEADERS } else { 0 };
            self.send(kind, flags | last, stream, part);
            (kind, flags) = (9, 0);
        }
    }

    /// The next frame; `None` when the connection has ended.
    pub(crate) fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap()) & 0x7fff_ffff;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Answers a PING, and nothing else.
    pub(crate) fn answer(&mut self, frame: &Frame) {
        if frame.kind == PING && frame.flags == 0 {
            self.send(PING, 1, 0, &frame.payload);
        }
    }

    /// Reads until `stream` has ended.
    pub(crate) fn end_of(&mut self, stream: u32) -> End {
        let (mut status, mut body) = (0, Vec::new());
        while let Some(frame) = self.read() {
            match frame.kind {
                GOAWAY => return End::Gone,
                PING => self.answer(&frame),
                _ if frame.stream != stream => continue,
                RST_STREAM if status == 0 => return End::Reset,
                HEADERS if status == 0 => status = status_of(&frame.payload),
                DATA => body.extend_from_slice(&frame.payload),
                _ => {}
            }
            if status != 0 && matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0
            {
                return End::Answered(status, String::from_utf8(body).unwrap());
            }
        }
        End::Gone
    }
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // An integer of a prefix of 7 bits (RFC 7541 5.1).
            match u8::try_from(text.len()) {
                Ok(short) if short < 127 => block.push(short),
                _ => {
                    let mut rest = text.len() - 127;
                    block.push(127);
                    while rest >= 128 {
                        block.push(u8::try_from(rest % 128).unwrap() | 128);
                        rest /= 128;
                    }
                    block.push(u8::try_from(rest).unwrap());
                }
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// `:status`, which servers send first: from the static table, or a literal of three digits, most often Huffman-coded.
fn status_of(block: &[u8]) -> u16 {
    let mut at = 0;
    while block[at] & 0xe0 == 0x20 {
        at += 1; // A dynamic table size update.
    }
    match block[at] {
        indexed @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        0x48 | 0x08 if block[at + 1] & 0x80 == 0 => {
            std::str::from_utf8(&block[at + 2..at + 5]).unwrap().parse().unwrap()
        }
        0x48 | 0x08 => huffman_digits(&block[at + 2..at + 2 + usize::from(block[at + 1] & 0x7f)]),
        other => panic!("no status at the start of {block:x?}: {other:x}"),
    }
}

/// Three digits: 0 to 2 have codes of five bits, the others of six (RFC 7541 appendix B).
fn huffman_digits(coded: &[u8]) -> u16 {
    let bits: String = coded.iter().map(|byte| format!("{byte:08b}")).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let five = u16::from_str_radix(&bits[at..at + 5], 2).unwrap();
        let digit = if five <= 2 {
            at += 5;
            five
        } else {
            let six = u16::from_str_radix(&bits[at..at + 6], 2).unwrap();
            at += 6;
            six - 0x19 + 3
        };
        number = number * 10 + digit;
    }
    number
}
