//! What must hold whichever way threads interleave, tried under a scheduler that picks the way.
//!
//! The files under test are the ones that ship, built once more upon locks and atomics that the scheduler controls: they
//! take theirs from `super::sync`, which here is another one. Each `interleaving/*.rs` brings the files of one part of the
//! gateway and their properties.

#![expect(clippy::unwrap_used, reason = "a test that can't go on should fail there")]

#[path = "interleaving/callback.rs"]
mod callback;
#[path = "interleaving/quota.rs"]
mod quota;

// What the included sources name as their own crate's.
use coppice_gateway::{principal, target};
