//! Forwards permitted requests to the sandbox API.
//!
//! Bodies stream, but for the few that the gateway changes ([`edit`]). The upstream is told who calls in headers that
//! no client can forge, and shown the gateway's own key instead of the client's.

mod answer;
mod listing;
mod repeat;
mod start;
mod through;

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use self::answer::AnswerEdit;
use self::start::Owned;
use super::body::{Outgoing, Reply};
use super::edit::{self, Creator, Generation, MAX_BODY};
use super::exchange::{BROKEN_BODY, Bounds, exchange};
use super::inbound::Inbound;
use super::tunnel::{Switch, refuse_stray_switch};
use super::v1::Twin;
use super::{Forwarder, headers, v1};
use crate::caller::Caller;
use crate::credential::X_API_KEY;
use crate::directory::Moment;
use crate::error::GatewayError;
use crate::permit::{Control, Permit};
use crate::principal::{Principal, Scope, TenantId};
use crate::quota::Reservation;
use crate::request::{
    Origin, TRACEPARENT, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID,
    traceparent,
};
use crate::route::{BodyEdit, Effect};
use crate::sandbox::{Sandbox, State};

/// Longest wait for all of a request body that is read to be changed.
const SLOWEST_BODY: Duration = Duration::from_secs(60);

const X_COPPICE_TENANT: HeaderName = HeaderName::from_static("x-coppice-tenant");
const X_COPPICE_PRINCIPAL: HeaderName = HeaderName::from_static("x-coppice-principal");
const X_COPPICE_SCOPES: HeaderName = HeaderName::from_static("x-coppice-scopes");

impl Ask<'_> {
    async fn forward(
        self,
        mut request: Request<Inbound>,
        origin: Origin,
    ) -> Result<Response<Reply>, GatewayError> {
        let (ask, permit, inner) = (self, self.permit, &self.forwarder.inner);
        let switch = permit.tunnels().then(|| Switch::asked_by(&mut request)).flatten();
        let (mut parts, body) = request.into_parts();
        let coded = parts.headers.contains_key(CONTENT_ENCODING);
        let mut bounds = ask.bounds(&parts.method, origin.request_id.clone());
        ask.rewrite_head(&mut parts.headers, origin);
        parts.version = Version::HTTP_11;
        let mut path =
            parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));

        let ended = ask.ended().await;
        let method = parts.method.clone();
        let lister = match ask.listed() {
            // Rare and large, as what follows from it: kept out of the way of every other request.
            Some(listed) => Some(Box::pin(ask.lister(listed, &path)).await?),
            None => None,
        };
        if let Some(lister) = &lister {
            match lister.path()? {
                Some(narrowed) => path = narrowed,
                None => return Ok(lister.nothing(&method)),
            }
        }
        let (answer, held) = if let Some(editing) = ask.body_edit(&method) {
            if coded {
                return Err(CODED_BODY);
            }
            // Rare and large: kept out of the way of every other request.
            Box::pin(ask.ask_with_edited_body(parts, path, body, editing, &bounds)).await?
        } else {
            let held = if ask.may_start() {
                Box::pin(ask.reserve(&parts.headers, &[])).await?
            } else {
                None
            };
            if let Some(switch) = &switch {
                switch.put_into(&mut parts.headers);
            }
            let (body, sent) = Outgoing::stream(body.of(bounds.principal.clone()));
            // A stranger's time runs from the start: nobody unknown may hold the upstream by sending slowly.
            bounds.sent = sent.filter(|_| !matches!(permit.caller(), Caller::Anonymous));
            parts.uri = inner.upstreams.control.uri(path)?;
            let request = Request::from_parts(parts, body);
            start::learn(held, exchange(&inner.pool, request, &bounds).await).await?
        };

        if let Some(switch) = switch.filter(|switch| switch.is_made_by(&answer)) {
            let principal = permit.caller().principal().cloned();
            return Ok(inner.tunnels.agree(switch, answer, principal));
        }
        refuse_stray_switch(answer.status(), &bounds)?;
        let held = start::unless_refused(held, answer.status()).await;
        ask.take_note(answer.status(), ended).await;
        match lister {
            Some(lister) => Box::pin(lister.pass(answer, &method, &bounds)).await,
            None => ask.pass(answer, &method, &bounds, held).await,
        }
    }
}

/// One request on its way to the sandbox API.
#[derive(Clone, Copy)]
struct Ask<'a> {
    forwarder: &'a Forwarder,
    permit: &'a Permit,
    control: &'a Control,
    /// When the upstream was asked.
    asked: Moment,
    /// Tells that nobody waits for the answer any more, where that does not end everything by itself.
    client_left: Option<&'a CancellationToken>,
}

