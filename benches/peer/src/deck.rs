//! The requests that are sent, as a file has them: each is a line with its length in bytes, and then the request
//! itself.
//!
//! Nothing here knows what they say. They are dealt in turn, and again from the first after the last one.

use std::fs;

use crate::Failure;

/// The requests, and whose turn it is.
#[derive(Debug)]
pub struct Deck {
    requests: Vec<Box<[u8]>>,
    next: usize,
}

impl Deck {
    /// Reads a file of requests, of which the one with this number is dealt first, counted round and round.
    ///
    /// # Errors
    /// A file that can't be read, or that is no such file.
    pub fn read(path: &str, first: usize) -> Result<Self, Failure> {
        let bytes = fs::read(path)?;
        let mut rest = bytes.as_slice();
        let mut requests = Vec::new();
        while !rest.is_empty() {
            let (length, after) = split_line(rest).ok_or("the deck ends within a length")?;
            let length: usize = std::str::from_utf8(length)?.parse()?;
            let (request, after) =
                after.split_at_checked(length).ok_or("the deck ends within a request")?;
            requests.push(request.into());
            rest = after;
        }
        if requests.is_empty() {
            Err("the deck is empty".into())
        } else {
            Ok(Self { next: first % requests.len(), requests })
        }
    }

    /// The number of the next request.
    pub fn deal(&mut self) -> usize {
        let dealt = self.next;
        self.next = (dealt + 1) % self.requests.len();
        dealt
    }

    /// The request of a number that was dealt.
    #[must_use]
    pub fn request(&self, number: usize) -> &[u8] {
        &self.requests[number]
    }
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}
