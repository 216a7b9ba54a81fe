//! Interleavings of threads, tried one after the other by a scheduler that decides every step.
//!
//! What is tested is the very source of the library, compiled here against other locks and atomics.

#![expect(clippy::unwrap_used, reason = "a test that can't go on should fail there")]

#[path = "interleaving/quota.rs"]
mod quota;

// What the included sources name as their own crate's.
use coppice_gateway::{principal, target};
