//! Which events somebody may see, and which of them are asked for.
//!
//! Strict: a parameter that is unknown, repeated or unreadable is refused, so that a misspelt filter never shows more
//! than was meant.

use crate::caller::Caller;
use crate::clock::UnixTime;
use crate::error::GatewayError;
use crate::form::{decode, pairs};
use crate::principal::TenantId;
use crate::record::Outcome;

use super::Event;

/// What a query asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Which events.
    pub filter: Filter,
    /// How many of them, in which order.
    pub page: Page,
}

/// Which events are asked for; what is not given does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// Whose path starts like this.
    pub path_prefix: Option<String>,
    /// Of the key with this id.
    pub key: Option<String>,
    /// Of the request with this id.
    pub request_id: Option<String>,
    /// Not before this second.
    pub since: Option<UnixTime>,
    /// Before this second.
    pub until: Option<UnixTime>,
}

/// How many events, in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most so many, from 1 to [`Page::MAX`].
    pub limit: usize,
    /// Without the first so many.
    pub offset: usize,
    /// The oldest first; else the newest.
    pub oldest_first: bool,
}

impl Page {
    /// Most events of a page.
    pub const MAX: usize = 500;
}

impl Default for Page {
    fn default() -> Self {
        Self { limit: 100, offset: 0, oldest_first: false }
    }
}

const fn bad(message: &'static str) -> GatewayError {
    GatewayError::BadRequest("bad_query", message)
}

const UNKNOWN: GatewayError =
    bad("Unknown parameter: there are limit, offset, orderAsc, tenantID (or tenant), outcome, \
     pathPrefix, keyID, requestID, since and until");
const UNKNOWN_IN_STREAM: GatewayError =
    bad("Unknown parameter: a stream takes tenantID (or tenant), outcome, \
     pathPrefix, keyID and requestID");
const REPEATED: GatewayError = bad("A parameter may be there once");
const UNREADABLE: GatewayError = bad("A parameter is empty or not well encoded");
const TENANT: GatewayError = bad("tenantID is no tenant's name");
const OUTCOME: GatewayError = bad("outcome must be allowed, denied or error");
const LIMIT: GatewayError = bad("limit must be a whole number from 1 to 500");
const OFFSET: GatewayError = bad("offset must be a whole number");
const ORDER: GatewayError = bad("orderAsc must be true or false");
const DATE: GatewayError =
    bad("since and until must be RFC 3339 dates, as in 2026-11-22T05:12:45Z; \
     in a query the + of an offset is written %2B");

impl Query {
    /// Reads the query of a page.
    ///
    /// # Errors
    /// 400 for a parameter that is unknown, repeated or unreadable.
    pub fn of_page(query: &str) -> Result<Self, GatewayError> {
        read(query, true)
    }

    /// Reads the query of a stream, which has no pages and no end.
    ///
    /// # Errors
    /// As [`Query::of_page`].
    pub fn of_stream(query: &str) -> Result<Filter, GatewayError> {
        Ok(read(query, false)?.filter)
    }
}

fn read(query: &str, is_paged: bool) -> Result<Query, GatewayError> {
    let mut filter = Filter::default();
    let (mut limit, mut offset, mut oldest_first) = (None, None, None);
    for (name, value) in pairs(query) {
        let (name, value) = (decode(name).ok_or(UNREADABLE)?, decode(value).ok_or(UNREADABLE)?);
        if value.is_empty() {
            return Err(UNREADABLE);
        }
        match (&*name, is_paged) {
            ("tenantID" | "tenant", _) => once(&mut filter.tenant, tenant(&value)?),
            ("outcome", _) => once(&mut filter.outcome, outcome(&value)?),
            ("pathPrefix", _) => once(&mut filter.path_prefix, value.into_owned()),
            ("keyID", _) => once(&mut filter.key, value.into_owned()),
            ("requestID", _) => once(&mut filter.request_id, value.into_owned()),
            ("since", true) => once(&mut filter.since, date(&value)?),
            ("until", true) => once(&mut filter.until, end(&value)?),
            ("limit", true) => {
                let count = number(&value).filter(|count| (1..=Page::MAX).contains(count));
                once(&mut limit, count.ok_or(LIMIT)?)
            }
            ("offset", true) => once(&mut offset, number(&value).ok_or(OFFSET)?),
            ("orderAsc", true) => once(&mut oldest_first, value.parse().map_err(|_| ORDER)?),
            (_, true) => Err(UNKNOWN),
            (_, false) => Err(UNKNOWN_IN_STREAM),
        }?;
    }
    let default = Page::default();
    let page = Page {
        limit: limit.unwrap_or(default.limit),
        offset: offset.unwrap_or(default.offset),
        oldest_first: oldest_first.unwrap_or(default.oldest_first),
    };
    Ok(Query { filter, page })
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), GatewayError> {
    if slot.replace(value).is_some() { Err(REPEATED) } else { Ok(()) }
}

fn tenant(text: &str) -> Result<TenantId, GatewayError> {
    TenantId::parse(text).map_err(|_| TENANT)
}

fn outcome(text: &str) -> Result<Outcome, GatewayError> {
    let all = [Outcome::Allowed, Outcome::Denied, Outcome::Error];
    all.into_iter().find(|outcome| outcome.name() == text).ok_or(OUTCOME)
}

/// Digits only: no sign.
fn number(text: &str) -> Option<usize> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn date(text: &str) -> Result<UnixTime, GatewayError> {
    text.parse().map_err(|_| DATE)
}

/// Events are told by the second, so an end within a second has that second before it.
fn end(text: &str) -> Result<UnixTime, GatewayError> {
    let UnixTime(second) = date(text)?;
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let is_within = fraction.bytes().take_while(u8::is_ascii_digit).any(|digit| digit != b'0');
    Ok(UnixTime(second + u64::from(is_within)))
}

/// Whose events somebody may see, and which of these are asked for.
#[derive(Clone, Debug)]
pub struct View {
    /// The one tenant whose events may be seen; none: everybody's may, and nobody's.
    tenant: Option<TenantId>,
    filter: Filter,
}

impl View {
    /// What `caller` is shown of what is asked for: without the admin scope its own tenant's events. An anonymous
    /// caller has no tenant, and sees nothing.
    #[must_use]
    pub fn of(caller: &Caller, filter: Filter) -> Option<Self> {
        if caller.sees_all_tenants() {
            return Some(Self { tenant: None, filter });
        }
        caller.principal().map(|principal| Self { tenant: Some(principal.tenant.clone()), filter })
    }

    /// Whether the caller may see the event, asked for or not.
    pub(super) fn may_see(&self, event: &Event) -> bool {
        self.tenant.is_none() || self.tenant == event.tenant
    }

    /// Whether the caller may see the event and asked for it.
    pub(super) fn shows(&self, event: &Event) -> bool {
        let Filter { tenant, outcome, path_prefix, key, request_id, since, until } = &self.filter;
        self.may_see(event)
            && (tenant.is_none() || *tenant == event.tenant)
            && outcome.is_none_or(|outcome| outcome == event.outcome)
            && path_prefix.as_ref().is_none_or(|prefix| event.path.starts_with(prefix.as_str()))
            && key
                .as_ref()
                .is_none_or(|key| event.key.as_ref().is_some_and(|own| own.as_str() == key))
            && request_id.as_ref().is_none_or(|id| **id == *event.request_id)
            && since.is_none_or(|since| event.timestamp >= since)
            && until.is_none_or(|until| event.timestamp < until)
    }
}

#[cfg(test)]
mod tests;
