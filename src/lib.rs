//! `coppice-gateway`: an authenticating reverse proxy for E2B-compatible sandbox APIs.
//!
//! Modules are ranked; a module imports only lower ranks (`tests/layering.rs` keeps it so, ARCHITECTURE.md explains it).

pub mod clock;
pub mod principal;
pub mod secret;
pub mod simulator;
pub mod target;
