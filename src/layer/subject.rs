//! Reads a request once, at the edge: what is it for?
//!
//! The answer, or a refusal, depends on the head alone. It comes before authentication, so it must say nothing that a
//! stranger could not know: only that a request is ambiguous, never whether a route or a sandbox exists.

use http::header::HOST;
use http::{HeaderMap, HeaderName, Method, Request, Version};

use crate::credential::{BadPresentation, TRAFFIC_TOKEN, X_ACCESS_TOKEN, only_line};
use crate::error::GatewayError;
use crate::error::shape::Dialect;
use crate::permit::Upgrade;
use crate::proxy::tunnel;
use crate::request::Conn;
use crate::route::authority::{Authority, BadAuthority, Domain, HostKind, parse_port};
use crate::route::target::{Aim, BadTarget, Plane, SANDBOX_PORT, SandboxToken};
use crate::route::{CanonicalPath, Listener, Match, Methods, PortLabel, Router, Surface};
use crate::target::Target;
use crate::token::{Claims, signature};

/// More headers than this are refused (HTTP/2; on HTTP/1 the head guard counts).
const MAX_HEADERS: usize = 100;

/// What one request is for.
#[derive(Debug)]
pub struct Subject<'r> {
    /// The host that it names, if any.
    pub host: Option<&'r str>,
    /// What the route table says of it.
    pub matched: Match<'r>,
    /// Where it goes.
    pub aim: Place,
    /// What it asks its connection to become.
    pub upgrade: Upgrade,
    /// The sandbox token it carries, not verified.
    pub claims: Option<Claims>,
}

/// Where a request goes.
#[derive(Debug)]
pub enum Place {
    /// To the sandbox API or the gateway itself.
    Control,
    /// To this port of this sandbox.
    Sandbox(Target),
    /// To a sandbox, but to none in particular: refused once the caller is known.
    Nowhere,
}

/// How the answer must look, known even for requests that cannot be read further.
#[must_use]
pub fn dialect<B>(request: &Request<B>) -> Dialect {
    let path = request.uri().path();
    let is_envd =
        path.starts_with("/process.Process/") || path.starts_with("/filesystem.Filesystem/");
    match is_rpc(path) {
        true => Dialect::of(request.headers(), is_envd),
        false => Dialect::Rest,
    }
}

/// Whether a path is of the form `/package.Service/Method`, as Connect and gRPC have it and no route of the control plane does.
fn is_rpc(path: &str) -> bool {
    // Most paths have no dot at all.
    if memchr::memchr(b'.', path.as_bytes()).is_none() {
        return false;
    }
    let mut segments = path.split('/').skip(1);
    let service = segments.next().is_some_and(|service| service.contains('.'));
    service && segments.next().is_some_and(|method| !method.is_empty()) && segments.next().is_none()
}

