//! `coppice-gateway`: an authenticating reverse proxy for E2B-compatible sandbox APIs.
//!
//! Modules are ranked; a module imports only lower ranks (`tests/layering.rs` keeps it so, ARCHITECTURE.md explains it).

pub mod cli;
pub mod clock;
pub mod policy;
pub mod principal;
pub mod route;
pub mod secret;
pub mod target;
