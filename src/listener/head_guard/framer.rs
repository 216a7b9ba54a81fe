//! Where one connection's byte stream is: in a head, in a body, before an upgrade's verdict, or in a tunnel.
//!
//! Pure: told bytes, says how many of them may pass. It keeps no bytes itself.

use super::handle::Verdict;
use super::head::{Framing, HeadCheck};
use super::refusal::Refusal;
use crate::chunked::Chunked;

/// What an HTTP/2 client with prior knowledge sends first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Why [`Framer::advance`] passes no more than it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// All was passed but an incomplete head. Give it again, with what arrives.
    Incomplete,
    /// What follows an upgrade request is undecided. Give it again, after [`Framer::resolve`].
    AwaitingVerdict,
    /// The next head is refused.
    Refused(Refusal),
    /// A chunked body broke its coding, or what was agreed upon is not what is spoken.
    Broken,
}

/// Follows one connection's requests.
#[derive(Debug)]
pub(super) struct Framer {
    max_head: usize,
    max_headers: usize,
    state: State,
    check: HeadCheck,
    heads: u64,
    /// Whether the last head asked for an upgrade that nobody has decided on.
    asks: bool,
}

/// Which HTTP both sides have agreed upon before the first byte (RFC 7301).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agreed {
    /// None: the first bytes tell.
    Nothing,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Nothing but perhaps a part of the HTTP/2 preface has been seen.
    Start,
    /// The same, and nothing else may come.
    Preface,
    Head,
    Length(u64),
    Chunked(Chunked),
    Verdict,
    Tunnel,
    Http2,
}

impl Framer {
    pub(super) fn new(max_head: usize, max_headers: usize) -> Self {
        Self {
            max_head,
            max_headers,
            state: State::Start,
            check: HeadCheck::default(),
            heads: 0,
            asks: false,
        }
    }

    /// One that goes on where another left off, between two requests.
    pub(super) fn after_some(max_head: usize, max_headers: usize) -> Self {
        Self { state: State::Head, heads: 1, ..Self::new(max_head, max_headers) }
    }

    /// What is spoken has been agreed upon, and nothing has been said.
    pub(super) fn agree(&mut self, agreed: Agreed) {
        self.state = match agreed {
            Agreed::Nothing => State::Start,
            Agreed::Http1 => State::Head,
            Agreed::Http2 => State::Preface,
        };
    }

    /// How many heads have passed.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the next byte belongs to a head.
    pub(super) fn at_head(&self) -> bool {
        matches!(self.state, State::Start | State::Preface | State::Head)
    }

    /// Whether what passes is HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.state == State::Http2
    }

    /// Whether a request has passed that asks for an upgrade, and [`resolve`](Self::resolve) has not been called since.
    pub(super) fn asks(&self) -> bool {
        self.asks
    }

    /// Whether nothing can pass before [`resolve`](Self::resolve).
    pub(super) fn awaits_verdict(&self) -> bool {
        self.state == State::Verdict
    }

    /// Decides what follows the upgrade request.
    pub(super) fn resolve(&mut self, verdict: Verdict) {
        self.asks = false;
        match verdict {
            Verdict::Switched => self.state = State::Tunnel,
            Verdict::NotSwitched if self.state == State::Verdict => self.state = State::Head,
            Verdict::NotSwitched => {}
        }
    }

    /// How many bytes of `data` may pass, and why not more.
    ///
    /// `data` begins where the last call stopped passing.
    pub(super) fn advance(&mut self, data: &[u8]) -> (usize, Stop) {
        let mut passed = 0;
        loop {
            let rest = data.get(passed..).unwrap_or_default();
            if rest.is_empty() {
                return (passed, Stop::Incomplete);
            }
            match &mut self.state {
                State::Start | State::Preface if rest.starts_with(PREFACE) => {
                    self.state = State::Http2;
                }
                State::Start | State::Preface if PREFACE.starts_with(rest) => {
                    return (passed, Stop::Incomplete);
                }
                State::Start => self.state = State::Head,
                State::Preface => return (passed, Stop::Broken),
                State::Head => match self.check.advance(rest, self.max_head, self.max_headers) {
                    Ok(None) => return (passed, Stop::Incomplete),
                    Err(refusal) => return (passed, Stop::Refused(refusal)),
                    Ok(Some(head)) => {
                        passed += head.len;
                        self.heads += 1;
                        self.asks = head.asks;
                        self.check = HeadCheck::default();
                        match head.framing {
                            Framing::Length(0) => self.end_body(),
                            Framing::Length(left) => self.state = State::Length(left),
                            Framing::Chunked => self.state = State::Chunked(Chunked::of_request()),
                        }
                    }
                },
                State::Length(left) => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    passed += take;
                    *left -= take as u64;
                    if *left == 0 {
                        self.end_body();
                    }
                }
                State::Chunked(chunked) => {
                    let (used, result) = chunked.advance(rest);
                    passed += used;
                    if result.is_err() {
                        return (passed, Stop::Broken);
                    }
                    if chunked.is_end() {
                        self.end_body();
                    }
                }
                State::Verdict => return (passed, Stop::AwaitingVerdict),
                State::Tunnel | State::Http2 => return (data.len(), Stop::Incomplete),
            }
        }
    }

    fn end_body(&mut self) {
        self.state = if self.asks { State::Verdict } else { State::Head };
    }
}
