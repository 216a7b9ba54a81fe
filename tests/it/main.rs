//! End-to-end tests: published clients against the whole thing, in one test binary so that it links once.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, also where it prepares"
)]

mod cli_clients;
mod sdk;
mod support;
