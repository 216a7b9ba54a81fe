//! A service that the test plays, before a desk of its own.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Mutex;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use tokio::sync::{mpsc, oneshot};

use super::super::*;
use crate::callback::CallbackUrl;
use crate::callback::call::Head;
use crate::callback::settings::{CacheBy, DefaultIdentity, Passed, WhenUnavailable};
use crate::callback::statement::Statement;
use crate::credential::{Credential, Kind};
use crate::http1::Tls;
use crate::lookout::Alarms;
use crate::principal::{Principal, Scopes, TenantId};

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(in crate::callback) fn settings() -> Settings {
    Settings {
        url: CallbackUrl::parse("http://127.0.0.1:1/verify").unwrap(),
        tls: Tls::default(),
        connect_timeout: SECOND,
        timeout: 5 * SECOND,
        pass: Passed::default(),
        when_unavailable: WhenUnavailable::InternalError,
        cache_ttl: Duration::ZERO,
        cache_by: CacheBy::Request,
        stale_if_error: Duration::ZERO,
        max_calls: NonZeroUsize::new(64).unwrap(),
        client_budget: NonZeroU32::new(20).unwrap(),
        breaker_failures: NonZeroU32::new(3).unwrap(),
        breaker_pause: 10 * SECOND,
        default: DefaultIdentity {
            tenant: TenantId::parse("callback").unwrap(),
            name: "callback".into(),
            scopes: Scopes::ALL,
        },
        state_dir: None,
    }
}

type Reply = oneshot::Sender<Result<Head, Failure>>;

/// A service whose calls the test sees and answers.
#[derive(Clone)]
struct Played(mpsc::UnboundedSender<Reply>, Alarms);

impl Ask for Played {
    fn alarms(&self) -> &Alarms {
        &self.1
    }

    async fn call(&self, _: &Told) -> Result<Head, Failure> {
        let (reply, replied) = oneshot::channel();
        self.0.send(reply).unwrap();
        replied.await.unwrap_or_else(|_| Err(Failure::Transport("hung up".to_owned())))
    }
}

pub(super) struct Stage {
    pub(super) desk: Arc<Desk>,
    line: Played,
    calls: tokio::sync::Mutex<mpsc::UnboundedReceiver<Reply>>,
    /// How many calls were seen.
    seen: Mutex<usize>,
}

pub(super) fn stage(settings: Settings) -> Arc<Stage> {
    let (line, calls) = mpsc::unbounded_channel();
    let desk = crate::callback::Callback::new(settings).unwrap().desk;
    let calls = tokio::sync::Mutex::new(calls);
    Arc::new(Stage { desk, line: Played(line, Alarms::default()), calls, seen: Mutex::new(0) })
}

impl Stage {
    /// Asks with a credential, from an address that ends in `from`.
    pub(super) fn ask(
        self: &Arc<Self>,
        text: &'static str,
        from: u8,
    ) -> tokio::task::JoinHandle<Verdict> {
        let stage = Arc::clone(self);
        // Timers are a worker's own.
        let line = Played(self.line.0.clone(), Alarms::default());
        tokio::spawn(async move {
            let ask = async |question: &Question<'_>| {
                let unknown = Unknown { key: stage.desk.keys.answer(question), at: Now::read() };
                stage.desk.ask(&line, question, unknown).await
            };
            with(text, from, ask).await
        })
    }

    /// The next call, once it is made.
    pub(super) async fn call(&self) -> Reply {
        let reply = self.calls.lock().await.recv().await.unwrap();
        *self.seen.lock().unwrap() += 1;
        reply
    }

    pub(super) async fn asked(
        self: &Arc<Self>,
        text: &'static str,
        answer: Result<Head, Failure>,
    ) -> Verdict {
        let asked = self.ask(text, 1);
        tokio::select! {
            reply = self.call() => drop(reply.send(answer)),
            () = async { while !asked.is_finished() { tokio::task::yield_now().await } } => {}
        }
        asked.await.unwrap()
    }

    /// Asks as somebody who found nothing remembered, and joins a call or makes one only now.
    pub(super) async fn joined(self: &Arc<Self>, text: &'static str) -> bool {
        let now = Now::read();
        let deadline = now.instant + SECOND;
        let join = async |question: &Question<'_>| {
            let key = self.desk.keys.answer(question);
            self.desk.together(&Inquiry { key, question, line: &self.line, now, deadline }).await
        };
        matches!(with(text, 1, join).await, Waited::Remembered(Verdict::Known(_)))
    }

    pub(super) async fn remembered(&self, text: &'static str) -> Option<Verdict> {
        let find = async |question: &Question<'_>| {
            self.desk.remembered(&self.desk.keys.answer(question), Now::read())
        };
        with(text, 1, find).await
    }

    pub(super) fn seen(&self) -> usize {
        *self.seen.lock().unwrap()
    }
}

pub(super) async fn with<T>(text: &str, from: u8, then: impl AsyncFnOnce(&Question<'_>) -> T) -> T {
    let id = HeaderValue::from_static("r");
    let question = Question {
        credential: Credential::new(Kind::Bearer, text),
        method: &Method::GET,
        path: "/sandboxes",
        host: None,
        request_id: &id,
        client: Some([127, 0, 0, from].into()),
    };
    then(&question).await
}

/// Lets everything run that can.
pub(super) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

pub(super) fn head(status: u16, lines: &[(&'static str, &'static str)]) -> Result<Head, Failure> {
    let said = Statement::of(lines.iter().map(|(name, value)| (*name, value.as_bytes())));
    Ok(Head { status: StatusCode::from_u16(status).unwrap(), said })
}

pub(super) fn allow(control: &'static str) -> Result<Head, Failure> {
    head(200, &[("x-auth-tenant", "team-a"), ("x-auth-user", "ada"), ("cache-control", control)])
}

pub(super) fn failure() -> Result<Head, Failure> {
    Err(Failure::Transport("connection refused".to_owned()))
}

pub(super) fn known(verdict: Verdict) -> Option<Arc<Principal>> {
    match verdict {
        Verdict::Known(principal) => Some(principal),
        Verdict::Refused(_) => None,
    }
}

pub(super) fn refused(verdict: Verdict) -> Option<Refusal> {
    match verdict {
        Verdict::Known(_) => None,
        Verdict::Refused(refusal) => Some(refusal),
    }
}

pub(super) const UNAVAILABLE: Option<Refusal> =
    Some(Refusal::Unavailable(WhenUnavailable::InternalError));
