//! Forwards permitted requests into a sandbox.
//!
//! The one target that was authorised is the one that is dialled: `Host` and both routing headers are rebuilt from it. Nothing is buffered and
//! nothing is told of the caller, because the sandbox runs code that nobody trusts; it gets its own upstream's tokens and no
//! other credential.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version};

use super::body::{Outgoing, Reply};
use super::exchange::{Bounds, exchange};
use super::inbound::Inbound;
use super::tunnel::{Switch, refuse_stray_switch};
use super::{Forwarder, Returned, Returning, headers};
use crate::caller::Caller;
use crate::credential::{TRAFFIC_TOKEN, X_ACCESS_TOKEN, X_API_KEY};
use crate::error::GatewayError;
use crate::http1::Fields;
use crate::permit::{Data, Permit, Plan};
use crate::record::Pending;
use crate::request::X_REQUEST_ID;
use crate::route::Surface;
use crate::route::target::{SANDBOX_ID, SANDBOX_PORT};

impl Forwarder {
    /// Forwards one request to a port of a sandbox. It fails where there is no upstream for the port, or that does.
    #[must_use]
    pub fn data(
        &self,
        permit: Permit,
        mut request: Box<Request<Inbound>>,
        pending: Pending,
    ) -> Returning {
        let forwarder = self.clone();
        let switch = permit.tunnels().then(|| Switch::asked_by(&mut request)).flatten();
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let request_id = pending.request_id().clone();
            let result = forwarder.enter(&permit, &mut head, body, request_id, switch).await;
            Returned { result, pending }
        })
    }

    async fn enter(
        &self,
        permit: &Permit,
        head: &mut Parts,
        body: Inbound,
        request_id: HeaderValue,
        switch: Option<Switch>,
    ) -> Result<Response<Reply>, GatewayError> {
        let Plan::Data(data) = permit.plan() else { return Err(GatewayError::Internal) };
        let inner = &self.inner;
        let upstream =
            inner.upstreams.of_port(data.target.port).ok_or(GatewayError::NoDataPlane)?;
        let path = match &data.query {
            Some(query) => with_query(head.uri.path(), query)?,
            None => {
                head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
            }
        };
        head.uri = upstream.uri(path)?;
        head.version = Version::HTTP_11;
        rewrite_head(&mut head.headers, permit, data);
        if let Some(switch) = &switch {
            switch.put_into(&mut head.headers);
        }
        let principal = permit.caller().principal();
        let (of, request_id) = (principal.cloned(), Some(request_id));
        let bounds = Bounds { principal: of, request_id, ..Bounds::default() };
        let (body, _) = Outgoing::stream(body.of(principal.cloned()));
        let host = host(data, &inner.upstreams.domain);
        let fields = host.as_ref().map_or_else(Fields::default, Fields::host);
        let answer = exchange(&inner.pool, &upstream.address, head, &fields, body, &bounds).await?;

        if let Some(switch) = switch.filter(|switch| switch.is_made_by(&answer)) {
            return Ok(inner.tunnels.agree(switch, answer, principal.cloned()));
        }
        refuse_stray_switch(answer.status(), &bounds)?;
        let (mut parts, body) = answer.into_parts();
        headers::strip_response(&mut parts.headers);
        Ok(Response::from_parts(parts, Reply::upstream(body, principal.cloned())))
    }
}

fn with_query(path: &str, query: &str) -> Result<PathAndQuery, GatewayError> {
    let joined = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    PathAndQuery::from_maybe_shared(Bytes::from(joined)).map_err(|_| GatewayError::Internal)
}

/// Strips, then says where the request is for and shows the upstream its own tokens.
fn rewrite_head(head: &mut HeaderMap, permit: &Permit, data: &Data) {
    let open = matches!(permit.caller(), Caller::Open);
    // An application's own id for a request is its own business here.
    let kept: &[HeaderName] = match (open, data.passing.access_token) {
        (true, _) => &[X_REQUEST_ID, X_ACCESS_TOKEN, TRAFFIC_TOKEN, X_API_KEY],
        (false, true) => &[X_REQUEST_ID, X_ACCESS_TOKEN],
        (false, false) => &[X_REQUEST_ID],
    };
    let seen = headers::strip_request(head, kept);
    if seen.cookies {
        headers::join_cookies(head);
    }
    if seen.authorization && !data.passing.authorization {
        head.remove(AUTHORIZATION);
    }
    // An HTTP/2 upstream gets it as `:authority`; the client's own never stays.
    head.remove(HOST);
    if let Ok(id) = HeaderValue::from_str(data.target.sandbox.as_str()) {
        head.insert(SANDBOX_ID, id);
    }
    head.insert(SANDBOX_PORT, HeaderValue::from(data.target.port));
    let Some(sandbox) = &data.sandbox else { return };
    if permit.surface() != Surface::Port
        && let Some(token) = &sandbox.envd_token
    {
        head.insert(X_ACCESS_TOKEN, token.clone());
    }
    if let Some(token) = &sandbox.traffic_token {
        head.insert(TRAFFIC_TOKEN, token.clone());
    }
}

/// `<port>-<id>.<domain>`, as upstreams and applications expect to be called.
fn host(data: &Data, domain: &str) -> Option<HeaderValue> {
    let domain = if domain.parse::<IpAddr>().is_ok() { "localhost" } else { domain };
    let host = format!("{}-{}.{domain}", data.target.port, data.target.sandbox);
    HeaderValue::from_maybe_shared(Bytes::from(host)).ok()
}
