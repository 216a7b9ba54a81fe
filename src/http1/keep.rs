//! What becomes of the fields of an answer's head: whoever asks says what is kept of them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Takes the fields of a head, one after the other. What is for one hop alone (RFC 9110 7.6.1) is not among them.
pub trait Keep: Send {
    /// Nothing yet, of so many.
    fn with_room(count: usize) -> Self;

    /// Takes a field, of which name and value are parts of `head`. Whether it can be read.
    #[must_use]
    fn keep(&mut self, head: &Bytes, name: &[u8], value: &[u8]) -> bool;

    /// All of that name were not to be taken, after all.
    fn give_up(&mut self, name: &HeaderName);
}

/// Keeps them all.
impl Keep for HeaderMap {
    fn with_room(count: usize) -> Self {
        Self::with_capacity(count)
    }

    fn keep(&mut self, head: &Bytes, name: &[u8], value: &[u8]) -> bool {
        let name = HeaderName::from_bytes(name);
        // Values stay parts of the head: none of them is worth being copied out of it.
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value));
        let (Ok(name), Ok(value)) = (name, value) else { return false };
        self.append(name, value);
        true
    }

    fn give_up(&mut self, name: &HeaderName) {
        self.remove(name);
    }
}
