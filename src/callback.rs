//! The operator's own auth service, asked about credentials that no key knows.
//!
//! What is remembered of its answers is who a credential belongs to, never what that one may do: scopes, ownership and
//! quotas are judged anew at every request. Nothing here keeps a credential; whatever goes wrong is a refusal.

mod answer;
mod asking;
mod breaker;
mod budget;
mod call;
mod flight;
mod freshness;
mod identity;
mod key;
mod ledger;
mod memory;
mod now;
mod principals;
mod purged;
mod question;
mod settings;
mod statement;
mod sync;
mod tally;
mod url;

use std::fmt;
use std::io;
use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

pub use call::{Failure, Line};
pub use question::Question;
pub use settings::{CacheBy, DefaultIdentity, Passed, Settings, WhenUnavailable};
pub use tally::Tally;
pub use url::{BadUrl, CallbackUrl};

use self::asking::Desk;
use self::call::{Ask, Told};
use self::tally::LookedUp;
use crate::clock::UnixTime;
use crate::credential::Credential;
use crate::principal::{KeyId, Principal, Scopes, TenantId};

/// What the service says of a credential, or what its silence means.
#[derive(Clone, Debug)]
#[must_use]
pub enum Verdict {
    /// It is this principal's.
    Known(Arc<Principal>),
    /// The request goes no further.
    Refused(Refusal),
}

/// Why a request goes no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The service said no.
    Rejected,
    /// It said 403, and the settings let that through.
    Forbidden,
    /// It said 429, and the settings let that through, with its `Retry-After`.
    RateLimited(Option<HeaderValue>),
    /// It was not asked: too much of what the client's address sent was refused before.
    TooManyAttempts,
    /// It did not answer in time or not soundly. The cause is in the log.
    Unavailable(WhenUnavailable),
}

/// That nothing is remembered of a question, which is to be asked with it and no other, and now.
#[derive(Debug)]
pub struct Unknown {
    key: key::AnswerKey,
    /// When nothing was.
    at: now::Now,
}

/// The service as all workers share it: what is remembered of its answers, the calls under way, and their bounds.
pub struct Callback {
    desk: Arc<Desk>,
    drains: Arc<Semaphore>,
}

impl Callback {
    /// A service that was not asked yet.
    ///
    /// # Errors
    /// The system gives no random bytes, or the record of purged principals cannot be read.
    pub fn new(settings: Settings) -> io::Result<Self> {
        let desk = Arc::new(Desk {
            keys: key::Keys::random(settings.cache_by)?,
            memory: memory::Memory::new(settings.cache_ttl, settings.stale_if_error),
            principals: principals::Principals::new(settings.state_dir.clone())?,
            flights: Arc::new(flight::Flights::new()),
            budgets: budget::Budgets::new(settings.client_budget, settings.max_calls),
            breaker: breaker::Breaker::new(settings.breaker_failures, settings.breaker_pause),
            tally: Tally::default(),
            settings,
        });
        Ok(Self { desk, drains: Arc::new(Semaphore::new(call::DRAINS)) })
    }

    /// One worker's own connections. For `http://` that takes no time to speak of.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn line(&self) -> io::Result<Line> {
        Line::new(&self.desk.settings, &self.drains)
    }

    /// The verdict that is remembered, or else what to [`Self::ask`] with.
    ///
    /// On the way of every request: one hash and one look-up, or two for refusals. It allocates nothing
    /// (`tests/allocations.rs`), and waits only where an answer is put into the same part of the shelf at that moment.
    ///
    /// # Errors
    /// [`Unknown`]: the service must be asked.
    pub fn remembered(&self, question: &Question<'_>, now: UnixTime) -> Result<Verdict, Unknown> {
        let key = self.desk.keys.answer(question);
        let at = now::Now { instant: Instant::now(), time: now };
        let verdict = self.desk.remembered(&key, at);
        let looked_up = if verdict.is_some() { LookedUp::Hit } else { LookedUp::Miss };
        self.desk.tally.looked_up(looked_up);
        verdict.ok_or(Unknown { key, at })
    }

    /// Asks the service, or waits with others who ask the same. Takes at most as long as the settings allow one call.
    /// Dropped, it calls off what nobody else waits for.
    pub async fn ask(&self, line: &Line, question: &Question<'_>, unknown: Unknown) -> Verdict {
        self.desk.ask(line, question, unknown).await
    }

    /// Whether a credential with this text, of either kind, was good within the last hour. Such a text must never reach
    /// a sandbox.
    #[must_use]
    pub fn has_admitted(&self, credential: &Credential<'_>) -> bool {
        self.desk.memory.has_admitted(&self.desk.keys.text(credential))
    }

    /// The principal that a sandbox token of a callback identity names, with the scopes that the token stands for.
    /// `None` when `key` is not that identity's, or was purged.
    #[must_use]
    pub fn holder(
        &self,
        tenant: &TenantId,
        name: &str,
        key: &KeyId,
        scopes: Scopes,
    ) -> Option<Arc<Principal>> {
        self.desk.principals.holder(tenant, name, key, scopes)
    }

    /// Whether an id has the form of those that callback principals have.
    #[must_use]
    pub fn is_principal(key: &KeyId) -> bool {
        principals::is_callback_id(key.as_str())
    }

    /// Forgets every answer, those of calls under way included. Sandbox tokens and open streams stay.
    pub fn flush(&self) {
        self.desk.principals.flush();
    }

    /// Ends one principal: its open streams, its sandbox tokens, what is remembered of it, and what calls under way
    /// bring. Its id never comes back; the same identity goes on under another one. Whether it was live.
    ///
    /// Writes a file where there is a state directory; without one a purge lasts as long as the process. An id that is
    /// not of a callback principal's form is not recorded.
    ///
    /// # Errors
    /// The file could not be written. Until this process ends it is purged nevertheless.
    pub fn purge(&self, key: &KeyId) -> io::Result<bool> {
        self.desk.principals.purge(key)
    }

    /// Makes one call, without memory and bounds, for whoever tries the settings out. The status of its answer: only
    /// with 200 may somebody be let in.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn probe(&self, line: &Line, question: &Question<'_>) -> Result<StatusCode, Failure> {
        let limit = self.settings().timeout;
        let called = timeout(limit, line.call(&Told::of(question)?)).await;
        Ok(called.map_err(|_| Failure::Timeout)??.status)
    }

    /// What was counted so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.desk.tally
    }

    /// What was set.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.desk.settings
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Callback({})", self.desk.settings.url)
    }
}
