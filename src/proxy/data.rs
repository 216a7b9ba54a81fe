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
use crate::http1::{Fields, Value};
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
        let told = Told::of(permit, data, &inner.upstreams.domain);
        let fields = told.fields();
        strip(&mut head.headers, permit, data, &fields);
        if let Some(switch) = &switch {
            switch.put_into(&mut head.headers);
        }
        let principal = permit.caller().principal();
        let (of, request_id) = (principal.cloned(), Some(request_id));
        let bounds = Bounds { principal: of, request_id, ..Bounds::default() };
        let (body, _) = Outgoing::stream(body.of(principal.cloned()));
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

/// Strips what is not for the sandbox, and what it is told in `fields` instead.
fn strip(head: &mut HeaderMap, permit: &Permit, data: &Data, fields: &Fields<'_>) {
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
    // Nobody else's can be there any more, but for an access token that is passed on.
    if open || data.passing.access_token {
        fields.iter().for_each(|(name, _)| drop(head.remove(name)));
    }
    // An HTTP/2 upstream gets it as `:authority`; the client's own never stays.
    head.remove(HOST);
}

/// What a sandbox is told by the gateway: where the request is for, and the upstream's own tokens.
struct Told<'a> {
    host: String,
    sandbox: &'a str,
    port: HeaderValue,
    access_token: Option<&'a HeaderValue>,
    traffic_token: Option<&'a HeaderValue>,
}

/// Under which names, in the order of [`Told::fields`].
static TOLD: [HeaderName; 4] = [SANDBOX_ID, SANDBOX_PORT, X_ACCESS_TOKEN, TRAFFIC_TOKEN];

impl<'a> Told<'a> {
    fn of(permit: &Permit, data: &'a Data, domain: &str) -> Self {
        let known = data.sandbox.as_deref();
        let is_port = permit.surface() == Surface::Port;
        Self {
            host: host(data, domain),
            sandbox: data.target.sandbox.as_str(),
            port: HeaderValue::from(data.target.port),
            access_token: known.and_then(|known| known.envd_token.as_ref()).filter(|_| !is_port),
            traffic_token: known.and_then(|known| known.traffic_token.as_ref()),
        }
    }

    fn fields(&self) -> Fields<'_> {
        let Self { host, sandbox, port, access_token, traffic_token } = self;
        let mut values = [None; 9];
        let token = |token: &Option<&'a HeaderValue>| token.map(Value::from);
        let told =
            [Value::text(sandbox), Some(port.into()), token(access_token), token(traffic_token)];
        values.iter_mut().zip(told).for_each(|(value, told)| *value = told);
        Fields { host: Value::text(host), names: &TOLD, values }
    }
}

/// `<port>-<id>.<domain>`, as upstreams and applications expect to be called.
fn host(data: &Data, domain: &str) -> String {
    let domain = if domain.parse::<IpAddr>().is_ok() { "localhost" } else { domain };
    format!("{}-{}.{domain}", data.target.port, data.target.sandbox)
}
