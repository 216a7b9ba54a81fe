//! Admission by another process, as the one that was replaced sees it: a question over the line, and an answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::line::Line;
use super::message::{Ended, FromOld};
use crate::principal::TenantId;
use crate::proxy::admission::{Admits, NotAdmitted};
use crate::quota::{Answered, Held, Outcome, Reservation, Start};
use crate::target::SandboxId;

/// The process that admits. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    line: Line,
    asked: Arc<Mutex<Asked>>,
}

/// Questions without an answer.
#[derive(Debug, Default)]
struct Asked {
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<Result<(), NotAdmitted>>>,
    is_over: bool,
}

impl Remote {
    pub(super) fn new(line: Line) -> Self {
        Self { line, asked: Arc::default() }
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer has come.
    pub(super) fn answered(&self, number: u64, is_admitted: bool, limit: Option<u32>) {
        let answer = match limit {
            _ if is_admitted => Ok(()),
            Some(limit) => Err(NotAdmitted::AtLimit(limit)),
            None => Err(NotAdmitted::Unknown),
        };
        let waiting = self.asked().waiting.remove(&number);
        if waiting.is_none_or(|waiting| waiting.send(answer).is_err()) && is_admitted {
            // Whoever asked has gone without sending anything.
            self.line.say(&FromOld::Held { number, outcome: Ended::Released }, None);
        }
    }

    /// No answer will come any more.
    pub(super) fn end(&self) {
        let mut asked = self.asked();
        asked.is_over = true;
        asked.waiting.clear();
    }
}

impl Admits for Remote {
    fn admit<'a>(
        &'a self,
        tenant: &'a TenantId,
        limit: Option<u32>,
        start: Start<'a>,
    ) -> BoxFuture<'a, Option<Result<Reservation, NotAdmitted>>> {
        Box::pin(async move {
            let (number, answer) = {
                let mut asked = self.asked();
                if asked.is_over {
                    return None;
                }
                asked.next += 1;
                let (tell, answer) = oneshot::channel();
                let number = asked.next;
                asked.waiting.insert(number, tell);
                (number, answer)
            };
            let (tenant, start) = (tenant.to_string(), start.into());
            self.line.say(&FromOld::Admit { number, tenant, limit, start }, None);
            let held = RemoteHeld { line: self.line.clone(), number };
            let answer = answer.await.ok()?;
            Some(answer.map(|()| Reservation::new(Box::new(held))))
        })
    }
}

/// What the other process holds for a request.
#[derive(Debug)]
struct RemoteHeld {
    line: Line,
    number: u64,
}

impl RemoteHeld {
    fn tell(&self, outcome: &Outcome) {
        self.line.say(&FromOld::Held { number: self.number, outcome: outcome.into() }, None);
    }
}

impl Held for RemoteHeld {
    fn bind<'a>(self: Box<Self>, ids: &'a [SandboxId]) -> Answered<'a, ()> {
        self.tell(&Outcome::Bound(ids.to_vec()));
        Box::pin(std::future::ready(Ok(())))
    }

    fn release(self: Box<Self>) -> Answered<'static, ()> {
        self.tell(&Outcome::Released);
        Box::pin(std::future::ready(Ok(())))
    }

    fn doubt(self: Box<Self>) {
        self.tell(&Outcome::Doubted);
    }
}
