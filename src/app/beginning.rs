//! What a start is given beside the settings, and what can go wrong with it.

use std::fmt;
use std::io;
use std::time::Duration;

use super::{Estate, Given};

/// What a start is given beside its settings.
pub struct Beginning<'a> {
    /// Sockets that somebody else opened.
    pub given: Given,
    /// How often somebody wants to see that the workers turn; none: nobody does.
    pub watched: Option<Duration>,
    /// Whether requests under way are to be counted although there is no listener for metrics.
    pub is_counted: bool,
    /// Whether connections are accepted only when somebody says so; see [`App::open`](super::App::open).
    pub waits: bool,
    /// Called when the gateway is bound to listen, right before it takes up what is kept in files: gives what the process
    /// before this one leaves behind.
    pub take_over: Box<dyn FnOnce() -> Result<Estate, StartError> + 'a>,
}

impl Default for Beginning<'_> {
    /// Nothing but the settings.
    fn default() -> Self {
        Self {
            given: Given::default(),
            watched: None,
            is_counted: false,
            waits: false,
            take_over: Box::new(|| Ok(Estate::default())),
        }
    }
}

impl fmt::Debug for Beginning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beginning").field("given", &self.given).finish_non_exhaustive()
    }
}

/// What the gateway is at work on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Open connections of clients, tunnels included.
    pub connections: usize,
    /// Requests under way and open tunnels.
    pub streams: usize,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address as it was set.
        address: String,
        /// Why.
        cause: io::Error,
    },
    /// Sockets that somebody else opened cannot be used as they are.
    #[error("inherited sockets: {0}")]
    Inherited(String),
    /// The process before this one did not leave what it has.
    #[error("the process before this one did not hand over")]
    NothingLeft,
    /// The state directory cannot be used.
    #[error("cannot use the state directory: {0}")]
    State(io::Error),
    /// The audit log cannot be kept.
    #[error("cannot keep the audit log {path}: {cause}")]
    Audit {
        /// Its file as it was set.
        path: String,
        /// Why.
        cause: io::Error,
    },
    /// The auth callback cannot be set up.
    #[error("cannot set the auth callback up: {0}")]
    Callback(io::Error),
    /// Traces cannot be sent.
    #[error("cannot set traces up: {0}")]
    Traces(io::Error),
    /// A thread could not be started.
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
}