impl<'r> Subject<'r> {
    /// Reads `request`, which arrived on `conn`.
    ///
    /// # Errors
    /// What makes the request ambiguous.
    pub fn read<B>(
        request: &'r Request<B>,
        conn: &Conn,
        router: &Router,
        domain: Option<&Domain>,
    ) -> Result<Self, GatewayError> {
        let (method, headers) = (request.method(), request.headers());
        if matches!(*method, Method::CONNECT | Method::TRACE) {
            return Err(GatewayError::MethodNotAllowed(Methods::ANY));
        }
        if headers.len() > MAX_HEADERS {
            return Err(GatewayError::HeadTooLarge);
        }
        let named = host_of(request)?;
        let host = match named {
            Some(host) => host_kind(host, domain)?,
            None => HostKind::Other,
        };
        let claims = claims(headers)?;
        let raw_path = request.uri().path();
        let aim = Aim {
            listener: conn.listener,
            host: &host,
            headers,
            token: claims
                .as_ref()
                .map_or(SandboxToken::Absent, |claims| SandboxToken::Names(&claims.sandbox)),
        };
        let listed_port =
            || CanonicalPath::parse(raw_path).ok().and_then(|path| router.listed_port(&path));
        let upgrade = tunnel::upgrade_of(request);
        let query = request.uri().query().unwrap_or_default();
        let resolved = aim.resolve(listed_port);
        let subject = |matched, aim| Self { host: named, matched, aim, upgrade, claims };
        match resolved {
            Ok(Plane::Control) if is_lost_signed_url(conn, &host, raw_path, query) => {
                Err(NO_SANDBOX_IN_SIGNED_URL)
            }
            Ok(Plane::Control) => {
                let path = CanonicalPath::parse(raw_path).map_err(bad_path)?;
                let matched = router.find_control(method, &path).map_err(bad_path)?;
                Ok(subject(matched, Place::Control))
            }
            Ok(Plane::Data(target)) => {
                let matched = router.find_data(target.port, method, raw_path).map_err(bad_path)?;
                Ok(subject(matched, Place::Sandbox(target)))
            }
            Err(BadTarget::NoSandbox | BadTarget::NoPort) => {
                if raw_path == "/files" && signature::is_signed(query) {
                    return Err(NO_SANDBOX_IN_SIGNED_URL);
                }
                let port = lone_port(conn.listener, headers);
                let matched = match port {
                    Some(port) => router.find_data(port, method, raw_path).map_err(bad_path)?,
                    None => Match::user_port(method),
                };
                Ok(subject(matched, Place::Nowhere))
            }
            Err(refused) => Err(bad_target(refused)),
        }
    }

    /// Whether the request is to be answered by the gateway itself.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.matched.surface == Surface::Gateway
    }
}

/// The port of a data-plane request that names no sandbox.
fn lone_port(listener: Listener, headers: &HeaderMap) -> Option<u16> {
    match listener {
        Listener::Data(PortLabel::Port(port)) => Some(port),
        Listener::Data(PortLabel::Every) | Listener::Control { .. } => {
            headers.get(SANDBOX_PORT).and_then(|port| parse_port(port.to_str().ok()?))
        }
    }
}

/// On one port for both planes, a signed URL that an SDK made for a fixed address names no sandbox at all.
fn is_lost_signed_url(conn: &Conn, host: &HostKind, path: &str, query: &str) -> bool {
    matches!(conn.listener, Listener::Control { one_port: true })
        && *host == HostKind::Local
        && path == "/files"
        && signature::is_signed(query)
}

const NO_SANDBOX_IN_SIGNED_URL: GatewayError = GatewayError::BadRequest(
    "sandbox_not_named",
    "This signed URL names no sandbox: make it with E2B_DOMAIN instead of E2B_SANDBOX_URL, so that its host does",
);

/// `Host`, or `:authority`, and both only if they agree (RFC 9113 8.3.1). Only HTTP/1.0 can do without.
fn host_of<B>(request: &Request<B>) -> Result<Option<&str>, GatewayError> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next().map(|value| value.to_str().map_err(|_| BAD_HOST)).transpose()?;
    if hosts.next().is_some() {
        return Err(BAD_HOST);
    }
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    match (host, authority) {
        (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => Err(BAD_HOST),
        (None, None) if request.version() != Version::HTTP_10 => Err(BAD_HOST),
        (host, authority) => Ok(host.or(authority)),
    }
}

/// What kind of place a host is.
fn host_kind(named: &str, domain: Option<&Domain>) -> Result<HostKind, GatewayError> {
    let authority = Authority::parse(named).map_err(bad_host)?;
    authority.classify(domain).map_err(bad_host)
}

const BAD_HOST: GatewayError =
    GatewayError::BadRequest("bad_host", "The request must name one well-formed host");

fn bad_host(_: BadAuthority) -> GatewayError {
    BAD_HOST
}

