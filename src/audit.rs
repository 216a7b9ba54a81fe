//! The audit log: what callers did, kept so that an auditor can rely on it.

pub mod journal;
