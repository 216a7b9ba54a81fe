//! What stands between the network and the HTTP server: sockets, TLS, and the guard on request heads.
//!
//! Bytes are looked at here, never requests: nothing here knows routes, credentials or upstreams.

pub mod bind;
pub mod head_guard;
pub mod tls;
