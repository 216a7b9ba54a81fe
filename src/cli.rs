//! The commands behind the command line.
//!
//! Each module turns plain values into text and an outcome; parsing arguments and printing happen elsewhere.

pub mod explain;
pub mod routes;
