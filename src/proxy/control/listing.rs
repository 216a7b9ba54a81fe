//! Listings for callers who may see only their own tenant's part: asks for that, and passes nothing else on.
//!
//! Whose an entry is, the marker says; where there is none, the sandbox that the entry is about, which the upstream is
//! asked for if need be, or else the gateway's own record. What an upstream says about the whole list is believed only
//! if it was seen to filter.

use std::collections::HashSet;
use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::super::body::Reply;
use super::super::exchange::Bounds;
use super::super::list::page::{Kept, Page};
use super::super::list::query::{self, NOBODYS, Narrowed};
use super::super::list::{MAX_NAMED, Proof, head, metrics};
use super::super::pool::Answer;
use super::super::{headers, lookup};
use super::Ask;
use super::answer::{changed_answer, read, unreadable};
use crate::directory::Unavailable;
use crate::error::GatewayError;
use crate::principal::{Principal, TenantId};
use crate::route::Listing;
use crate::target::SandboxId;

/// A sandbox that no upstream has.
const NO_SANDBOX: &str = "i0000000000000000000";

/// What is listed, and for whom.
#[derive(Clone, Copy)]
pub(super) struct Listed<'a> {
    listing: Listing,
    principal: &'a Arc<Principal>,
    /// Whether that is everything, but for the markers.
    all: bool,
}

/// One listing on its way.
pub(super) struct Lister<'a> {
    ask: Ask<'a>,
    listed: Listed<'a>,
    /// What the client asked.
    asked: PathAndQuery,
    question: Question,
}

/// What the upstream is asked.
enum Question {
    /// Nothing: whatever it has is not the caller's.
    Nothing,
    /// This.
    Query {
        query: Option<String>,
        /// See [`Narrowed::To`].
        is_sure: bool,
    },
}

impl<'a> Ask<'a> {
    /// What is listed, and for whom, if it must be changed.
    pub(super) fn listed(self) -> Option<Listed<'a>> {
        let caller = self.permit.caller();
        let (listing, principal) = (self.permit.route()?.listing?, caller.principal()?);
        let all = self.permit.sees_all_tenants();
        let passes = all && (listing == Listing::Metrics || self.shows_marker());
        (!passes).then_some(Listed { listing, principal, all })
    }

    /// Takes a listing in hand.
    ///
    /// # Errors
    /// The query can be read in two ways.
    pub(super) async fn lister(
        self,
        listed: Listed<'a>,
        asked: &PathAndQuery,
    ) -> Result<Lister<'a>, GatewayError> {
        let selected = self.control.selected.as_deref();
        let tenant = &listed.principal.tenant;
        let question = match (listed.listing, selected) {
            _ if listed.all => {
                Question::Query { query: asked.query().map(str::to_owned), is_sure: false }
            }
            (Listing::Sandboxes, _) => {
                let filter = self.hides_none_of(tenant).await.then_some(tenant);
                match query::narrow(asked.query(), filter)? {
                    Narrowed::To { query, is_sure } => {
                        Question::Query { query: Some(query).filter(|q| !q.is_empty()), is_sure }
                    }
                    Narrowed::ToNothing => Question::Nothing,
                }
            }
            (_, Some([])) => Question::Nothing,
            (_, Some(own)) => {
                let name = listed.listing.names_sandboxes_by().unwrap_or_default();
                let ids = own.iter().map(|sandbox| &sandbox.id);
                Question::Query {
                    query: Some(query::naming(asked.query(), name, ids)?),
                    is_sure: true,
                }
            }
            (_, None) => {
                Question::Query { query: asked.query().map(str::to_owned), is_sure: false }
            }
        };
        Ok(Lister { ask: self, listed, asked: asked.clone(), question })
    }

    /// Whether an upstream that filters by a tenant's marker would list all its sandboxes.
    async fn hides_none_of(&self, tenant: &TenantId) -> bool {
        let asker = &self.forwarder.asker();
        let ask = |id: SandboxId| async move { asker.ask(&id).await };
        self.forwarder.inner.directory.are_marked(tenant, ask).await
    }
}

