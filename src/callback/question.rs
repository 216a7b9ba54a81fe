//! What the service is told of one request.

use std::fmt;
use std::net::IpAddr;

use http::{HeaderValue, Method};

use crate::credential::Credential;

/// One request, as far as the service is told of it. Borrows from the head.
#[derive(Clone, Copy)]
pub struct Question<'r> {
    /// The one credential that is judged; sent as it came.
    pub credential: Credential<'r>,
    /// `X-Request-Method`.
    pub method: &'r Method,
    /// `X-Request-Path`: the path as sent, without its query.
    pub path: &'r str,
    /// `X-Request-Host`: `Host`, or `:authority`, as sent.
    pub host: Option<&'r str>,
    /// `X-Request-Id`: for the service's log only, and therefore no part of what an answer is remembered under.
    pub request_id: &'r HeaderValue,
    /// `X-Request-Ip`: the client's address, behind trusted proxies the one that they report.
    pub client: Option<IpAddr>,
}

impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Question({:?} {} {})", self.credential, self.method, self.path)
    }
}
