//! One call to the service, from the connection to the head of the answer.
//!
//! Never redirected, never through a proxy of the environment; sent again only where it crossed with the end of a kept
//! connection. What goes wrong is told in words that hold neither the address nor a header. It goes
//! through the client that upstreams are asked with too, whether in clear or through TLS.

mod rest;
mod told;
mod wire;

use std::error::Error;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::Semaphore;

pub(super) use self::rest::DRAINS;
use self::rest::drain;
pub(super) use self::told::Told;
use self::wire::Wire;
use super::settings::Settings;
use super::statement::Statement;
use crate::http1::Heard;
use crate::lookout::Alarms;

/// Longest head read, in bytes of names and values.
const MAX_HEAD: usize = 64 << 10;
/// How long a connection waits to be used again. Common servers close theirs after five seconds, and no question should
/// cross with that.
const IDLE: Duration = Duration::from_secs(4);

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) said: Statement,
}

/// Why there is no answer. Holds neither the address nor a header.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// No head in time.
    #[error("no answer in time")]
    Timeout,
    /// Refused, reset, not to be found, not to be trusted, or not HTTP.
    #[error("{0}")]
    Transport(String),
    /// More than 64 KiB of names and values.
    #[error("the head of the answer is too large")]
    HeadTooLarge,
    /// The request has a path that no header can carry.
    #[error("the request cannot be described in headers")]
    Unsendable,
}

/// Whatever makes calls.
pub(super) trait Ask: Clone + Send + Sync + 'static {
    /// Timers for those who wait.
    fn alarms(&self) -> &Alarms;

    /// Makes one.
    fn call(&self, told: &Told) -> impl Future<Output = Result<Head, Failure>> + Send;
}

/// One worker's own connections to the service. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct Line {
    wire: Arc<Wire>,
    drains: Arc<Semaphore>,
    alarms: Alarms,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
}

impl Line {
    pub(super) fn new(settings: &Settings, drains: &Arc<Semaphore>) -> io::Result<Self> {
        let (wire, drains) = (Arc::new(Wire::new(settings)?), Arc::clone(drains));
        Ok(Self { wire, drains, alarms: Alarms::default() })
    }

    /// The head of an answer. What is behind it is seen to without anybody waiting for that.
    fn head(&self, answer: Heard<Statement>) -> Result<Head, Failure> {
        let Heard { status, fields: said, body } = answer;
        if said.size > MAX_HEAD {
            return Err(Failure::HeadTooLarge);
        }
        drain(body, &self.drains);
        Ok(Head { status, said })
    }
}

impl Ask for Line {
    fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    async fn call(&self, told: &Told) -> Result<Head, Failure> {
        self.head(self.wire.post(told).await?)
    }
}

/// The innermost cause, which is what a person can act upon; the outer ones quote the whole address, or say that there is
/// an inner one.
fn cause(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |cause| (*cause).source());
    causes.last().unwrap_or(error).to_string()
}

#[cfg(test)]
mod tests;
