//! What is known of one sandbox: whose it is, how it is, and the tokens its upstream wants.
//!
//! A record is made from an upstream's answer and never changes; the directory replaces it whole.

use http::HeaderValue;

use crate::clock::UnixTime;
use crate::principal::TenantId;
use crate::target::SandboxId;

/// The metadata key that names the tenant a sandbox belongs to. Only the gateway writes it.
pub const MARKER: &str = "coppice_tenant_id";

/// One sandbox, as the upstream told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The id as the upstream spells it.
    pub id: SandboxId,
    /// Whose it is: whom the marker names, or the gateway's own record where there is none. Else it belongs to nobody.
    pub tenant: Option<TenantId>,
    /// What the answer said of the marker.
    pub marker: Marker,
    /// Whether it runs.
    pub state: State,
    /// When it ends or pauses by itself, unless somebody extends its life.
    pub ends: Option<UnixTime>,
    /// envd's own access token; marked sensitive, so that it prints as such.
    pub envd_token: Option<HeaderValue>,
    /// The upstream's own traffic token, likewise.
    pub traffic_token: Option<HeaderValue>,
}

/// What an answer said of a sandbox's marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// Nothing: answers of its kind do not show metadata.
    Untold,
    /// It has none.
    Absent,
    /// It has one, whether or not that names a tenant.
    Present,
}

/// Whether a sandbox runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Running,
    /// It is paused, and would wake when called.
    Paused,
    /// Nobody said.
    Unknown,
}

/// A token as a header value that does not print. `None` when it could not be sent anyway.
#[must_use]
pub fn token_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok().filter(|value| !value.is_empty())?;
    value.set_sensitive(true);
    Some(value)
}
