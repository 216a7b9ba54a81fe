//! The auth layer: a request goes in, a permitted request comes out, or an answer.
//!
//! Straight-line, in the order that the contract fixes: ambiguity 400, credential 401, method 405, scope 403, ownership
//! 404. It is the only caller of [`permit::clear`] on a running gateway.

mod account;

use std::sync::Arc;

use http::{HeaderValue, Request};
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use self::account::{Refused, note_permit};
use super::Behind;
use super::identify::{self, Asked, Circumstances, Identified, Reading, identify};
use super::observe::{Answered, Arrival};
use super::subject::{NO_SANDBOX, Place, Subject, dialect};
use crate::audit::journal::{Full, Journal};
use crate::authn::Authenticator;
use crate::callback::Line;
use crate::caller::Caller;
use crate::clock::UnixTime;
use crate::credential::Credential;
use crate::directory::{Directory, Entry, Unavailable};
use crate::error::GatewayError;
use crate::error::shape::respond;
use crate::permit::{self, Cleared, Control, Data, Denial, Isolation, Passing, Permit, Permitted};
use crate::proxy::body::Reply;
use crate::proxy::lookup::{self, Asker};
use crate::proxy::{Returned, list};
use crate::record::Pending;
use crate::request::Conn;
use crate::route::{Class, Domain, Router};
use crate::sandbox::Sandbox;
use crate::target::{SandboxId, Target};
use crate::token::signature::{self, Operation, SignedQuery};

/// What decides, shared by all workers.
#[derive(Debug)]
pub struct Gate {
    /// Who is who.
    pub authenticator: Arc<Authenticator>,
    /// Whose sandbox is whose.
    pub directory: Directory,
    /// What is where.
    pub router: Router,
    /// Whether tenants are kept apart.
    pub isolation: Isolation,
    /// The domain under which sandboxes have host names.
    pub domain: Option<Domain>,
    /// Places for questions to the upstream that a stranger can cause, by signed URLs of sandboxes that nobody asked
    /// for yet.
    pub strangers: Semaphore,
    /// What requests that matter must be written to, where there is such a thing.
    pub audit: Option<Arc<Journal>>,
}

impl Gate {
    /// How many such questions may be open at once.
    pub const STRANGERS: usize = 32;
}

/// What decides, and how one worker asks what it needs to know for that.
#[derive(Debug)]
pub struct Desk {
    /// What decides.
    pub gate: Arc<Gate>,
    /// Asks the upstream.
    pub asker: Asker,
    /// Reaches the auth callback, where there is one.
    pub line: Option<Line>,
}

/// See the module.
#[derive(Debug)]
pub struct Auth<S> {
    desk: Desk,
    behind: S,
}

impl<S> Auth<S> {
    /// The layer in front of `behind`.
    #[must_use]
    pub const fn new(desk: Desk, behind: S) -> Self {
        Self { desk, behind }
    }
}

impl<S, B> Behind<Arrival<B>> for Auth<S>
where
    S: Behind<Going<B>, Answer = Returned>,
    B: Send + Sync,
{
    type Answer = Answered;

    async fn call(&self, arrival: Arrival<B>) -> Answered {
        let Self { desk, behind } = self;
        let Arrival { request, conn, mut pending } = arrival;
        let dialect = dialect(&request);
        let decided = decide(desk, &request, &conn, pending.request_id()).await;
        let Returned { result, mut pending } = match decided {
            Ok(permit) => {
                note_permit(pending.record(), &permit);
                let permitted = Permitted { permit, request, conn };
                behind.call(Going { permitted, pending }).await
            }
            Err(refused) => {
                let error = refused.note(pending.record());
                Returned { result: Err(error), pending }
            }
        };
        let response = result.unwrap_or_else(|error| {
            let response = respond(&error, &dialect).map(Reply::whole);
            pending.record().error = Some(error);
            response
        });
        Answered { response, pending }
    }
}

/// A permitted request on its way to whoever answers it, with the account of it.
#[derive(Debug)]
pub struct Going<B> {
    /// The request.
    pub permitted: Permitted<B>,
    /// The account of it.
    pub pending: Pending,
}

async fn decide<B>(
    desk: &Desk,
    request: &Request<B>,
    conn: &Conn,
    request_id: &HeaderValue,
) -> Result<Permit, Refused> {
    let Desk { gate, .. } = desk;
    let subject = Subject::read(request, conn, &gate.router, gate.domain.as_ref())?;
    judge(desk, &subject, request, conn, request_id).await.map_err(|(error, caller)| {
        let matched = &subject.matched;
        let sandbox = match &subject.aim {
            Place::Sandbox(target) => Some(target.sandbox.clone()),
            Place::Control => matched.sandbox.and_then(|raw| SandboxId::parse(raw).ok()),
            Place::Nowhere => None,
        };
        let (surface, class) = (Some(matched.surface), Some(matched.class));
        let route = matched.route().map(|route| route.pattern);
        Refused { error, caller, surface, class, route, sandbox }
    })
}

