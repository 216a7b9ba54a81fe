//! What users, operators and attackers see of the gateway from outside: one binary, one module for each subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

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
