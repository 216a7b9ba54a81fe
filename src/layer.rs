//! The layers in front of everything: observe, then authorise.
//!
//! [`observe`] is outermost and sees every request and answer; [`auth`] turns a request into a permitted one or answers
//! in the gateway's own name. What is behind them takes only permitted requests.

pub mod auth;
pub mod cors;
pub mod identify;
pub mod observe;
pub mod request_id;
pub mod subject;

use std::future::Future;

/// What is behind a layer.
///
/// Not tower's trait: that has each request own its part of the stack, and each layer box its future. A request borrows the
/// stack here, and is one future from its connection to the forwarder.
pub trait Behind<Request>: Send + Sync {
    /// What comes of a request.
    type Answer;

    /// Sees a request through to its answer.
    fn call(&self, request: Request) -> impl Future<Output = Self::Answer> + Send;
}
