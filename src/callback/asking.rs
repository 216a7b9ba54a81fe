//! From a question to a verdict, where nothing is remembered.
//!
//! A call is shared by all who ask the same meanwhile, and lasts only as long as one of them waits. A call that began
//! before what it learnt was forgotten or purged admits nobody: it is asked again.

mod exchange;
mod pilot;

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use self::pilot::Pilot;
use super::breaker::Breaker;
use super::budget::{Budgets, Client};
use super::call::{Ask, Failure, Told};
use super::flight::{Abandon, Flights, Landing};
use super::key::{AnswerKey, AsItIs, Keys};
use super::ledger::Epoch;
use super::memory::Memory;
use super::now::Now;
use super::principals::Principals;
use super::question::Question;
use super::settings::Settings;
use super::tally::{LookedUp, Tally};
use super::{Refusal, Unknown, Verdict};
use crate::clock::UnixTime;

/// How often one question is asked in all, when what was learnt is forgotten in the same moment.
const ROUNDS: usize = 3;

/// What all workers share.
pub(super) struct Desk {
    pub(super) settings: Settings,
    pub(super) keys: Keys,
    pub(super) memory: Memory,
    pub(super) principals: Principals,
    pub(super) flights: Arc<Flights<AnswerKey, Flight, AsItIs>>,
    pub(super) budgets: Budgets,
    pub(super) breaker: Breaker,
    pub(super) tally: Tally,
}

/// A question on its way to a verdict.
struct Inquiry<'q, L> {
    key: AnswerKey,
    question: &'q Question<'q>,
    /// How the service is reached from where this question is asked.
    line: &'q L,
    /// When it is asked, or asked again.
    now: Now,
    deadline: Instant,
}

/// What came of one call.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// Without one nobody may be told: the call began too early.
    verdict: Option<Verdict>,
    began: Epoch,
    /// Whether others than the one that caused the call may use it.
    shared: bool,
    /// Whether an identity that was remembered may stand in.
    excused: bool,
    /// When that was known.
    landed: Instant,
}

/// A call under way.
#[derive(Default)]
pub(super) struct Flight {
    /// What came of it; nothing where it ended without a word.
    told: OnceLock<Option<Outcome>>,
    landed: Notify,
    /// Set where it goes on without the one that caused it.
    task: OnceLock<AbortHandle>,
}

impl Flight {
    fn tell(&self, outcome: Option<Outcome>) {
        if self.told.set(outcome).is_ok() {
            self.landed.notify_waiters();
        }
    }

    fn told(&self) -> Option<Outcome> {
        self.told.get().cloned().flatten()
    }

    /// Waits until it has landed.
    async fn landed(&self) -> Option<Outcome> {
        let landed = self.landed.notified();
        tokio::pin!(landed);
        landed.as_mut().enable();
        if self.told.get().is_none() {
            landed.await;
        }
        self.told()
    }
}

impl Abandon for Flight {
    fn abandon(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    fn is_over(&self) -> bool {
        // It is told after it was taken off the board.
        self.told.get().is_some()
    }
}

/// What a flight holds. However it ends, nobody can join it any more by the time that those aboard hear of it.
struct Underway {
    landing: Option<Landing<AnswerKey, Flight, AsItIs>>,
    flight: Arc<Flight>,
}

impl Underway {
    fn end(&mut self, outcome: Option<Outcome>) {
        drop(self.landing.take());
        self.flight.tell(outcome);
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.end(None);
    }
}

/// What waiting for a call came to.
enum Waited {
    Landed(Outcome),
    /// It had landed already.
    Remembered(Verdict),
    /// It is only for the one that caused it.
    Private,
    /// The runtime it ran on has ended.
    Vanished,
    /// The client's address has used up what it may cost.
    Unpaid,
}

impl Desk {
    /// The verdict on `question`, from memory or from a call. It is [`Unknown`] under what stands for that question.
    pub(super) async fn ask(
        self: &Arc<Self>,
        line: &impl Ask,
        question: &Question<'_>,
        Unknown { key, at: now }: Unknown,
    ) -> Verdict {
        let deadline = now.instant + self.settings.timeout;
        let mut inquiry = Inquiry { key, question, line, now, deadline };
        let mut alone = false;
        let mut rounds = 0..ROUNDS;
        while rounds.next().is_some() {
            let mut waited = Waited::Private;
            if !alone {
                waited = self.together(&inquiry).await;
            }
            if let Waited::Private = waited {
                alone = true;
                // Rare, and as large as all else here.
                waited = Box::pin(self.alone(&inquiry)).await;
            }
            match waited {
                Waited::Remembered(verdict) => return verdict,
                Waited::Unpaid => return Verdict::Refused(Refusal::TooManyAttempts),
                Waited::Vanished | Waited::Private => {}
                Waited::Landed(outcome) => {
                    if let Some(verdict) = self.settle(&inquiry, outcome) {
                        return verdict;
                    }
                }
            }
            inquiry.now = Now::read();
        }
        self.unavailable()
    }

