//! What goes wrong on demand: with a create or a fork where its metadata says so, and with all lists while a test wants it.
//!
//! Nothing that real upstreams and networks don't do: work whose end nobody hears of, work that ends late, silence.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::{Response, StatusCode};

use super::reply::{Refusal, Reply, empty, error, typed};
use super::{FAIL, FAIL_AFTER, FAULT};

/// How long a request goes without an answer before its connection ends.
const SILENCE: Duration = Duration::from_secs(1);

/// How long [`Fault::Late`] takes.
pub(super) const LATE: Duration = Duration::from_secs(3);

/// How lists are answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Lists {
    /// As they should be.
    Right,
    /// With 500.
    Failed,
    /// Never, if they are asked for now.
    Stalled,
}

/// How lists are answered at present.
pub(super) struct ListFault(AtomicU8);

impl Default for ListFault {
    fn default() -> Self {
        Self(AtomicU8::new(Lists::Right as u8))
    }
}

impl ListFault {
    pub(super) fn set(&self, lists: Lists) {
        self.0.store(lists as u8, Ordering::Release);
    }

    /// Does what is wrong with lists, if anything is.
    pub(super) async fn strike(&self) -> Result<(), Refusal> {
        let now = self.0.load(Ordering::Acquire);
        if now == Lists::Stalled as u8 {
            std::future::pending::<()>().await;
        }
        if now == Lists::Failed as u8 {
            let failed = StatusCode::INTERNAL_SERVER_ERROR;
            return Err(error(failed, "The simulator cannot list").into());
        }
        Ok(())
    }
}

/// What goes wrong with one create.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// This status, and nothing is made.
    Refused(StatusCode),
    /// This status, and the sandbox is there.
    FailedAfter(StatusCode),
    /// The connection ends, and nothing is made.
    Reset,
    /// The connection ends, and the sandbox is there.
    ResetAfter,
    /// Silence before the connection ends, and nothing is made.
    Stall,
    /// Silence before the connection ends, and the sandbox is there.
    StallAfter,
    /// The same, but the sandbox comes [`LATE`], when nobody waits any more.
    Late,
    /// The sandbox is there, and the answer says nothing.
    Garbled,
}

impl Fault {
    /// What a create's metadata asks for. A word that is none of these is the test's mistake, and its answer says so.
    pub(super) fn asked_by(metadata: &BTreeMap<String, String>) -> Result<Option<Self>, Refusal> {
        let unknown =
            || error(StatusCode::NOT_IMPLEMENTED, "The simulator knows no such fault").into();
        let status =
            |text: &String| text.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
        if let Some(text) = metadata.get(FAIL) {
            return status(text).map(|status| Some(Self::Refused(status))).ok_or_else(unknown);
        }
        if let Some(text) = metadata.get(FAIL_AFTER) {
            return status(text).map(|status| Some(Self::FailedAfter(status))).ok_or_else(unknown);
        }
        let fault = match metadata.get(FAULT).map(String::as_str) {
            None => return Ok(None),
            Some("reset") => Self::Reset,
            Some("reset-after") => Self::ResetAfter,
            Some("stall") => Self::Stall,
            Some("stall-after") => Self::StallAfter,
            Some("late") => Self::Late,
            Some("garbled") => Self::Garbled,
            Some(_) => return Err(unknown()),
        };
        Ok(Some(fault))
    }

    /// The end of a request with this fault, in place of an answer that it would have had.
    pub(super) async fn strike(self) -> Reply {
        match self {
            Self::Refused(status) | Self::FailedAfter(status) => {
                error(status, "The simulator was asked to fail")
            }
            Self::Reset | Self::ResetAfter => cut(),
            Self::Stall | Self::StallAfter | Self::Late => {
                tokio::time::sleep(SILENCE).await;
                cut()
            }
            Self::Garbled => typed(StatusCode::CREATED, None, Body::from("created")),
        }
    }
}

/// In place of an answer, the connection ends.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the simulator was asked to end the connection")]
pub(super) struct Cut;

fn cut() -> Reply {
    let mut reply = empty(StatusCode::OK);
    reply.extensions_mut().insert(Cut);
    reply
}

/// Lets a reply through unless it stands for the end of the connection.
pub(super) fn unless_cut<B>(reply: Response<B>) -> Result<Response<B>, Cut> {
    match reply.extensions().get::<Cut>() {
        Some(cut) => Err(*cut),
        None => Ok(reply),
    }
}
