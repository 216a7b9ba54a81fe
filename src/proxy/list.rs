//! Listings for callers who may see only their own tenant's: what is asked of the upstream, and what of its answer is
//! passed on.
//!
//! The upstream is asked for less where it can be ([`query`]), and not believed: every entry of its answer must say
//! whose it is ([`page`]), and of the head only what tells of the entries that stay is kept ([`head`]). Pure but for
//! [`Proofs`], which remembers what was seen. What cannot be told is left out; what cannot be read is not passed on.

pub mod head;
pub mod metrics;
pub mod page;
pub mod query;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::GatewayError;

/// Most sandboxes that one question may name, as with E2B, and most that one answer makes the gateway ask about.
pub const MAX_NAMED: usize = 100;

/// A query that two readers could read differently.
const BAD_FILTER: GatewayError = GatewayError::BadRequest(
    "bad_filter",
    "A filter may be there once, in its own spelling, percent-encoded and without ';'",
);

const TOO_MANY: GatewayError =
    GatewayError::BadRequest("too_many_sandboxes", "At most 100 sandboxes may be named at once");

/// Which filters the upstream was seen to apply: it left out everything when asked for what cannot be there, although
/// there was something.
#[derive(Debug, Default)]
pub struct Proofs {
    /// `metadata` on lists of sandboxes.
    pub metadata: Proof,
    /// `sandboxID` on lists of snapshots.
    pub sandbox: Proof,
}

/// Whether one filter was seen to work.
#[derive(Debug, Default)]
pub struct Proof(AtomicBool);

impl Proof {
    /// Whether it was.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes note of what was seen last.
    pub fn note(&self, works: bool) {
        self.0.store(works, Ordering::Relaxed);
    }
}
