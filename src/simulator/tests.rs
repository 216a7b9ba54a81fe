//! The simulator from outside, over real connections.

mod client;
mod control;
mod data;
mod envd;
mod interpreter;