/// Decides about a request that was read. A refusal says who was refused, as far as that is known.
async fn judge<B>(
    desk: &Desk,
    subject: &Subject<'_>,
    request: &Request<B>,
    conn: &Conn,
    request_id: &HeaderValue,
) -> Result<Permit, (GatewayError, Option<Caller>)> {
    let Desk { gate, asker, .. } = desk;
    let stranger = |error| (error, None);
    let (headers, query) = (request.headers(), request.uri().query().unwrap_or_default());
    let now = UnixTime::now();
    let mut found = None;
    let mut unsigned = None;
    let identified = if gate.authenticator.is_open() {
        let passing = Passing { authorization: true, access_token: true };
        Identified { caller: Caller::Open, passing }
    } else {
        let circumstances = Circumstances::of(request, subject, conn, request_id);
        match identify(&gate.authenticator, subject, &circumstances, headers, query, now)
            .map_err(stranger)?
        {
            Reading::Caller(identified) => identified,
            Reading::Ask(asked) => {
                let passing = asked.passing;
                let caller = Box::pin(ask(desk, &circumstances, asked)).await.map_err(stranger)?;
                Identified { caller, passing }
            }
            Reading::Signed => {
                let Place::Sandbox(target) = &subject.aim else {
                    return Err(stranger(NO_SANDBOX));
                };
                let (caller, sandbox) =
                    Box::pin(signed(gate, asker, request_id, target, request.method(), query, now))
                        .await
                        .map_err(stranger)?;
                found = Some(sandbox);
                unsigned = Some(signature::unsigned(query));
                Identified { caller, passing: Passing { authorization: true, access_token: false } }
            }
        }
    };
    let Identified { caller, passing } = identified;
    let refuse = |error| (error, Some(caller.clone()));
    if let Some(allowed) = subject.matched.method_not_allowed {
        return Err(refuse(GatewayError::MethodNotAllowed(allowed)));
    }
    let cleared = permit::clear(caller.clone(), &subject.matched, subject.upgrade, gate.isolation)
        .map_err(|denial| refuse(denied(denial)))?;
    if let Some(journal) = gate.audit.as_deref().filter(|journal| !journal.has_room())
        && matches!(subject.matched.class, Class::Exec | Class::Owner | Class::Admin)
    {
        let room = Box::pin(journal.room()).await;
        room.map_err(|Full| refuse(GatewayError::AuditUnavailable))?;
    }
    let place = Placing { gate, asker, request_id, caller: &caller, subject, query, passing };
    match &subject.aim {
        Place::Control if subject.is_own() => Ok(cleared.own()),
        Place::Control => place.on_control(cleared).await.map_err(refuse),
        Place::Sandbox(target) => {
            place.in_sandbox(cleared, target, found, unsigned).await.map_err(refuse)
        }
        Place::Nowhere => Err(refuse(NO_SANDBOX)),
    }
}

/// Has the auth callback say whose a credential is.
async fn ask(
    desk: &Desk,
    circumstances: &Circumstances<'_>,
    asked: Asked,
) -> Result<Caller, GatewayError> {
    let Asked { kind, credential, unknown, .. } = asked;
    let question = circumstances.question(Credential::new(kind, credential.expose()));
    let authentication = desk.gate.authenticator.ask(desk.line.as_ref(), &question, unknown).await;
    identify::caller(authentication, kind)
}

struct Placing<'a> {
    gate: &'a Gate,
    asker: &'a Asker,
    request_id: &'a HeaderValue,
    caller: &'a Caller,
    subject: &'a Subject<'a>,
    query: &'a str,
    passing: Passing,
}

