//! One connection of the load: a request goes out, its answer comes in, and then the next. Or messages, after an
//! upgrade.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use crate::Failure;
use crate::answer::Answer;
use crate::deck::Deck;

/// What bodies and messages are made of.
static FILLER: [u8; 256 * 1024] = [b'x'; 256 * 1024];

/// What goes out.
#[derive(Clone, Copy, Debug)]
enum Outgoing {
    Nothing,
    /// A request of the deck, less what was written of it; then so much filler.
    Request {
        card: usize,
        written: usize,
        filler: u64,
    },
    /// What is left of a message.
    Message {
        written: usize,
    },
}

/// A connection that is open.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    outgoing: Outgoing,
    answer: Answer,
    due: Instant,
    filler: u64,
    /// A whole frame, where messages are sent.
    message: Option<Box<[u8]>>,
}

impl Connection {
    /// Connects. `message` is the length of a message's content, at most 125 bytes.
    ///
    /// # Errors
    /// It can't be reached.
    pub fn open(to: SocketAddr, filler: u64, message: Option<u8>) -> Result<Self, Failure> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let message = message.map(frame);
        Ok(Self {
            stream,
            outgoing: Outgoing::Nothing,
            answer: Answer::default(),
            due: Instant::now(),
            filler,
            message,
        })
    }

    /// To be polled.
    #[must_use]
    pub const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// When the request that was sent last was due.
    #[must_use]
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// Whether messages are sent, for which it has to be upgraded first.
    #[must_use]
    pub const fn upgrades(&self) -> bool {
        self.message.is_some()
    }

    /// Sends a request for an upgrade and waits for the 101.
    ///
    /// # Errors
    /// Any other answer.
    pub fn upgrade(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.stream.set_nonblocking(false)?;
        self.stream.write_all(request)?;
        let mut byte = [0];
        let status = loop {
            // Byte by byte: what follows the head is no answer.
            self.stream.read_exact(&mut byte)?;
            if let Some(status) = self.answer.feed(&byte)? {
                break status;
            }
        };
        self.stream.set_nonblocking(true)?;
        if status == 101 {
            Ok(())
        } else {
            Err(format!("the upgrade was answered {status}").into())
        }
    }

    /// Sends the request of that number, or a message, as far as there is room.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, due: Instant, card: usize, deck: &Deck) -> Result<(), Failure> {
        self.due = due;
        self.outgoing = match &self.message {
            None => Outgoing::Request { card, written: 0, filler: self.filler },
            Some(frame) => {
                // The answer is not masked, and so shorter by the mask.
                self.answer.expect_bytes(frame.len() as u64 - 4);
                Outgoing::Message { written: 0 }
            }
        };
        self.write(deck)
    }

    /// Writes on, as far as there is room.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write(&mut self, deck: &Deck) -> Result<(), Failure> {
        loop {
            let next = match self.outgoing {
                Outgoing::Nothing => return Ok(()),
                Outgoing::Request { card, written, filler } => {
                    let rest = &deck.request(card)[written..];
                    if !rest.is_empty() {
                        rest
                    } else if filler > 0 {
                        &FILLER[..FILLER.len().min(usize::try_from(filler)?)]
                    } else {
                        self.outgoing = Outgoing::Nothing;
                        return Ok(());
                    }
                }
                Outgoing::Message { written } => {
                    match self.message.as_deref().and_then(|frame| frame.get(written..)) {
                        Some([]) | None => {
                            self.outgoing = Outgoing::Nothing;
                            return Ok(());
                        }
                        Some(rest) => rest,
                    }
                }
            };
            let count = match self.stream.write(next) {
                Ok(count) => count,
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(why) => return Err(why.into()),
            };
            self.outgoing = match self.outgoing {
                Outgoing::Request { card, written, filler }
                    if written == deck.request(card).len() =>
                {
                    Outgoing::Request { card, written, filler: filler - count as u64 }
                }
                Outgoing::Request { card, written, filler } => {
                    Outgoing::Request { card, written: written + count, filler }
                }
                Outgoing::Message { written } => Outgoing::Message { written: written + count },
                Outgoing::Nothing => Outgoing::Nothing,
            };
        }
    }

    /// Reads what there is.
    ///
    /// # Errors
    /// `WouldBlock` for nothing, and the connection's own.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    /// Takes what was read; `Some` if it completes an answer.
    ///
    /// # Errors
    /// What is no answer.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<u16>, Failure> {
        self.answer.feed(bytes)
    }
}

/// A WebSocket frame of text from a client: masked, though with zeros (RFC 6455, section 5.2).
fn frame(length: u8) -> Box<[u8]> {
    assert!(length <= 125, "longer messages have another head");
    let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    frame.extend(&FILLER[..usize::from(length)]);
    frame.into()
}
