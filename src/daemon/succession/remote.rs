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
    answers: Answers,
}

/// Whether the other process can be asked.
#[derive(Debug)]
enum Answers {
    /// When it is in place: what it admitted before might have to be taken back. Until then, these wait.
    Later(Vec<FromOld>),
    Now,
    NoMore,
}

impl Default for Answers {
    fn default() -> Self {
        Self::Later(Vec::new())
    }
}

impl Remote {
    pub(super) fn new(line: Line) -> Self {
        Self { line, asked: Arc::default() }
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is in place.
    pub(super) fn open(&self) {
        let mut asked = self.asked();
        if let Answers::Later(questions) = std::mem::replace(&mut asked.answers, Answers::Now) {
            for question in questions {
                self.line.say(&question, None);
            }
        }
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
        asked.answers = Answers::NoMore;
        asked.waiting.clear();
    }
}

impl Remote {
    /// Puts a question, whose number this gives, now or later.
    fn ask(
        &self,
        tenant: &TenantId,
        limit: Option<u32>,
        start: Start<'_>,
        tell: oneshot::Sender<Result<(), NotAdmitted>>,
    ) -> Option<u64> {
        let mut asked = self.asked();
        let Asked { next, waiting, answers } = &mut *asked;
        *next += 1;
        let (number, tenant, start) = (*next, tenant.to_string(), start.into());
        let question = FromOld::Admit { number, tenant, limit, start };
        match answers {
            Answers::Later(questions) => questions.push(question),
            Answers::Now => self.line.say(&question, None),
            Answers::NoMore => return None,
        }
        waiting.insert(number, tell);
        Some(number)
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
            let (tell, answer) = oneshot::channel();
            let number = self.ask(tenant, limit, start, tell)?;
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