/// The claims of the sandbox token in either of its headers; `X-Access-Token` first.
fn claims(headers: &HeaderMap) -> Result<Option<Claims>, GatewayError> {
    // Looking at every name takes less than to look for two that are most often not there.
    let may_be_there =
        |name: &HeaderName| matches!(name.as_str().len(), ACCESS_LENGTH | TRAFFIC_LENGTH);
    if !headers.keys().any(may_be_there) {
        return Ok(None);
    }
    let read = |name: HeaderName| -> Result<Option<Claims>, GatewayError> {
        let line = only_line(headers, &name).map_err(bad_presentation)?;
        Ok(line.and_then(|value| Claims::parse(std::str::from_utf8(value).ok()?.trim())))
    };
    let access = read(X_ACCESS_TOKEN)?;
    let traffic = read(TRAFFIC_TOKEN)?;
    Ok(access.or(traffic))
}

const ACCESS_LENGTH: usize = "x-access-token".len();
const TRAFFIC_LENGTH: usize = "e2b-traffic-access-token".len();

/// What an unreadable credential header means.
#[must_use]
pub fn bad_presentation(bad: BadPresentation) -> GatewayError {
    match bad {
        BadPresentation::Repeated => GatewayError::BadRequest(
            "repeated_credential",
            "A credential header may be there once: send one of 'X-API-Key' and 'Authorization'",
        ),
        BadPresentation::Malformed => GatewayError::BadCredential,
    }
}

fn bad_path(bad: crate::route::BadPath) -> GatewayError {
    tracing::debug!(cause = %bad, "a path was refused");
    GatewayError::BadRequest(
        "bad_path",
        "The path can be read in more than one way: send it without empty, '.', '..' or needlessly escaped parts",
    )
}

fn bad_target(bad: BadTarget) -> GatewayError {
    match bad {
        BadTarget::Duplicate | BadTarget::Id | BadTarget::Port => GatewayError::BadRequest(
            "bad_target",
            "E2b-Sandbox-Id and E2b-Sandbox-Port may each be there once: an id, and a port from 1 to 65535",
        ),
        BadTarget::Disagreement => GatewayError::BadRequest(
            "target_disagreement",
            "The host, the listener and the E2b-Sandbox headers name different targets",
        ),
        BadTarget::NoSandbox | BadTarget::NoPort => NO_SANDBOX,
        BadTarget::UnreadableToken => GatewayError::BadToken,
    }
}

/// The refusal of a data-plane request that names no sandbox, once its caller is known.
pub const NO_SANDBOX: GatewayError = GatewayError::BadRequest(
    "sandbox_not_named",
    "No sandbox is named: use <port>-<id>.<domain>, or the E2b-Sandbox-Id and E2b-Sandbox-Port headers",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_names() {
        assert_eq!(X_ACCESS_TOKEN.as_str().len(), ACCESS_LENGTH);
        assert_eq!(TRAFFIC_TOKEN.as_str().len(), TRAFFIC_LENGTH);
    }

    #[test]
    fn only_calls_are_answered_as_calls() {
        let of = |path: &str, kind: &str| {
            let request =
                Request::builder().uri(path).header("content-type", kind).body(()).unwrap();
            dialect(&request)
        };
        for path in ["/sandboxes", "/v2/sandboxes", "/sandboxes/i1.x/pause", "/", "/a.b", "/a.b/"] {
            for kind in ["application/json", "application/connect+json", "application/grpc"] {
                assert_eq!(of(path, kind), Dialect::Rest, "{path} {kind}");
            }
        }
        assert_eq!(of("/process.Process/List", "application/json"), Dialect::ConnectUnary);
        assert_eq!(of("/v1.0/items", "application/json"), Dialect::Rest);
        assert!(matches!(
            of("/process.Process/Start", "application/connect+json"),
            Dialect::ConnectStream(_)
        ));
        assert!(matches!(of("/grpc.Echo/Say", "application/grpc"), Dialect::Grpc(_)));
    }
}
