//! Everything the gateway answers in its own name when it does not forward: one closed list, one table.
//!
//! A variant is what happened; [`GatewayError::answer`] is the only place that turns it into a status, a
//! machine-readable code and a sentence. Sentences are constant (or name a scope) and tell the client what to do;
//! causes go to the log. Which shape the sentence takes on the wire is [`shape`]'s business.
//!
//! Status policy: 401 means "this credential, or the lack of one"; 403 "this key may not"; 404 "no such thing for
//! you", the same whether it is absent or somebody else's; 400 "two readers could understand this differently";
//! 502/503/504 are the upstream's troubles and never say why.

mod rpc;
pub mod shape;

use std::borrow::Cow;

use http::{HeaderValue, StatusCode};

pub use self::rpc::RpcCode;
use crate::principal::{Scope, TenantId};
use crate::route::Methods;
use crate::target::SandboxId;

/// What went wrong, as far as a client may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayError {
    /// The request could be read in two ways, or names its target badly: a code and a sentence from the parser.
    BadRequest(&'static str, &'static str),
    /// A head that took too long (RFC 9110 15.5.9).
    HeadTimeout,
    /// A head over the limits (RFC 6585 5).
    HeadTooLarge,
    /// A body the gateway has to read is over its limit.
    BodyTooLarge,
    /// A body the gateway has to read did not arrive in time.
    BodyTimeout,
    /// No credential was sent.
    NoCredential,
    /// A credential was sent and is not known, not valid now, or malformed.
    BadCredential,
    /// A sandbox token was sent and is not one of the gateway's, or its key may not be used now.
    BadToken,
    /// A signed URL whose signature is wrong or has expired.
    BadSignature,
    /// The operator's own auth service refused the credential.
    CallbackRejected,
    /// It said 403, which the settings let through.
    CallbackForbidden,
    /// It said 429, which the settings let through, with its `Retry-After`.
    CallbackRateLimited(Option<HeaderValue>),
    /// It was not asked: too much from this client's address was refused before.
    TooManyAttempts,
    /// It could not be asked: 500, as Cube says it.
    CallbackFailed,
    /// The same as 503, where the settings want that.
    CallbackUnavailable,
    /// The principal lacks the scope its route needs.
    MissingScope(Scope),
    /// The tenant has as many active sandboxes as it may have.
    QuotaExceeded {
        /// Whose limit it is.
        tenant: TenantId,
        /// How many that are.
        limit: u32,
        /// The status that the operator chose.
        status: OverQuota,
    },
    /// How many sandboxes the tenant has could not be found out.
    QuotaUnknown,
    /// No such route or sandbox for this caller.
    NotFound,
    /// A sandbox that is not there, or not the caller's; said as the upstream says it.
    SandboxNotFound,
    /// The caller's own sandbox is gone; E2B's proxy says so with 502 and these words.
    SandboxGone(SandboxId),
    /// Not a method for this place; these are, where that is known.
    MethodNotAllowed(Methods),
    /// The data plane is not configured for this port.
    NoDataPlane,
    /// The upstream refused the connection or broke it before answering. `unknown_outcome` says that it may have acted.
    UpstreamUnreachable {
        /// A create that may have happened: a client must not blindly repeat it.
        unknown_outcome: bool,
    },
    /// The upstream answered with something that cannot be passed on.
    UpstreamBadAnswer {
        /// As above.
        unknown_outcome: bool,
    },
    /// The upstream's head did not come in time.
    UpstreamTimeout {
        /// As above.
        unknown_outcome: bool,
    },
    /// Whose sandbox it is could not be found out.
    OwnershipUnknown,
    /// What the request does could not be written to the audit log, and must be.
    AuditUnavailable,
    /// The gateway is shutting down or full.
    NotReady,
    /// A bug: an invariant did not hold.
    Internal,
}

/// How a request above a tenant's limit is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverQuota {
    /// 403.
    #[default]
    Forbidden,
    /// 429, which SDKs raise as a rate limit. Without `Retry-After`: waiting alone frees nothing.
    TooManyRequests,
}

