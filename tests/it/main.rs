//! What users, operators and attackers see of the gateway from outside: one binary, one module for each subject.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the program runs by the real clock, and so must its deadlines"
)]

mod cli;
mod config;
mod cors;
mod credentials;
mod drain;
mod matrix;
mod open;
mod program;
mod public;
mod receipt;
mod reload;
mod revocation;
mod routes;
mod support;
mod whoami;
