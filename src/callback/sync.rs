//! What threads share: `std`'s own.
//!
//! [`super::ledger`] and [`super::flight`] take their locks from here alone, so that `tests/interleaving.rs` can build
//! the same two files upon locks whose schedule it chooses.

pub(super) use std::sync::atomic;
pub(super) use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
