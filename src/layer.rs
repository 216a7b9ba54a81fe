//! The tower layers in front of everything: observe, then authorise.
//!
//! [`observe`] is outermost and sees every request and answer; [`auth`] turns a request into a permitted one or answers
//! in the gateway's own name. What is behind them takes only permitted requests.

pub mod auth;
pub mod cors;
pub mod identify;
pub mod observe;
pub mod request_id;
pub mod subject;
