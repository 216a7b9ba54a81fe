//! What users and operators see of the gateway from outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod cli;
mod config;
mod program;