    /// What is remembered under `key`.
    pub(super) fn remembered(&self, key: &AnswerKey, now: Now) -> Option<Verdict> {
        self.memory.find(key, now, self.counts())
    }

    /// Whether what a call brought still counts, by when the call began.
    fn counts(&self) -> impl Fn(Epoch) -> bool {
        |began| self.principals.is_current(began)
    }

    /// Waits for a call that may be somebody else's, and may then have more time than this question.
    async fn together<L: Ask>(self: &Arc<Self>, inquiry: &Inquiry<'_, L>) -> Waited {
        let Inquiry { key, question, line, now, deadline } = *inquiry;
        let client = self.budgets.client(question.client, now.instant);
        let mut remembered = None;
        let seat = Flights::join(&self.flights, key, || {
            // One may have landed since memory was looked at; it is remembered before it lets go of its place.
            remembered = self.remembered(&key, now);
            (remembered.is_none() && client.can_pay(now.instant)).then(Flight::default)
        });
        let Some(seat) = seat else {
            return remembered.map_or(Waited::Unpaid, Waited::Remembered);
        };
        let outcome = if seat.led {
            let (landing, flight) = (Some(seat.landing()), Arc::clone(&seat.flight));
            let (underway, told) = (Underway { landing, flight }, Told::of(question));
            let desk = Arc::clone(self);
            let call = desk.fly(key, line.clone(), told, client, deadline, underway);
            // The call ends in time for whoever caused it. To leave in the same moment would call it off, and nobody
            // would hear that the service does not answer.
            Pilot::new(&seat, call).await;
            seat.flight.told()
        } else {
            match timeout_at(deadline, seat.flight.landed()).await {
                Ok(outcome) => outcome,
                Err(_) => Some(self.unanswered(self.principals.begin())),
            }
        };
        match outcome {
            Some(outcome) if outcome.shared || seat.led => Waited::Landed(outcome),
            Some(_) => Waited::Private,
            None => Waited::Vanished,
        }
    }

    async fn fly(
        self: Arc<Self>,
        key: AnswerKey,
        line: impl Ask,
        told: Result<Told, Failure>,
        client: Arc<Client>,
        deadline: Instant,
        mut underway: Underway,
    ) {
        let outcome = self.call(key, &line, told, &client, deadline).await;
        underway.end(Some(outcome));
    }

    /// Makes a call that is nobody else's.
    async fn alone<L: Ask>(&self, inquiry: &Inquiry<'_, L>) -> Waited {
        let Inquiry { key, question, line, deadline, .. } = *inquiry;
        // It may have waited for somebody else's call.
        let now = Now::read();
        if let Some(verdict) = self.remembered(&key, now) {
            return Waited::Remembered(verdict);
        }
        let client = self.budgets.client(question.client, now.instant);
        if !client.can_pay(now.instant) {
            return Waited::Unpaid;
        }
        Waited::Landed(self.call(key, line, Told::of(question), &client, deadline).await)
    }

    /// Whether an outcome still counts by the time that somebody has it.
    fn settle<L>(&self, inquiry: &Inquiry<'_, L>, outcome: Outcome) -> Option<Verdict> {
        let Inquiry { key, question, .. } = inquiry;
        let now = Now { time: UnixTime::now(), instant: outcome.landed };
        let verdict = outcome.verdict?;
        if outcome.excused {
            let stale = self.memory.stale(key, now, self.counts());
            if stale.is_some() {
                self.tally.looked_up(LookedUp::Stale);
            }
            return Some(stale.map_or(verdict, Verdict::Known)).inspect(|verdict| {
                self.note(question, verdict, now.instant);
            });
        }
        if !self.principals.is_current(outcome.began) {
            return None;
        }
        self.note(question, &verdict, now.instant);
        match verdict {
            Verdict::Known(principal) if principal.revocation.is_revoked() => None,
            Verdict::Known(principal) if !principal.is_valid_at(now.time) => {
                Some(Verdict::Refused(Refusal::Rejected))
            }
            Verdict::Known(_) | Verdict::Refused(_) => Some(verdict),
        }
    }

    fn note(&self, question: &Question<'_>, verdict: &Verdict, now: Instant) {
        if let Verdict::Known(_) = verdict {
            self.memory.note_admitted(self.keys.text(&question.credential), now);
        }
    }

    /// What comes of a call that brought nothing.
    fn unanswered(&self, began: Epoch) -> Outcome {
        let (verdict, landed) = (Some(self.unavailable()), Instant::now());
        Outcome { verdict, began, shared: true, excused: true, landed }
    }

    /// What there is to say without an answer.
    fn unavailable(&self) -> Verdict {
        Verdict::Refused(Refusal::Unavailable(self.settings.when_unavailable))
    }
}

#[cfg(test)]
pub(in crate::callback) mod tests;
