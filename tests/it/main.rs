//! Integration tests, one binary for all: each module drives the library as a user or an attacker would.

#![expect(clippy::unwrap_used, reason = "a test that can't go on should fail there")]

mod routes;
