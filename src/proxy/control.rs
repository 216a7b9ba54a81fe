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
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
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
use crate::http1::{Fields, Value};
use crate::permit::{Control, Permit};
use crate::principal::{TenantId, Vouched};
use crate::request::{
    Conn, Origin, TRACEPARENT, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID,
    traceparent,
};
use crate::route::Effect;
use crate::sandbox::{Sandbox, State};

/// What only the gateway may say, in the order of [`Ask::fields`].
static VOUCHED: [HeaderName; 9] = [
    X_REQUEST_ID,
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    TRACEPARENT,
    HeaderName::from_static("x-coppice-tenant"),
    HeaderName::from_static("x-coppice-principal"),
    HeaderName::from_static("x-coppice-scopes"),
    X_API_KEY,
];

impl Ask<'_> {
    /// Everything but a plain exchange is rare and large, and therefore kept apart from what every request has to carry.
    async fn forward(self, call: Call<'_>) -> Result<Response<Reply>, GatewayError> {
        let Call { head, body, request_id, conn, switch } = call;
        let (ask, permit, inner) = (self, self.permit, &self.forwarder.inner);
        let editing = ask.body_edit(&head.method);
        let coded = editing.is_some() && head.headers.contains_key(CONTENT_ENCODING);
        let mut bounds = ask.bounds(&head.method, request_id.clone());
        let clients_key = matches!(permit.caller(), Caller::Open)
            .then(|| head.headers.get(X_API_KEY).cloned())
            .flatten();
        let origin = Origin::of(conn, head);
        let is_traced = ask.strip(&mut head.headers);
        let started = if is_traced { None } else { traceparent(request_id) };
        let vouched = permit.caller().principal().map(|principal| principal.vouched());
        let fields = ask.fields(
            request_id,
            &origin,
            started.as_ref(),
            vouched.as_ref(),
            clients_key.as_ref(),
        );
        head.version = Version::HTTP_11;
        let mut path =
            head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));

        let ended = if ask.may_end() { Box::pin(ask.ended()).await } else { None };
        let lister = match ask.listed() {
            Some(listed) => Some(Box::new(Box::pin(ask.lister(listed, &path)).await?)),
            None => None,
        };
        if let Some(lister) = &lister {
            match lister.path()? {
                Some(narrowed) => path = narrowed,
                None => return Ok(lister.nothing(&head.method)),
            }
        }
        let (answer, held) = if let Some(editing) = editing {
            if coded {
                return Err(CODED_BODY);
            }
            Box::pin(ask.ask_with_edited_body(head, &fields, path, body, editing, &bounds)).await?
        } else {
            let held = match ask.may_start() {
                true => Box::pin(ask.reserve(&head.headers, &[])).await?,
                false => None,
            };
            if let Some(switch) = &switch {
                switch.put_into(&mut head.headers);
            }
            let (body, sent) = Outgoing::stream(body.of(bounds.principal.clone()));
            // A stranger's time runs from the start: nobody unknown may hold the upstream by sending slowly.
            bounds.sent = sent.filter(|_| !matches!(permit.caller(), Caller::Anonymous));
            let control = &inner.upstreams.control;
            head.uri = control.uri(path)?;
            let to = &control.address;
            let answer = exchange(&inner.pool, to, head, &fields, body, &bounds).await;
            match held {
                Some(held) => Box::pin(start::learn(Some(held), answer)).await?,
                None => (answer?, None),
            }
        };

        if let Some(switch) = switch.filter(|switch| switch.is_made_by(&answer)) {
            let principal = permit.caller().principal().cloned();
            return Ok(inner.tunnels.agree(switch, answer, principal));
        }
        refuse_stray_switch(answer.status(), &bounds)?;
        let held = match held {
            Some(held) => Box::pin(start::unless_refused(Some(held), answer.status())).await,
            None => None,
        };
        if ask.may_end() || ask.pauses() {
            Box::pin(ask.take_note(answer.status(), ended)).await;
        }
        match lister {
            Some(lister) => Box::pin(lister.pass(answer, &head.method, &bounds)).await,
            None if ask.changes(&answer, &head.method) => {
                Box::pin(ask.change(answer, &bounds, held)).await
            }
            None => Ok(ask.pass(answer)),
        }
    }
}

/// A request as it came.
struct Call<'a> {
    head: &'a mut Parts,
    body: Inbound,
    request_id: &'a HeaderValue,
    conn: &'a Conn,
    switch: Option<Switch>,
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
    /// Strips what is not for the upstream, and what only the gateway may say. Tells whether what is left belongs to a
    /// trace.
    fn strip(&self, head: &mut HeaderMap) -> bool {
        let seen = headers::strip_request(head, &[]);
        if seen.cookies {
            headers::join_cookies(head);
        }
        if seen.authorization && !self.control.foreign_authorization {
            head.remove(AUTHORIZATION);
        }
        if self.answer_edit() != AnswerEdit::None {
            for unedited in [ACCEPT_ENCODING, RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE] {
                head.remove(unedited);
            }
        }
        if let Some(principal) = self.permit.caller().principal().filter(|_| self.creates()) {
            repeat::set_apart(head, &principal.tenant);
        }
        seen.trace && head.contains_key(TRACEPARENT)
    }

    /// Says what only the gateway may say.
    fn fields<'f>(
        &'f self,
        request_id: &'f HeaderValue,
        origin: &'f Origin,
        started: Option<&'f HeaderValue>,
        vouched: Option<&'f Vouched<'_>>,
        clients_key: Option<&'f HeaderValue>,
    ) -> Fields<'f> {
        let upstreams = &self.forwarder.inner.upstreams;
        let key = match self.permit.caller() {
            Caller::Anonymous => None,
            Caller::Open | Caller::Key(..) | Caller::Token(..) | Caller::Signature(..) => {
                upstreams.key.as_ref().or(clients_key)
            }
        };
        let values = [
            Some(request_id.into()),
            Some((&origin.forwarded_for).into()),
            Some((&origin.proto).into()),
            origin.host.as_ref().map(Value::from),
            started.map(Value::from),
            vouched.and_then(|vouched| Value::text(vouched.tenant)),
            vouched.and_then(|vouched| Value::text(&vouched.name)),
            vouched.and_then(|vouched| Value::text(vouched.scopes)),
            key.map(Value::from),
        ];
        Fields { host: Some((&upstreams.control.host).into()), names: &VOUCHED, values }
    }

    fn bounds(&self, method: &Method, request_id: HeaderValue) -> Bounds {
        let upstreams = &self.forwarder.inner.upstreams;
        let reads = matches!(*method, Method::GET | Method::HEAD);
        Bounds {
            head: Some(if reads {
                upstreams.timeouts.response()
            } else {
                upstreams.timeouts.create()
            }),
            sent: None,
            principal: self.permit.caller().principal().cloned(),
            creates: self.creates(),
            request_id: Some(request_id),
        }
    }

    /// Whether the request may end a sandbox.
    fn may_end(&self) -> bool {
        self.permit.route().is_some_and(|route| route.effect == Effect::End)
    }

    /// Whether the request is to put a sandbox to sleep.
    fn pauses(&self) -> bool {
        self.permit.route().is_some_and(|route| route.pattern.ends_with("/pause"))
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
                directory.forget(id, status.is_success());
            }
            self.note_end(ended).await;
        } else if self.pauses() && status.is_success() {
            let known = self.control.sandbox.as_ref().map(|sandbox| &sandbox.id);
            for id in known.into_iter().chain(&self.control.named) {
                directory.turned(id, State::Paused);
            }
        }
    }
}