impl Placing<'_> {
    async fn on_control(&self, cleared: Cleared) -> Result<Permit, GatewayError> {
        let raw = self.subject.matched.sandbox;
        let named = raw.and_then(|raw| SandboxId::parse(raw).ok());
        let sandbox = if raw.is_some() && cleared.needs_standing() {
            let id = named.as_ref().ok_or(GatewayError::SandboxNotFound)?;
            let directory = &self.gate.directory;
            let is_theirs = |sandbox: &Sandbox| cleared.owns(sandbox);
            // Its state is larger than all the rest of a request's: kept apart.
            let found = Box::pin(directory.whose_theirs(id, is_theirs, || {
                self.asker.ask(id).instrument(lookup::span(self.request_id))
            }));
            Some(found.await.map_err(unknown)?.ok_or(GatewayError::SandboxNotFound)?)
        } else {
            None
        };
        let selected = match cleared.selects_by() {
            Some(parameter) => Box::pin(self.selected(&cleared, parameter)).await?,
            None => None,
        };
        let foreign_authorization = self.passing.authorization;
        cleared.control(Control { sandbox, named, selected, foreign_authorization }).map_err(denied)
    }

    /// The caller's own among the sandboxes that the query of a listing names.
    async fn selected(
        &self,
        cleared: &Cleared,
        parameter: &str,
    ) -> Result<Option<Vec<Arc<Sandbox>>>, GatewayError> {
        let Some(ids) = list::query::named(Some(self.query), parameter)? else { return Ok(None) };
        let is_theirs = |sandbox: &Sandbox| cleared.owns(sandbox);
        let found = lookup::records_theirs(&self.gate.directory, self.asker, &ids, is_theirs);
        let found = found.instrument(lookup::span(self.request_id));
        found.await.map(Some).map_err(unknown)
    }

    async fn in_sandbox(
        &self,
        cleared: Cleared,
        target: &Target,
        found: Option<Arc<Sandbox>>,
        query: Option<String>,
    ) -> Result<Permit, GatewayError> {
        let (target, sandbox) = match (self.caller, found) {
            (Caller::Open, _) => (target.clone(), None),
            (_, Some(sandbox)) => (at(&sandbox, target), Some(sandbox)),
            (Caller::Token(_, own), None) => {
                if !names(&target.sandbox, own) {
                    return Err(GatewayError::SandboxNotFound);
                }
                let sandbox = find(self.gate, self.asker, self.request_id, own)
                    .await?
                    .ok_or_else(|| GatewayError::SandboxGone(own.clone()))?;
                (at(&sandbox, target), Some(sandbox))
            }
            (_, None) => {
                let (id, directory) = (&target.sandbox, &self.gate.directory);
                let is_theirs = |sandbox: &Sandbox| cleared.owns(sandbox);
                let found = Box::pin(directory.find_theirs(id, is_theirs, || {
                    self.asker.ask(id).instrument(lookup::span(self.request_id))
                }));
                let sandbox = found.await.map_err(unknown)?.ok_or(GatewayError::SandboxNotFound)?;
                (at(&sandbox, target), Some(sandbox))
            }
        };
        cleared.data(Data { target, sandbox, passing: self.passing, query }).map_err(denied)
    }
}

/// The target under the id that the upstream uses for its sandbox.
fn at(sandbox: &Sandbox, target: &Target) -> Target {
    Target { sandbox: sandbox.id.clone(), port: target.port }
}

/// Whether `text` is `id`, or `id` with the `-<clientID>` that old clients append.
fn names(text: &SandboxId, id: &SandboxId) -> bool {
    text.as_str()
        .strip_prefix(id.as_str())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

async fn find(
    gate: &Gate,
    asker: &Asker,
    request_id: &HeaderValue,
    id: &SandboxId,
) -> Result<Option<Arc<Sandbox>>, GatewayError> {
    let found =
        Box::pin(gate.directory.find(id, || asker.ask(id).instrument(lookup::span(request_id))));
    found.await.map(Entry::known).map_err(unknown)
}

fn unknown(_: Unavailable) -> GatewayError {
    GatewayError::OwnershipUnknown
}

/// Who signed a file URL. Every failure but an unreachable upstream is the same to the client.
async fn signed(
    gate: &Gate,
    asker: &Asker,
    request_id: &HeaderValue,
    target: &Target,
    method: &http::Method,
    query: &str,
    now: UnixTime,
) -> Result<(Caller, Arc<Sandbox>), GatewayError> {
    let operation = if *method == http::Method::POST { Operation::Write } else { Operation::Read };
    let query = SignedQuery::parse(query).map_err(|_| GatewayError::BadSignature)?;
    if !query.is_current(now) {
        return Err(GatewayError::BadSignature);
    }
    let ask_place = || gate.strangers.try_acquire().map_err(|_| GatewayError::NotReady);
    let id = &target.sandbox;
    let place = match gate.directory.remembers(id) {
        true => None,
        false => Some(ask_place()?),
    };
    let asked = gate.directory.now();
    let sandbox = find(gate, asker, request_id, id).await?.ok_or(GatewayError::BadSignature)?;
    let last = gate.directory.last_holder(&sandbox.id);
    let signer = gate.authenticator.signer(&sandbox, last, &query, operation, now);
    let Some(principal) = signer else {
        let was_asked = place.is_some();
        let _place = match place {
            None if !gate.directory.was_denied(id) => Some(ask_place()?),
            place => place,
        };
        let denied = Box::pin(
            gate.directory
                .deny(id, was_asked, || asker.ask(id).instrument(lookup::span(request_id))),
        );
        denied.await.map_err(unknown)?;
        return Err(GatewayError::BadSignature);
    };
    gate.directory.note_holder(&sandbox.id, &principal, asked);
    Ok((Caller::Signature(principal, sandbox.id.clone()), sandbox))
}

fn denied(denial: Denial) -> GatewayError {
    match denial {
        Denial::MissingScope(scope) => GatewayError::MissingScope(scope),
        Denial::Hidden => GatewayError::NotFound,
        Denial::NotTheirs => GatewayError::SandboxNotFound,
    }
}