impl Ask<'_> {
    /// Strips what is not for the upstream, then says what only the gateway may say.
    fn rewrite_head(&self, head: &mut HeaderMap, origin: Origin) {
        let inner = &self.forwarder.inner;
        let clients_key = matches!(self.permit.caller(), Caller::Open)
            .then(|| head.get(X_API_KEY).cloned())
            .flatten();
        headers::strip_request(head, &[]);
        headers::join_cookies(head);
        if !self.control.foreign_authorization {
            head.remove(AUTHORIZATION);
        }
        if self.answer_edit() != AnswerEdit::None {
            for unedited in [ACCEPT_ENCODING, RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE] {
                head.remove(unedited);
            }
        }
        head.insert(HOST, inner.upstreams.control.host.clone());
        if !head.contains_key(TRACEPARENT)
            && let Some(started) = traceparent(&origin.request_id)
        {
            head.insert(TRACEPARENT, started);
        }
        head.insert(X_REQUEST_ID, origin.request_id);
        head.insert(X_FORWARDED_FOR, origin.forwarded_for);
        head.insert(X_FORWARDED_PROTO, origin.proto);
        if let Some(host) = origin.host {
            head.insert(X_FORWARDED_HOST, host);
        }
        if let Some(principal) = self.permit.caller().principal() {
            vouch(head, principal);
            repeat::set_apart(head, &principal.tenant);
        }
        let key = match self.permit.caller() {
            Caller::Anonymous => None,
            Caller::Open | Caller::Key(..) | Caller::Token(..) | Caller::Signature(..) => {
                inner.upstreams.key.clone().or(clients_key)
            }
        };
        if let Some(key) = key {
            head.insert(X_API_KEY, key);
        }
    }

    fn bounds(&self, method: &Method, request_id: HeaderValue) -> Bounds {
        let upstreams = &self.forwarder.inner.upstreams;
        let reads = matches!(*method, Method::GET | Method::HEAD);
        Bounds {
            head: Some(if reads { upstreams.response_timeout } else { upstreams.create_timeout }),
            sent: None,
            principal: self.permit.caller().principal().cloned(),
            creates: self.creates(),
            request_id: Some(request_id),
        }
    }

    /// Whether the request may start something.
    fn creates(&self) -> bool {
        let effect = self.permit.route().map_or(Effect::None, |route| route.effect);
        !matches!(effect, Effect::None | Effect::End)
    }

    /// What the gateway has to do with the request body, if anything.
    fn body_edit(&self, method: &Method) -> Option<Editing> {
        let route = self.permit.route()?;
        let dialects = &self.forwarder.inner.upstreams.dialects;
        let twin =
            Twin::of(route.pattern).filter(|_| dialects.only_v1() || dialects.is_undecided());
        match (route.body, twin) {
            (BodyEdit::Create, twin) => Some(Editing { payload: Payload::Create, twin }),
            (BodyEdit::Fork, twin) => Some(Editing { payload: Payload::Fork, twin }),
            (BodyEdit::None, Some(twin)) => {
                Some(Editing { payload: Payload::Connect, twin: Some(twin) })
            }
            (BodyEdit::Nested, _) if matches!(*method, Method::POST | Method::PATCH) => {
                Some(Editing { payload: Payload::Nested, twin: None })
            }
            (BodyEdit::None | BodyEdit::Nested, _) => None,
        }
    }

    async fn ask_with_edited_body(
        &self,
        parts: http::request::Parts,
        path: PathAndQuery,
        body: Inbound,
        editing: Editing,
        bounds: &Bounds,
    ) -> Result<(Response<Incoming>, Option<Reservation>), GatewayError> {
        let late = GatewayError::BodyTimeout;
        let sent = bounds.let_read(Some(SLOWEST_BODY), late, read_body(body)).await??;
        let tenant = self.maker(editing.payload).await;
        let as_sent = self.edited(&sent, editing, tenant.as_ref(), Generation::AsSent)?;
        let held = self.reserve(&parts.headers, &sent).await?;
        let answer = self.ask_in_turn(parts, path, as_sent, &sent, editing, tenant, bounds).await;
        start::learn(held, answer).await
    }

    /// Asks in the generation of the API that the upstream speaks, and finds out which that is.
    #[expect(clippy::too_many_arguments, reason = "one request, in the pieces that it is sent in")]
    async fn ask_in_turn(
        &self,
        parts: http::request::Parts,
        path: PathAndQuery,
        as_sent: Vec<u8>,
        sent: &[u8],
        editing: Editing,
        tenant: Option<TenantId>,
        bounds: &Bounds,
    ) -> Result<Response<Incoming>, GatewayError> {
        let dialects = &self.forwarder.inner.upstreams.dialects;
        let Some(twin) = editing.twin else {
            return self.send(parts, path, as_sent, bounds).await;
        };
        if !dialects.only_v1() {
            let answer = self.send(parts.clone(), path.clone(), as_sent, bounds).await?;
            if !dialects.is_undecided() || !dialects.decide(twin, answer.status()) {
                return Ok(answer);
            }
        }
        let down = Bytes::copy_from_slice(v1::path(path.as_str()).as_bytes());
        let down = PathAndQuery::from_maybe_shared(down).map_err(|_| GatewayError::Internal)?;
        let body = self.edited(sent, editing, tenant.as_ref(), Generation::MappedDown)?;
        let answer = self.send(parts, down, body, bounds).await?;
        dialects.confirm(answer.status());
        Ok(answer)
    }

    fn edited(
        &self,
        sent: &[u8],
        editing: Editing,
        tenant: Option<&TenantId>,
        generation: Generation,
    ) -> Result<Vec<u8>, GatewayError> {
        let creator = Creator {
            tenant,
            may_mount: self.permit.caller().scopes().allows(Scope::Admin),
            reserved: &self.forwarder.inner.upstreams.marking.reserved,
        };
        match (editing.payload, generation) {
            (Payload::Create, generation) => edit::create(sent, creator, generation),
            (Payload::Fork, _) if sent.is_empty() && tenant.is_none() => Ok(Vec::new()),
            (Payload::Fork, _) if sent.is_empty() => edit::create(b"{}", creator, generation),
            (Payload::Fork, generation) => edit::create(sent, creator, generation),
            (Payload::Nested, _) => edit::nested(sent, creator),
            (Payload::Connect, Generation::MappedDown) => edit::connect_v1(sent),
            (Payload::Connect, Generation::AsSent) => Ok(sent.to_vec()),
        }
    }

    /// Whose the sandboxes will be that a request makes: its caller's, or as [`Self::heir`] says.
    async fn maker(&self, payload: Payload) -> Option<TenantId> {
        let principal = self.permit.caller().principal()?;
        match payload {
            Payload::Create | Payload::Nested | Payload::Connect => Some(principal.tenant.clone()),
            Payload::Fork => self.heir_of_named().await,
        }
    }

    /// Whose a fork is of the sandbox that the path names.
    async fn heir_of_named(&self) -> Option<TenantId> {
        self.heir(&self.named_sandbox().await.ok()??)
    }

    /// Whose a fork is: its parent's tenant's, which its maker need not be of. Of what nobody has, an admin's fork is
    /// nobody's either; anybody else's, which there are only without isolation, is its maker's.
    fn heir(&self, parent: &Sandbox) -> Option<TenantId> {
        let caller = self.permit.caller();
        let maker = caller.principal().filter(|_| !caller.sees_all_tenants());
        parent.tenant.clone().or_else(|| maker.map(|maker| maker.tenant.clone()))
    }

    async fn send(
        &self,
        mut parts: http::request::Parts,
        path: PathAndQuery,
        body: Vec<u8>,
        bounds: &Bounds,
    ) -> Result<Response<Incoming>, GatewayError> {
        parts.uri = self.forwarder.inner.upstreams.control.uri(path)?;
        parts.headers.remove(http::header::TRAILER);
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        if !body.is_empty() {
            let json = HeaderValue::from_static("application/json");
            parts.headers.entry(CONTENT_TYPE).or_insert(json);
        }
        let body = Outgoing::whole(Bytes::from(body));
        exchange(&self.forwarder.inner.pool, Request::from_parts(parts, body), bounds).await
    }

    /// What the status alone says of the sandbox: one that was killed is not remembered, one that was paused sleeps.
    async fn take_note(&self, status: StatusCode, ended: Option<Owned>) {
        let Some(route) = self.permit.route() else { return };
        let directory = &self.forwarder.inner.directory;
        if route.effect == Effect::End && (status.is_success() || status == StatusCode::NOT_FOUND) {
            let known = self.known().await;
            let names = known.iter().map(|known| &known.id).chain(&self.control.named);
            for id in names {
                Box::pin(directory.forget(id, status.is_success())).await;
            }
            self.note_end(ended).await;
        } else if route.pattern.ends_with("/pause") && status.is_success() {
            let known = self.control.sandbox.as_ref().map(|sandbox| &sandbox.id);
            for id in known.into_iter().chain(&self.control.named) {
                Box::pin(directory.turned(id, State::Paused)).await;
            }
        }
    }
}

/// What has to be done with a request body.
#[derive(Clone, Copy)]
struct Editing {
    payload: Payload,
    twin: Option<Twin>,
}

/// What a body that has to be read is.
#[derive(Clone, Copy)]
enum Payload {
    Create,
    Fork,
    Nested,
    Connect,
}

const CODED_BODY: GatewayError =
    GatewayError::BadRequest("content_coding", "This body must be sent without a content coding");

/// Tells the upstream who calls.
fn vouch(head: &mut HeaderMap, principal: &Principal) {
    head.insert(X_COPPICE_TENANT, principal.vouched.tenant.clone());
    head.insert(X_COPPICE_PRINCIPAL, principal.vouched.name.clone());
    head.insert(X_COPPICE_SCOPES, principal.vouched.scopes.clone());
}

async fn read_body(body: Inbound) -> Result<Bytes, GatewayError> {
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(GatewayError::BodyTooLarge);
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(cause) if cause.is::<http_body_util::LengthLimitError>() => {
            Err(GatewayError::BodyTooLarge)
        }
        Err(_) => Err(BROKEN_BODY),
    }
}
