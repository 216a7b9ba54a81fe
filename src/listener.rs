//! What stands between an accepted connection and the HTTP server.
//!
//! Bytes are looked at here, never requests: nothing here knows routes, credentials or upstreams.

pub mod head_guard;
