//! What users, operators and attackers see of the gateway from outside: one binary, one module for each subject.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

mod cli;
mod config;
mod hygiene;
mod program;
mod receipt;
mod routes;
mod secrets;
mod smuggling;
mod support;
