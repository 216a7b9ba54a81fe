//! `coppice-gateway`: an authenticating reverse proxy for E2B-compatible sandbox APIs.
//!
//! Modules are ranked; a module imports only lower ranks (`tests/layering.rs` keeps it so, ARCHITECTURE.md explains
//! it).

pub mod app;
pub mod audit;
pub mod authn;
pub mod callback;
pub mod caller;
pub mod chunked;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credential;
pub mod daemon;
pub mod directory;
pub mod endpoint;
pub mod error;
pub mod form;
pub mod http1;
pub mod json;
pub mod keys;
pub mod layer;
pub mod lifecycle;
pub mod limits;
pub mod listener;
pub mod lookout;
pub mod metrics;
pub mod ops;
pub mod ownership;
pub mod pem;
pub mod permit;
pub mod platform;
pub mod policy;
pub mod principal;
pub mod proxy;
pub mod quota;
pub mod record;
pub mod request;
pub mod route;
pub mod sandbox;
pub mod secret;
pub mod server;
pub mod shelf;
pub mod simulator;
pub mod tally;
pub mod target;
pub mod telemetry;
pub mod tls;
pub mod token;
pub mod traces;
pub mod worker;
