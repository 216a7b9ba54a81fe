//! What users, operators and attackers see of the gateway from outside: one binary, one module for each subject.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should say where"
)]

mod audit;
mod audit_journal;
mod audit_live;
mod callback;
mod canary;
mod cap;
mod cli;
mod cli_clients;
mod config;
mod cors;
mod credentials;
mod demo;
mod directory;
mod docs;
mod drain;
mod errors;
mod explain;
mod http2;
mod hygiene;
mod isolation;
mod lifecycle;
mod lists;
mod logs;
mod marker;
mod matrix;
mod metadata;
mod metrics;
mod open;
mod ops;
mod ownership;
mod packaging;
mod panics;
mod parking;
mod public;
mod quota;
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
mod tls;
mod tokens;
mod traces;
mod upgrade;
mod upstreams;
mod usage;
mod v1;
mod waiting;
mod websocket;
mod whoami;
