//! Passes the sandbox API's answers on, and changes the few that must be: real tokens stay inside, and the marker is
//! the gateway's own affair.
//!
//! An answer that should carry a sandbox and cannot be read is not passed on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Extensions, HeaderValue, Method, Response, response};
use http_body_util::{BodyExt, Limited};

use super::super::body::Reply;
use super::super::edit::{self, MAX_ANSWER};
use super::super::exchange::Bounds;
use super::super::pool::Answer;
use super::super::{headers, lookup};
use super::Ask;
use super::start::bind;
use super::through::About;
use crate::caller::Caller;
use crate::error::GatewayError;
use crate::ownership::Keeping;
use crate::principal::{Principal, TenantId};
use crate::quota::Reservation;
use crate::route::{BodyEdit, Tokens};
use crate::sandbox::{Marker, Sandbox};
use crate::target::SandboxId;

/// How long the first create waits for a look at what it made.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// What has to be changed in an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AnswerEdit {
    /// Nothing.
    None,
    /// It is one sandbox.
    Sandbox,
    /// It is an array of forks.
    Forks,
    /// The caller gets only a part of it.
    Listing,
}

impl Ask<'_> {
    /// What the gateway has to change in an answer, if anything.
    pub(super) fn answer_edit(&self) -> AnswerEdit {
        let (Some(route), false) =
            (self.permit.route(), matches!(self.permit.caller(), Caller::Open))
        else {
            return AnswerEdit::None;
        };
        match route.tokens {
            Tokens::One | Tokens::OneUnlessReadOnly => AnswerEdit::Sandbox,
            Tokens::Each => AnswerEdit::Forks,
            Tokens::None if self.listed().is_some() => AnswerEdit::Listing,
            Tokens::None => AnswerEdit::None,
        }
    }

    /// Whether the answer is to be changed.
    pub(super) fn changes(&self, answer: &Response<Answer>, method: &Method) -> bool {
        self.answer_edit() != AnswerEdit::None
            && *method != Method::HEAD
            && answer.status().is_success()
    }

    /// Passes the answer on as it streams.
    pub(super) fn pass(&self, answer: Response<Answer>) -> Response<Reply> {
        let (mut parts, body) = answer.into_parts();
        headers::strip_response(&mut parts.headers);
        let principal = self.permit.caller().principal();
        Response::from_parts(parts, Reply::upstream(body, principal.cloned()))
    }

    /// Passes the answer on changed.
    pub(super) async fn change(
        &self,
        answer: Response<Answer>,
        bounds: &Bounds,
        held: Option<Reservation>,
    ) -> Result<Response<Reply>, GatewayError> {
        let (mut parts, body) = answer.into_parts();
        headers::strip_response(&mut parts.headers);
        let unknown_outcome = bounds.creates;
        let changing = self.changed(self.answer_edit(), &mut parts, body, held);
        let late = GatewayError::UpstreamTimeout { unknown_outcome };
        let changed = bounds
            .let_read(bounds.head, late, changing)
            .await?
            .ok_or_else(|| unreadable(bounds))?;
        Ok(changed_answer(parts, changed))
    }

    async fn changed(
        &self,
        edit: AnswerEdit,
        parts: &mut response::Parts,
        body: Answer,
        held: Option<Reservation>,
    ) -> Option<Vec<u8>> {
        let is_plain = !parts.headers.contains_key(CONTENT_ENCODING);
        let principal = self.permit.caller().principal().filter(|_| is_plain)?;
        let json = read(body).await?;
        match edit {
            AnswerEdit::Sandbox => {
                self.exchange_one(&json, principal, held, &mut parts.extensions).await
            }
            AnswerEdit::Forks => self.exchange_each(&json, principal, held).await,
            AnswerEdit::Listing | AnswerEdit::None => None,
        }
    }

    async fn exchange_one(
        &self,
        json: &[u8],
        principal: &Arc<Principal>,
        held: Option<Reservation>,
        extensions: &mut Extensions,
    ) -> Option<Vec<u8>> {
        let inner = &self.forwarder.inner;
        let told = match self.permit.route().map(|route| route.tokens) {
            Some(Tokens::OneUnlessReadOnly) => lookup::record(json)?,
            _ => lookup::started(json)?,
        };
        let created = self.permit.route().is_some_and(|route| route.body == BodyEdit::Create);
        let sandbox = self.with_owner(told, created.then_some(&principal.tenant));
        bind(held, std::slice::from_ref(&sandbox.id)).await;
        let token = self.token(principal, &sandbox.id);
        let edited = edit::answer(json, token.as_deref(), self.shows_marker())?;
        let id = sandbox.id.clone();
        extensions.insert(About(id.clone()));
        inner.directory.learn(sandbox, self.asked);
        if created {
            Box::pin(self.put_on_record(&id, &principal.tenant)).await;
        }
        Some(edited)
    }

    async fn exchange_each(
        &self,
        json: &[u8],
        principal: &Arc<Principal>,
        held: Option<Reservation>,
    ) -> Option<Vec<u8>> {
        let inner = &self.forwarder.inner;
        let owner = self.heir_of_named().await;
        let (mut seen, mut all_read) = (Vec::new(), true);
        let mint = |text: &str| {
            let told = lookup::started(text.as_bytes());
            all_read &= told.is_some();
            let sandbox = self.with_owner(told?, owner.as_ref());
            let token = self.token(principal, &sandbox.id);
            seen.push(sandbox);
            token
        };
        let edited = edit::fork_answer(json, mint, self.shows_marker())?;
        let ids: Vec<SandboxId> = seen.iter().map(|sandbox| sandbox.id.clone()).collect();
        // Of what cannot be read, a listing tells.
        bind(held.filter(|_| all_read), &ids).await;
        for sandbox in seen {
            // Always: an upstream may keep metadata and yet not give a fork its parent's.
            if let Some(owner) = &owner {
                inner.directory.ownership().bind(&sandbox.id, owner, false);
            }
            inner.directory.learn(sandbox, self.asked);
        }
        Some(edited)
    }

    /// The caller's token for a sandbox of which the upstream told just now.
    fn token(&self, principal: &Arc<Principal>, id: &SandboxId) -> Option<String> {
        let inner = &self.forwarder.inner;
        let token = inner.authenticator.mint(principal, id)?;
        inner.directory.note_holder(id, principal, self.asked);
        Some(token)
    }

    /// Whose the sandbox in an answer is: what its marker says; else the maker's, where the request made it; else whose
    /// it was shown to be on the way in. Otherwise the upstream will be asked when it matters.
    fn with_owner(&self, mut sandbox: Sandbox, maker: Option<&TenantId>) -> Sandbox {
        if sandbox.marker == Marker::Untold && sandbox.tenant.is_none() {
            let named = self.control.sandbox.as_ref().filter(|known| known.id == sandbox.id);
            sandbox.tenant =
                maker.cloned().or_else(|| named.and_then(|known| known.tenant.clone()));
        }
        sandbox
    }

    /// Remembers who made a sandbox, until it is certain that the upstream does. The first one is looked at for that;
    /// where nothing comes of it, whatever the upstream tells later will do.
    async fn put_on_record(&self, id: &SandboxId, tenant: &TenantId) {
        let directory = &self.forwarder.inner.directory;
        let ownership = directory.ownership();
        if ownership.keeping() == Keeping::Keeps {
            return;
        }
        ownership.bind(id, tenant, true);
        if ownership.wants_a_look() {
            let asked = directory.now();
            let asker = self.forwarder.asker();
            if let Ok(Ok(Some(found))) = tokio::time::timeout(FIRST_LOOK, asker.ask(id)).await {
                directory.learn(found, asked);
            }
        }
    }

    pub(super) fn shows_marker(&self) -> bool {
        let shown = self.forwarder.inner.upstreams.marking.shown;
        shown.to(self.permit.caller())
    }
}

/// An answer that was changed, under the head that came with it.
pub(super) fn changed_answer(mut parts: response::Parts, changed: Vec<u8>) -> Response<Reply> {
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(changed.len()));
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Reply::whole(Bytes::from(changed)))
}

/// Why an answer is not passed on.
pub(super) fn unreadable(bounds: &Bounds) -> GatewayError {
    let request_id = bounds.request_id();
    tracing::warn!(request_id, "an answer that the gateway has to change could not be read");
    GatewayError::UpstreamBadAnswer { unknown_outcome: bounds.creates }
}

/// All of an answer, if it is not over [`MAX_ANSWER`].
pub(super) async fn read(body: Answer) -> Option<Bytes> {
    Limited::new(body, MAX_ANSWER).collect().await.ok().map(http_body_util::Collected::to_bytes)
}
