//! Which requests ask their connection to become something else (RFC 9110 7.8): one rule for two readers.
//!
//! The head guard sees bytes, and holds back what follows such a request; whoever answers it sees headers, and must tell the guard what came
//! of it. Were one of them to read more into a head than the other, a tunnel's bytes would be taken for a request, or a request for
//! a tunnel's.

use http::header::{CONNECTION, UPGRADE};
use http::{Request, Version};
use hyper::upgrade::Upgraded;

/// Ends a connection that has become something else so that nobody takes that for the end of what was said. Those that ask
/// have it among their extensions.
#[derive(Clone, Copy, Debug)]
pub struct BreakOff(pub fn(Upgraded));

/// What the lines of a head that have been seen so far come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    connection: bool,
    protocol: bool,
}

impl Wish {
    /// Takes note of a `Connection` line.
    pub fn see_connection(&mut self, value: &[u8]) {
        self.connection |= items(value).any(|item| item.eq_ignore_ascii_case(b"upgrade"));
    }

    /// Takes note of an `Upgrade` line. `h2c` counts as nothing: it is dropped, as if it had not been sent.
    pub fn see_upgrade(&mut self, value: &[u8]) {
        let counts = |item: &[u8]| !item.is_empty() && !item.eq_ignore_ascii_case(b"h2c");
        self.protocol |= items(value).any(counts);
    }

    /// Whether a whole HTTP/1.1 head asks. In other versions none does.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.connection && self.protocol
    }
}

/// Whether `request` asks.
#[must_use]
pub fn asks<B>(request: &Request<B>) -> bool {
    if request.version() != Version::HTTP_11 {
        return false;
    }
    let headers = request.headers();
    let mut wish = Wish::default();
    headers.get_all(UPGRADE).iter().for_each(|line| wish.see_upgrade(line.as_bytes()));
    if wish == Wish::default() {
        return false;
    }
    headers.get_all(CONNECTION).iter().for_each(|line| wish.see_connection(line.as_bytes()));
    wish.is_whole()
}

/// The members of a comma-separated list, without the optional white space (SP, HTAB) around them.
pub fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

/// Without the optional white space (SP, HTAB) around it.
#[must_use]
pub const fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