impl Lister<'_> {
    /// What the upstream is asked; `None` if nothing.
    ///
    /// # Errors
    /// [`GatewayError::Internal`], which cannot happen for a query that was parsed before.
    pub(super) fn path(&self) -> Result<Option<PathAndQuery>, GatewayError> {
        let Question::Query { query, .. } = &self.question else { return Ok(None) };
        let Some(query) = query else { return Ok(Some(self.asked.clone())) };
        let path = PathAndQuery::from_maybe_shared(bytes::Bytes::from(self.with_query(query)));
        path.map(Some).map_err(|_| GatewayError::Internal)
    }

    fn with_query(&self, query: &str) -> String {
        format!("{}?{query}", self.asked.path())
    }

    /// The answer that lists nothing.
    pub(super) fn nothing(&self, method: &Method) -> Response<Reply> {
        let text = match self.listed.listing {
            Listing::Metrics => r#"{"sandboxes":{}}"#,
            Listing::Sandboxes | Listing::Events | Listing::Snapshots => "[]",
        };
        let (mut parts, ()) = Response::new(()).into_parts();
        if self.asked.path().starts_with("/v2/") {
            parts.headers.insert(head::X_TOTAL_RUNNING, HeaderValue::from(0));
        }
        let answer = changed_answer(parts, text.into());
        if *method == Method::HEAD {
            answer.map(|_| Reply::whole(bytes::Bytes::new()))
        } else {
            answer
        }
    }

    /// Passes on what is the caller's.
    ///
    /// # Errors
    /// The answer cannot be read, or not in time, or the upstream cannot be asked whose a sandbox is.
    pub(super) async fn pass(
        &self,
        answer: Response<Answer>,
        method: &Method,
        bounds: &Bounds,
    ) -> Result<Response<Reply>, GatewayError> {
        let (mut parts, body) = answer.into_parts();
        headers::strip_response(&mut parts.headers);
        let counted = if self.listed.all { None } else { head::hush(&mut parts.headers) };
        if *method == Method::HEAD || !parts.status.is_success() {
            if *method == Method::HEAD {
                parts.headers.remove(CONTENT_LENGTH);
            }
            let body = Reply::upstream(body, Some(Arc::clone(self.listed.principal)));
            return Ok(Response::from_parts(parts, body));
        }
        if parts.headers.contains_key(CONTENT_ENCODING) || parts.status == StatusCode::NO_CONTENT {
            return Err(unreadable(bounds));
        }
        let late = GatewayError::UpstreamTimeout { unknown_outcome: false };
        let filtering = async {
            let json = read(body).await.ok_or_else(|| unreadable(bounds))?;
            match self.listed.listing {
                _ if self.listed.all => {
                    let page = Page::read(&json, self.listed.listing);
                    page.map(|page| page.unmark()).ok_or_else(|| unreadable(bounds))
                }
                Listing::Metrics => self.metrics(&json, bounds).await,
                Listing::Sandboxes | Listing::Events | Listing::Snapshots => {
                    self.entries(&json, counted, &mut parts.headers, bounds).await
                }
            }
        };
        let kept = bounds.let_read(bounds.head, late, filtering).await??;
        Ok(changed_answer(parts, kept))
    }

    async fn metrics(&self, json: &[u8], bounds: &Bounds) -> Result<Vec<u8>, GatewayError> {
        let own = match self.selected() {
            Some(own) => own,
            None => self.own(metrics::told_of(json).ok_or_else(|| unreadable(bounds))?).await?,
        };
        metrics::keep(json, &own).ok_or_else(|| unreadable(bounds))
    }

    async fn entries(
        &self,
        json: &[u8],
        counted: Option<HeaderValue>,
        parts: &mut HeaderMap,
        bounds: &Bounds,
    ) -> Result<Vec<u8>, GatewayError> {
        let listing = self.listed.listing;
        let page = Page::read(json, listing).ok_or_else(|| unreadable(bounds))?;
        let tenant = &self.listed.principal.tenant;
        let directory = &self.ask.forwarder.inner.directory;
        for id in page.marked(tenant) {
            directory.learn_owner(id, tenant, self.ask.asked);
            // An event shows what was asked for once, not what the upstream keeps.
            if listing == Listing::Sandboxes {
                directory.ownership().saw_marker(id);
            }
        }
        let selected = self.selected();
        let narrowed = selected.is_some();
        let own = match selected {
            Some(own) => own,
            None if listing == Listing::Sandboxes => {
                let on_record =
                    |id: &&SandboxId| directory.ownership().owner(id).as_ref() == Some(tenant);
                page.unmarked().filter(on_record).cloned().collect()
            }
            None => {
                // What one entry says of its sandbox holds for the others.
                let mut own: HashSet<SandboxId> = page.marked(tenant).cloned().collect();
                let mut unknown = page.unknown();
                unknown.retain(|id| !own.contains(id));
                own.extend(self.own(unknown).await?);
                own
            }
        };
        let unsaid = narrowed && page.leaves_unsaid() && self.is_filtered_by_sandbox().await;
        let kept = page.keep(tenant, &own, unsaid, self.ask.shows_marker());
        if let Some(counted) = counted
            && let Some(total) = self.total(&kept, page.is_empty(), counted, parts).await
        {
            parts.insert(head::X_TOTAL_RUNNING, total);
        }
        Ok(kept.json)
    }

    /// The caller's own sandboxes that the question named, if it named any.
    fn selected(&self) -> Option<HashSet<SandboxId>> {
        let selected = self.ask.control.selected.as_ref()?;
        Some(selected.iter().map(|sandbox| sandbox.id.clone()).collect())
    }

    /// The caller's own among these sandboxes.
    async fn own(&self, mut ids: Vec<SandboxId>) -> Result<HashSet<SandboxId>, GatewayError> {
        if ids.len() > MAX_NAMED {
            tracing::warn!(
                sandboxes = ids.len(),
                "a listing is about more sandboxes than are asked for"
            );
            ids.truncate(MAX_NAMED);
        }
        let inner = &self.ask.forwarder.inner;
        let found = lookup::records(&inner.directory, &self.ask.forwarder.asker(), &ids)
            .await
            .map_err(|Unavailable| GatewayError::OwnershipUnknown)?;
        let tenant = Some(&self.listed.principal.tenant);
        let mut own: HashSet<SandboxId> = found
            .iter()
            .filter(|sandbox| sandbox.tenant.as_ref() == tenant)
            .map(|sandbox| sandbox.id.clone())
            .collect();
        ids.retain(|id| found.binary_search_by(|sandbox| sandbox.id.cmp(id)).is_err());
        let ownership = inner.directory.ownership();
        own.extend(ids.into_iter().filter(|id| ownership.last_owner(id).as_ref() == tenant));
        Ok(own)
    }

    /// How many of the caller's sandboxes run, on all pages, if that is sure.
    async fn total(
        &self,
        kept: &Kept,
        was_empty: bool,
        counted: HeaderValue,
        head: &HeaderMap,
    ) -> Option<HeaderValue> {
        let proof = &self.ask.forwarder.inner.proofs.metadata;
        let is_sure = matches!(self.question, Question::Query { is_sure: true, .. });
        if is_sure && kept.left_out > 0 {
            proof.note(false);
        }
        if query::is_first_page(self.asked.query()) && !head::goes_on(head) {
            return Some(HeaderValue::from(kept.running));
        }
        if !is_sure || was_empty || kept.left_out > 0 {
            return None;
        }
        self.holds(proof, NOBODYS).await.then_some(counted)
    }

    /// Whether the upstream lists only snapshots of the sandbox that was asked for.
    async fn is_filtered_by_sandbox(&self) -> bool {
        let name = self.listed.listing.names_sandboxes_by().unwrap_or_default();
        let nobodys = format!("{name}={NO_SANDBOX}&limit=1");
        self.holds(&self.ask.forwarder.inner.proofs.sandbox, &nobodys).await
    }

    /// Whether a filter was seen to work. If it was not yet, and there is something to be filtered out, the upstream is
    /// asked for what cannot be there.
    async fn holds(&self, proof: &Proof, nobodys: &str) -> bool {
        if !proof.holds() {
            let asker = self.ask.forwarder.asker();
            let works = asker.lists_nothing(self.with_query(nobodys)).await;
            proof.note(works.unwrap_or(false));
        }
        proof.holds()
    }
}
