//! Reads one HTTP/1.1 answer after another off the bytes of a connection. Bodies of a known length are counted and not
//! kept, so that they may be of any size; chunked ones are kept until they are whole.

use std::mem;

use httparse::{EMPTY_HEADER, Response, Status};

use crate::Failure;

/// Where in an answer a connection is.
#[derive(Debug, Default)]
enum Awaited {
    #[default]
    Head,
    /// So many bytes of the body.
    Body(u64),
    Chunks,
}

/// The answer that is being read.
#[derive(Debug, Default)]
pub struct Answer {
    awaited: Awaited,
    status: u16,
    /// A head, or chunks, of which the end has not come.
    partial: Vec<u8>,
}

impl Answer {
    /// Takes bytes as they come. `Some` with the status if they complete the answer; then it waits for the next.
    ///
    /// # Errors
    /// What is no answer, or more than one.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<u16>, Failure> {
        if let Awaited::Body(left) = &mut self.awaited {
            *left = left.checked_sub(bytes.len() as u64).ok_or("more than the answer came")?;
            return Ok(self.ended());
        }
        self.partial.extend_from_slice(bytes);
        if matches!(self.awaited, Awaited::Head) && !self.read_head()? {
            return Ok(None);
        }
        if matches!(self.awaited, Awaited::Chunks) && self.read_chunks()? {
            self.awaited = Awaited::Body(0);
        }
        Ok(self.ended())
    }

    /// Has the next bytes, so many, count as an answer with status 101. For what follows an upgrade.
    pub fn expect_bytes(&mut self, count: u64) {
        self.awaited = Awaited::Body(count);
        self.status = 101;
    }

    fn ended(&mut self) -> Option<u16> {
        matches!(self.awaited, Awaited::Body(0)).then(|| {
            self.awaited = Awaited::Head;
            self.status
        })
    }

    /// Whether the head is there. What follows it is then in `partial`, or counted.
    fn read_head(&mut self) -> Result<bool, Failure> {
        let mut headers = [EMPTY_HEADER; 64];
        let mut head = Response::new(&mut headers);
        let Status::Complete(length) = head.parse(&self.partial)? else { return Ok(false) };
        self.status = head.code.unwrap_or_default();
        let value = |name: &str| {
            let named = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            named.map(|header| header.value)
        };
        if value("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close")) {
            return Err(format!("the connection is closed by an answer of {}", self.status).into());
        }
        let after = self.partial.len() - length;
        if value("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case(b"chunked")) {
            self.partial.drain(..length);
            self.awaited = Awaited::Chunks;
            return Ok(true);
        }
        let size: u64 = match value("content-length") {
            _ if matches!(self.status, 101 | 204 | 304) => 0,
            Some(text) => std::str::from_utf8(text)?.parse()?,
            None => return Err(format!("an answer of {} has no length", self.status).into()),
        };
        let left = size.checked_sub(after as u64).ok_or("more than the answer came")?;
        self.partial.clear();
        self.awaited = Awaited::Body(left);
        Ok(true)
    }

    /// Whether the last chunk is there. Trailers are not expected.
    fn read_chunks(&mut self) -> Result<bool, Failure> {
        let chunks = mem::take(&mut self.partial);
        let mut rest = chunks.as_slice();
        while let Status::Complete((start, size)) =
            httparse::parse_chunk_size(rest).map_err(|_| "a broken chunk")?
        {
            let end = start + usize::try_from(size)? + 2;
            if rest.len() < end {
                break;
            }
            rest = &rest[end..];
            if size == 0 {
                return if rest.is_empty() {
                    Ok(true)
                } else {
                    Err("more than the answer came".into())
                };
            }
        }
        self.partial = rest.to_vec();
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses(answers: &[u8], at_once: usize) -> Vec<u16> {
        let mut answer = Answer::default();
        answers.chunks(at_once).filter_map(|bytes| answer.feed(bytes).unwrap()).collect()
    }

    #[test]
    fn an_answer_ends_where_its_head_says_however_it_comes() {
        let answers: &[&[u8]] = &[
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ];
        for answer in answers {
            for at_once in [1, 3, answer.len()] {
                assert_eq!(statuses(answer, at_once).len(), 1, "{at_once} bytes at once");
            }
        }
    }

    #[test]
    fn what_follows_an_answer_is_no_part_of_it() {
        let mut answer = Answer::default();
        assert!(answer.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab").is_err());
    }

    #[test]
    fn an_answer_that_closes_the_connection_is_a_failure() {
        let mut answer = Answer::default();
        assert!(answer.feed(b"HTTP/1.1 200 OK\r\nConnection: close\r\n").unwrap().is_none());
        assert!(answer.feed(b"Content-Length: 0\r\n\r\n").is_err());
    }
}
