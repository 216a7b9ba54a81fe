//! What users, operators and attackers see of the gateway from outside: one binary, one module for each subject.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should say where"
)]

mod cli;
mod cli_clients;
mod config;
mod errors;
mod http2;
mod hygiene;
mod ownership;
mod packaging;
mod program;
mod receipt;
mod routes;
mod sdk;
mod signed;
mod streaming;
mod support;
mod targets;
mod tokens;
mod v1;
mod websocket;
