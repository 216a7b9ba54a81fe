//! What users, operators and attackers see of the gateway from outside: one binary, one module for each subject.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should say where"
)]

mod audit_journal;
mod callback;
mod cli;
mod cli_clients;
mod config;
mod cors;
mod credentials;
mod demo;
mod directory;
mod drain;
mod errors;
mod explain;
mod http2;
mod hygiene;
mod lists;
mod marker;
mod matrix;
mod metadata;
mod open;
mod ownership;
mod packaging;
mod public;
mod receipt;
mod reload;
mod revocation;
mod routes;
mod sdk;
mod secrets;
mod signed;
mod smuggling;
mod streaming;
mod support;
mod targets;
mod tokens;
mod upgrade;
mod v1;
mod waiting;
mod websocket;
mod whoami;
