//! Integration tests, one binary for all: each module drives the library as a user or an attacker would.

mod routes;