/// One line of the table: what a client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// `error_code` of the JSON body.
    pub code: &'static str,
    /// The Connect and gRPC name of the failure.
    pub rpc: RpcCode,
    /// The sentence.
    pub message: &'static str,
}

/// The 401 sentence for a missing credential: both ways to send one, and the variables that make clients send them.
const NO_CREDENTIAL: &str = "Missing authentication: send 'X-API-Key: <key>' (E2B_API_KEY) or \
    'Authorization: Bearer <token>' (E2B_ACCESS_TOKEN, COPPICE_TOKEN)";
/// Said with 500 or 503; names neither the service nor what went wrong.
const CALLBACK_UNAVAILABLE: &str =
    "The authentication service could not be asked; try again shortly";
const BAD_CREDENTIAL: &str = "Invalid credential: the key sent as 'X-API-Key' (E2B_API_KEY) or \
    'Authorization: Bearer' (E2B_ACCESS_TOKEN, COPPICE_TOKEN) is not known or not valid now";

impl GatewayError {
    /// The table.
    #[must_use]
    pub const fn answer(&self) -> Answer {
        let (status, code, rpc, message) = match self {
            Self::BadRequest(code, message) => {
                (StatusCode::BAD_REQUEST, *code, RpcCode::InvalidArgument, *message)
            }
            Self::HeadTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                RpcCode::DeadlineExceeded,
                "The request head did not arrive in time",
            ),
            Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
                RpcCode::ResourceExhausted,
                "The request head is over 32 KiB or has more than 100 headers",
            ),
            Self::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                RpcCode::ResourceExhausted,
                "The request body is over 1 MiB",
            ),
            Self::BodyTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                RpcCode::DeadlineExceeded,
                "The request body did not arrive in time",
            ),
            Self::NoCredential => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                RpcCode::Unauthenticated,
                NO_CREDENTIAL,
            ),
            Self::BadCredential => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                RpcCode::Unauthenticated,
                BAD_CREDENTIAL,
            ),
            Self::BadToken => (
                StatusCode::UNAUTHORIZED,
                "bad_sandbox_token",
                RpcCode::Unauthenticated,
                "Invalid sandbox token: it was not issued by this gateway, or its key is not valid any more; \
                 connect to the sandbox again to get a new one",
            ),
            Self::BadSignature => (
                StatusCode::UNAUTHORIZED,
                "bad_signature",
                RpcCode::Unauthenticated,
                "The URL's signature is not valid or has expired; ask the SDK for a new one",
            ),
            Self::CallbackRejected => (
                StatusCode::UNAUTHORIZED,
                "callback_rejected",
                RpcCode::Unauthenticated,
                "Authentication rejected by callback",
            ),
            Self::CallbackForbidden => (
                StatusCode::FORBIDDEN,
                "callback_forbidden",
                RpcCode::PermissionDenied,
                "The authentication service does not allow this credential to do this",
            ),
            Self::CallbackRateLimited(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "callback_rate_limited",
                RpcCode::ResourceExhausted,
                "The authentication service limits the rate of this credential; try again later",
            ),
            Self::TooManyAttempts => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_attempts",
                RpcCode::ResourceExhausted,
                "Too many credentials from this address were refused; try again shortly",
            ),
            Self::CallbackFailed => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "callback_unavailable",
                RpcCode::Internal,
                CALLBACK_UNAVAILABLE,
            ),
            Self::CallbackUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "callback_unavailable",
                RpcCode::Unavailable,
                CALLBACK_UNAVAILABLE,
            ),
            Self::MissingScope(scope) => (
                StatusCode::FORBIDDEN,
                "missing_scope",
                RpcCode::PermissionDenied,
                match scope {
                    Scope::Read => "API key lacks required scope: read",
                    Scope::Exec => "API key lacks required scope: exec",
                    Scope::Owner => "API key lacks required scope: owner",
                    Scope::Admin => "API key lacks required scope: admin",
                },
            ),
            Self::QuotaExceeded { status, .. } => (
                match status {
                    OverQuota::Forbidden => StatusCode::FORBIDDEN,
                    OverQuota::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
                },
                "quota_exceeded",
                RpcCode::ResourceExhausted,
                "The tenant has reached its limit of active sandboxes",
            ),
            Self::QuotaUnknown => (
                StatusCode::SERVICE_UNAVAILABLE,
                "quota_unknown",
                RpcCode::Unavailable,
                "The tenant's active sandboxes could not be counted; try again shortly",
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "not_found",
                RpcCode::NotFound,
                "There is nothing at this path",
            ),
            Self::SandboxNotFound => {
                (StatusCode::NOT_FOUND, "sandbox_not_found", RpcCode::NotFound, "Sandbox not found")
            }
            Self::SandboxGone(_) => (
                StatusCode::BAD_GATEWAY,
                "sandbox_gone",
                RpcCode::Unavailable,
                "The sandbox was not found",
            ),
            Self::MethodNotAllowed(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                RpcCode::Unimplemented,
                "This method is not allowed here",
            ),
            Self::NoDataPlane => (
                StatusCode::NOT_FOUND,
                "no_data_plane",
                RpcCode::NotFound,
                "This gateway has no upstream for this sandbox port",
            ),
            Self::UpstreamUnreachable { .. } => (
                StatusCode::BAD_GATEWAY,
                "upstream_unreachable",
                RpcCode::Unavailable,
                "The sandbox service could not be reached; try again shortly",
            ),
            Self::UpstreamBadAnswer { .. } => (
                StatusCode::BAD_GATEWAY,
                "upstream_bad_answer",
                RpcCode::Unavailable,
                "The sandbox service gave an answer that cannot be passed on",
            ),
            Self::UpstreamTimeout { .. } => (
                StatusCode::GATEWAY_TIMEOUT,
                "upstream_timeout",
                RpcCode::DeadlineExceeded,
                "The sandbox service did not answer in time",
            ),
            Self::OwnershipUnknown => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ownership_unknown",
                RpcCode::Unavailable,
                "The sandbox service could not be asked about this sandbox; try again shortly",
            ),
            Self::AuditUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "audit_unavailable",
                RpcCode::Unavailable,
                "The audit log cannot be written now, and this request must be; try again shortly",
            ),
            Self::NotReady => (
                StatusCode::SERVICE_UNAVAILABLE,
                "not_ready",
                RpcCode::Unavailable,
                "The gateway is not taking requests now; try again shortly",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                RpcCode::Internal,
                "The gateway failed; its log has the cause under this request id",
            ),
        };
        Answer { status, code, rpc, message }
    }

    /// The sentence in full, where it names what it is about.
    #[must_use]
    pub fn sentence(&self) -> Cow<'static, str> {
        if let Self::QuotaExceeded { tenant, limit, .. } = self {
            return format!("tenant {tenant} has reached its limit of {limit} active sandboxes")
                .into();
        }
        self.answer().message.into()
    }

    /// When a client may try again, for refusals that will pass.
    #[must_use]
    pub fn retry_after(&self) -> Option<HeaderValue> {
        if let Self::CallbackRateLimited(after) = self {
            return after.clone();
        }
        let soon = self.answer().status == StatusCode::SERVICE_UNAVAILABLE
            || *self == Self::TooManyAttempts;
        soon.then(|| HeaderValue::from_static("1"))
    }

    /// Whether a client that repeats the request may do it twice.
    #[must_use]
    pub const fn forbids_retry(&self) -> bool {
        matches!(
            self,
            Self::QuotaExceeded { .. }
                | Self::UpstreamUnreachable { unknown_outcome: true }
                | Self::UpstreamBadAnswer { unknown_outcome: true }
                | Self::UpstreamTimeout { unknown_outcome: true }
        )
    }
}
