//! What the request side of a connection tells the guard below it: upgrade verdicts, and requests in progress.
//!
//! Atomics only; one of these exists per connection and is cloned into every request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;

/// A request that has begun, where those in progress are counted too.
const ONE_BEGUN: u64 = 1 << 32;

const NOT_ASKED: u8 = 0;
const ASKED: u8 = 1;
const SWITCHED: u8 = 2;
const NOT_SWITCHED: u8 = 3;

/// Speaks to the [`HeadGuard`](super::HeadGuard) of one connection. Cheap to clone.
#[derive(Clone)]
pub struct GuardHandle(Arc<Shared>);

struct Shared {
    verdict: AtomicU8,
    waker: AtomicWaker,
    /// How many are in progress, in the lower half; above it how many there were. One addition tells both.
    requests: AtomicU64,
    leaving: AtomicBool,
}

/// A request in progress: while one lives, its connection is not idle.
#[must_use = "the request counts as finished when this is dropped"]
pub struct InFlight(Arc<Shared>);

/// What came of an upgrade request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Switched,
    NotSwitched,
}

impl GuardHandle {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            verdict: AtomicU8::new(NOT_ASKED),
            waker: AtomicWaker::new(),
            requests: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
        }))
    }

    /// The current upgrade request is being answered with 101: from here on the connection is a tunnel.
    ///
    /// Call it before the 101 is handed to the HTTP server. Without an upgrade request that waits for a verdict, this does
    /// nothing: bytes stay guarded.
    pub fn switched(&self) {
        self.decide(SWITCHED);
    }

    /// The current upgrade request is being answered with something else than 101: what follows is the next head.
    ///
    /// Call it, like [`switched`](Self::switched), only for a request that [asks](crate::request::upgrade::asks); of pipelined
    /// requests an earlier one must not decide for a later one.
    pub fn not_switched(&self) {
        self.decide(NOT_SWITCHED);
    }

    /// Counts a request as in progress until what is returned is dropped. Keep it with the response body, to its end.
    pub fn request_started(&self) -> InFlight {
        self.0.requests.fetch_add(ONE_BEGUN | 1, Ordering::AcqRel);
        InFlight(Arc::clone(&self.0))
    }

    /// The connection is to be parked as soon as no request is in progress, however short that time may be. Its reader has
    /// to read again to notice.
    pub fn leave(&self) {
        self.0.leaving.store(true, Ordering::Release);
    }

    /// It is not, after all: what is parked waits as ever.
    pub fn stay(&self) {
        self.0.leaving.store(false, Ordering::Release);
    }

    /// Whether it is to be.
    pub(super) fn is_leaving(&self) -> bool {
        self.0.leaving.load(Ordering::Acquire)
    }

    fn decide(&self, verdict: u8) {
        let asked =
            self.0.verdict.compare_exchange(ASKED, verdict, Ordering::AcqRel, Ordering::Acquire);
        if asked.is_ok() {
            self.0.waker.wake();
        }
    }

    /// An upgrade request is about to be delivered.
    pub(super) fn ask(&self) {
        self.0.verdict.store(ASKED, Ordering::Release);
    }

    /// Takes the verdict, or arranges for `waker` to be woken by it.
    pub(super) fn take_verdict(&self, waker: &Waker) -> Option<Verdict> {
        self.0.waker.register(waker);
        let verdict = match self.0.verdict.load(Ordering::Acquire) {
            SWITCHED => Verdict::Switched,
            NOT_SWITCHED => Verdict::NotSwitched,
            _ => return None,
        };
        self.0.verdict.store(NOT_ASKED, Ordering::Release);
        Some(verdict)
    }

    /// Whether no request is in progress.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.0.requests.load(Ordering::Acquire).is_multiple_of(ONE_BEGUN)
    }

    /// How many requests have begun. Beyond 32 bits it counts from 0 again.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Acquire) / ONE_BEGUN
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for GuardHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardHandle")
            .field("verdict", &self.0.verdict)
            .field("requests", &self.requests())
            .field("is_quiet", &self.is_quiet())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InFlight")
    }
}
