//! End-to-end tests: published clients against the whole thing, in one test binary so that it links once.

mod cli_clients;
mod sdk;
mod support;
