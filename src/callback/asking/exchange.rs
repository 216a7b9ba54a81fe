//! One call within its bounds, and what is learnt from it.

use std::pin::pin;

use tokio::time::{Instant, timeout_at};

use super::{Desk, Outcome};
use crate::callback::answer::Answer;
use crate::callback::budget::{Client, Paid};
use crate::callback::call::{Ask, Failure, Head, Told};
use crate::callback::freshness::Freshness;
use crate::callback::key::AnswerKey;
use crate::callback::ledger::Epoch;
use crate::callback::settings::Settings;
use crate::callback::tally::Called;
use crate::callback::{Refusal, Verdict};
use crate::clock::UnixTime;
use crate::lookout::before;

/// An attempt to ask.
struct Exchange<'c> {
    began: Epoch,
    landed: Instant,
    what: Exchanged<'c>,
}

/// What came of it.
enum Exchanged<'c> {
    /// An answer, and what it cost.
    Answer(Answer, Paid<'c>),
    /// No answer. The cause is in the log.
    Nothing,
    /// The client's address has used up what it may cost.
    Unpaid,
}

impl Desk {
    /// Makes one call within its bounds and remembers what it brings.
    pub(super) async fn call(
        &self,
        key: AnswerKey,
        line: &impl Ask,
        told: Result<Told, Failure>,
        client: &Client,
        deadline: Instant,
    ) -> Outcome {
        let Exchange { began, landed, what } = self.exchange(line, told, client, deadline).await;
        let (shared, excused) = (true, false);
        let refused = |refusal| Some(Verdict::Refused(refusal));
        let (answer, paid) = match what {
            Exchanged::Answer(answer, paid) => (answer, paid),
            Exchanged::Nothing => return self.unanswered(began),
            // What this client may cost is not its followers' doing.
            Exchanged::Unpaid => {
                let verdict = refused(Refusal::TooManyAttempts);
                return Outcome { verdict, began, shared: false, excused, landed };
            }
        };
        let (verdict, shared) = match answer {
            Answer::Allowed(identity, freshness) => {
                // An identity that has ended is let in as little as one that is refused.
                if identity.expires.is_none_or(|end| UnixTime::now() < end) {
                    paid.give_back();
                }
                let principal = self.principals.admit(began, identity);
                if let Some(principal) = &principal {
                    self.memory.allow(key, began, principal, freshness, landed);
                }
                (principal.map(Verdict::Known), freshness != Freshness::NotShared)
            }
            Answer::Denied(refusal, freshness) => {
                self.memory.deny(key, began, &refusal, freshness, landed);
                (refused(refusal), freshness != Freshness::NotShared)
            }
            Answer::Refused(refusal) => {
                self.memory.forget(&key);
                (refused(refusal), true)
            }
            Answer::Ailing(refusal) => {
                paid.give_back();
                let verdict = refused(refusal);
                return Outcome { verdict, began, shared, excused: true, landed };
            }
            Answer::Nonsense(_) => {
                paid.give_back();
                self.memory.forget(&key);
                (Some(self.unavailable()), true)
            }
        };
        Outcome { verdict, began, shared, excused, landed }
    }

    /// What one call brings.
    async fn exchange<'c>(
        &self,
        line: &impl Ask,
        told: Result<Told, Failure>,
        client: &'c Client,
        deadline: Instant,
    ) -> Exchange<'c> {
        let url = &self.settings.url;
        let request_id = told.as_ref().ok().and_then(|told| told.request_id().to_str().ok());
        let ended = |what| {
            let (began, landed) = (self.principals.begin(), Instant::now());
            Exchange { began, landed, what }
        };
        let unasked = |cause: &str| {
            self.tally.called(Called::Unasked);
            tracing::debug!(%url, request_id, cause, "the auth callback was not asked");
            ended(Exchanged::Nothing)
        };
        let told = match &told {
            Ok(told) => told,
            Err(failure) => return unasked(&failure.to_string()),
        };
        if self.breaker.is_open() {
            return unasked("it is left alone for a while");
        }
        let place = match self.budgets.free_place(client) {
            Some(place) => Some(place),
            None => Box::pin(timeout_at(deadline, self.budgets.place(client))).await.ok().flatten(),
        };
        let asked = Instant::now();
        // A place that comes free in the last moment is of no use.
        let in_time = place.filter(|_| asked < deadline);
        let Some(_place) = in_time else {
            self.tally.called(Called::Unasked);
            tracing::warn!(%url, request_id, "no place for a call to the auth callback came free in time");
            return ended(Exchanged::Nothing);
        };
        let Some(paid) = client.pay(asked) else {
            return ended(Exchanged::Unpaid);
        };
        let Some(pass) = self.breaker.enter() else {
            paid.give_back();
            return unasked("it is left alone for a while");
        };
        let began = self.principals.begin();
        let had = deadline.saturating_duration_since(asked);
        let called = before(deadline, line.alarms(), pin!(line.call(told))).await;
        let landed = Instant::now();
        self.tally.call_took(landed.saturating_duration_since(asked));
        let failure = match called {
            Some(Ok(Head { status, said })) => {
                pass.answered();
                let Settings { default, pass, .. } = &self.settings;
                let answer = Answer::read(status, said, default, *pass);
                self.tally.called(Called::of(&answer));
                if let Answer::Nonsense(header) = &answer {
                    tracing::warn!(%url, request_id, %header, "the auth callback sent a header that makes no sense");
                }
                return Exchange { began, landed, what: Exchanged::Answer(answer, paid) };
            }
            Some(Err(failure)) => failure,
            None => Failure::Timeout,
        };
        match failure {
            // Whoever had to wait that long before says little of how fast the service is.
            Failure::Timeout if had < self.settings.timeout / 2 => {}
            // That may be one credential's own doing, and must not keep the others out.
            Failure::HeadTooLarge => pass.answered(),
            Failure::Timeout | Failure::Transport(_) | Failure::Unsendable => pass.failed(),
        }
        paid.give_back();
        self.tally.called(Called::Failed);
        tracing::warn!(%url, request_id, cause = %failure, "the auth callback did not answer");
        Exchange { began, landed, what: Exchanged::Nothing }
    }
}
