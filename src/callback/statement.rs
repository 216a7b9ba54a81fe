//! What the fields of an answer's head say, read one by one as they come off the wire.
//!
//! Only what means something here is kept, as what it means. All fields count for how large the head is.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderName, HeaderValue};

use super::freshness::Freshness;
use super::identity::Description;
use crate::http1::Keep;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Statement {
    /// Whose the credential is.
    pub(super) described: Description,
    /// For how long that may be believed.
    pub(super) freshness: Freshness,
    /// When to come again.
    pub(super) retry_after: Option<HeaderValue>,
    /// Bytes of all names and values.
    pub(super) size: usize,
}

impl Keep for Statement {
    fn with_room(_: usize) -> Self {
        Self::default()
    }

    fn keep(&mut self, _: &Bytes, name: &[u8], value: &[u8]) -> bool {
        self.size += name.len() + value.len();
        let is = |known: &HeaderName| name.eq_ignore_ascii_case(known.as_str().as_bytes());
        if self.described.hear(name, value) {
            return true;
        }
        if is(&CACHE_CONTROL) {
            self.freshness.hear(value);
        } else if is(&RETRY_AFTER) && self.retry_after.is_none() {
            self.retry_after = HeaderValue::from_bytes(value).ok();
        }
        true
    }

    fn give_up(&mut self, name: &HeaderName) {
        self.described.take_back(name);
        if *name == CACHE_CONTROL {
            self.freshness.take_back();
        } else if *name == RETRY_AFTER {
            self.retry_after = None;
        }
    }
}

#[cfg(test)]
impl Statement {
    /// What these fields say.
    pub(super) fn of<'a>(fields: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut statement = Self::default();
        for (name, value) in fields {
            assert!(statement.keep(&Bytes::new(), name.as_bytes(), value));
        }
        statement
    }
}
