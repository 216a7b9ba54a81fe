//! Requests whose bodies the gateway reads and changes before it sends them, and sends again where the upstream turns out
//! to speak another generation of the API.
//!
//! How a body is changed is the business of [`edit`].

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Response};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};

use super::super::body::Outgoing;
use super::super::edit::{self, Creator, Generation, MAX_BODY};
use super::super::exchange::{BROKEN_BODY, Bounds, exchange};
use super::super::inbound::Inbound;
use super::super::pool::Answer;
use super::super::v1::{self, Twin};
use super::{Ask, start};
use crate::error::GatewayError;
use crate::http1::Fields;
use crate::principal::{Scope, TenantId};
use crate::quota::Reservation;
use crate::route::BodyEdit;

/// Longest wait for all of a request body that is read to be changed.
const SLOWEST_BODY: Duration = Duration::from_secs(60);

/// What has to be done with a request body.
#[derive(Clone, Copy)]
pub(super) struct Editing {
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

/// A body that cannot be read, and therefore not be changed.
pub(super) const CODED_BODY: GatewayError =
    GatewayError::BadRequest("content_coding", "This body must be sent without a content coding");

impl Ask<'_> {
    /// What the gateway has to do with the request body, if anything.
    pub(super) fn body_edit(&self, method: &Method) -> Option<Editing> {
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

    pub(super) async fn ask_with_edited_body(
        &self,
        head: &mut Parts,
        fields: &Fields<'_>,
        path: PathAndQuery,
        body: Inbound,
        editing: Editing,
        bounds: &Bounds,
    ) -> Result<(Response<Answer>, Option<Reservation>), GatewayError> {
        let late = GatewayError::BodyTimeout;
        let sent = bounds.let_read(Some(SLOWEST_BODY), late, read_body(body)).await??;
        let tenant = self.maker(editing.payload).await;
        let as_sent = self.edited(&sent, editing, tenant.as_ref(), Generation::AsSent)?;
        let held = self.reserve(&head.headers, &sent).await?;
        let answer =
            self.ask_in_turn(head, fields, path, as_sent, &sent, editing, tenant, bounds).await;
        start::learn(held, answer).await
    }

    /// Asks in the generation of the API that the upstream speaks, and finds out which that is.
    #[expect(clippy::too_many_arguments, reason = "one request, in the pieces that it is sent in")]
    async fn ask_in_turn(
        &self,
        head: &mut Parts,
        fields: &Fields<'_>,
        path: PathAndQuery,
        as_sent: Vec<u8>,
        sent: &[u8],
        editing: Editing,
        tenant: Option<TenantId>,
        bounds: &Bounds,
    ) -> Result<Response<Answer>, GatewayError> {
        let dialects = &self.forwarder.inner.upstreams.dialects;
        let Some(twin) = editing.twin else {
            return self.send(head, fields, path, as_sent, bounds).await;
        };
        if !dialects.only_v1() {
            let answer =
                self.send(&mut head.clone(), fields, path.clone(), as_sent, bounds).await?;
            if !dialects.is_undecided() || !dialects.decide(twin, answer.status()) {
                return Ok(answer);
            }
        }
        let down = Bytes::copy_from_slice(v1::path(path.as_str()).as_bytes());
        let down = PathAndQuery::from_maybe_shared(down).map_err(|_| GatewayError::Internal)?;
        let body = self.edited(sent, editing, tenant.as_ref(), Generation::MappedDown)?;
        let answer = self.send(head, fields, down, body, bounds).await?;
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

    async fn send(
        &self,
        head: &mut Parts,
        fields: &Fields<'_>,
        path: PathAndQuery,
        body: Vec<u8>,
        bounds: &Bounds,
    ) -> Result<Response<Answer>, GatewayError> {
        let inner = &self.forwarder.inner;
        let control = &inner.upstreams.control;
        head.uri = control.uri(path)?;
        head.headers.remove(http::header::TRAILER);
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        if !body.is_empty() {
            let json = HeaderValue::from_static("application/json");
            head.headers.entry(CONTENT_TYPE).or_insert(json);
        }
        let body = Outgoing::whole(Bytes::from(body));
        exchange(&inner.pool, &control.address, head, fields, body, bounds).await
    }
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
