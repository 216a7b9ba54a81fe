//! `coppice-gateway`: an authenticating reverse proxy for E2B-compatible sandbox APIs.
//!
//! Modules are ranked; a module imports only lower ranks (`tests/layering.rs` keeps it so, ARCHITECTURE.md explains it).

pub mod cli;
pub mod clock;
pub mod config;
pub mod keys;
pub mod principal;
pub mod secret;
pub mod target;
