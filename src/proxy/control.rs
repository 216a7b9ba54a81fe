//! Forwards permitted requests to the sandbox API.
//!
//! Bodies stream, but for the few that the gateway changes ([`edited`]). The upstream is told who calls in headers that
//! no client can forge, and shown the gateway's own key instead of the client's.

mod answer;
mod edited;
mod listing;
mod repeat;
mod start;
mod through;

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use tokio_util::sync::CancellationToken;

use self::answer::AnswerEdit;
use self::edited::CODED_BODY;
use self::start::Owned;
use super::body::{Outgoing, Reply};
use super::exchange::{Bounds, exchange};
use super::inbound::Inbound;
use super::tunnel::{Switch, refuse_stray_switch};
use super::{Forwarder, headers};
use crate::caller::Caller;
use crate::credential::X_API_KEY;
use crate::directory::Moment;
use crate::error::GatewayError;
use crate::permit::{Control, Permit};
use crate::principal::{Principal, TenantId};
use crate::request::{
    Origin, TRACEPARENT, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID,
    traceparent,
};
use crate::route::Effect;
use crate::sandbox::{Sandbox, State};

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

/// Tells the upstream who calls.
fn vouch(head: &mut HeaderMap, principal: &Principal) {
    head.insert(X_COPPICE_TENANT, principal.vouched.tenant.clone());
    head.insert(X_COPPICE_PRINCIPAL, principal.vouched.name.clone());
    head.insert(X_COPPICE_SCOPES, principal.vouched.scopes.clone());
}
