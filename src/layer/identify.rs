//! Finds the one credential that a request is judged by, and what it proves.
//!
//! Also says which credential-like headers belong to the application behind the gateway and pass, because that follows
//! from the same reading.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method, Request};

use super::subject::{Subject, bad_presentation};
use crate::authn::{Authentication, Authenticator, Reason};
use crate::callback::{Question, Refusal, Unknown, WhenUnavailable};
use crate::caller::Caller;
use crate::clock::UnixTime;
use crate::credential::{Credential, Kind, Presented, TRAFFIC_TOKEN, X_ACCESS_TOKEN, registry_key};
use crate::error::GatewayError;
use crate::permit::{Passing, Upgrade};
use crate::request::Conn;
use crate::route::{Class, Notes, Surface};
use crate::secret::Secret;
use crate::token::{Claims, signature};

/// Who calls, and what passes beside it.
#[derive(Debug)]
pub struct Identified {
    /// Who.
    pub caller: Caller,
    /// Headers that are the application's own.
    pub passing: Passing,
}

/// What reading a request's credentials comes to.
#[derive(Debug)]
pub enum Reading {
    /// It is clear who calls.
    Caller(Identified),
    /// Only the auth callback can tell whose this credential is.
    Ask(Asked),
    /// The query claims to be signed; only the sandbox's record can tell by whom.
    Signed,
}

/// What the auth callback has to be asked.
#[derive(Debug)]
pub struct Asked {
    /// How the credential came.
    pub kind: Kind,
    /// The credential.
    pub credential: Secret,
    /// That nothing is remembered of it.
    pub unknown: Unknown,
    /// Headers that are the application's own.
    pub passing: Passing,
}

/// A request as the auth callback is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'r> {
    /// Its method.
    pub method: &'r Method,
    /// Its path as sent, without the query.
    pub path: &'r str,
    /// The host it names.
    pub host: Option<&'r str>,
    /// Its id.
    pub request_id: &'r HeaderValue,
    /// The client's address.
    pub client: Option<IpAddr>,
}

impl<'r> Circumstances<'r> {
    /// Those of a request that was read as `subject`.
    #[must_use]
    pub fn of<B>(
        request: &'r Request<B>,
        subject: &Subject<'r>,
        conn: &Conn,
        request_id: &'r HeaderValue,
    ) -> Self {
        Self {
            method: request.method(),
            path: request.uri().path(),
            host: subject.host,
            request_id,
            client: conn.client(request.headers()),
        }
    }

    /// The question whether this credential may do this.
    #[must_use]
    pub const fn question(&self, credential: Credential<'r>) -> Question<'r> {
        let Self { method, path, host, request_id, client } = *self;
        Question { credential, method, path, host, request_id, client }
    }
}

/// Judges the credential of a request, by what is known here and now.
///
/// # Errors
/// There is none, it is ambiguous, or it is good for nothing.
pub fn identify(
    authenticator: &Authenticator,
    subject: &Subject<'_>,
    circumstances: &Circumstances<'_>,
    headers: &HeaderMap,
    query: &str,
    now: UnixTime,
) -> Result<Reading, GatewayError> {
    let judge = Judge { authenticator, circumstances, now };
    let surface = subject.matched.surface;
    if surface == Surface::Port {
        return judge.on_user_port(subject, headers);
    }
    if surface.is_data_plane() {
        return judge.in_sandbox(subject, headers, query);
    }
    if subject.matched.class == Class::Public && subject.upgrade == Upgrade::None {
        let passing = Passing::default();
        return Ok(Reading::Caller(Identified { caller: Caller::Anonymous, passing }));
    }
    judge.on_control(subject, headers)
}

struct Judge<'a> {
    authenticator: &'a Authenticator,
    circumstances: &'a Circumstances<'a>,
    now: UnixTime,
}

impl Judge<'_> {
    fn on_control(
        &self,
        subject: &Subject<'_>,
        headers: &HeaderMap,
    ) -> Result<Reading, GatewayError> {
        let presented = Presented::from_headers(headers).map_err(bad_presentation)?;
        let foreign_bearer = subject.matched.has(Notes::FOREIGN_BEARER);
        let judged = if foreign_bearer {
            presented.api_key()
        } else {
            presented.judged(self.authenticator.precedence())
        };
        let from_registry_client =
            (subject.matched.surface == Surface::Registry).then(|| registry_key(headers)).flatten();
        let credential = match (judged.map_err(bad_presentation)?, &from_registry_client) {
            (Some(credential), _) => credential,
            (None, Some(key)) => Credential::new(Kind::ApiKey, key.expose()),
            (None, None) => return Err(GatewayError::NoCredential),
        };
        // Where a Bearer belongs to somebody else it passes, but never one that opens this gateway.
        let foreign = foreign_bearer
            && !presented.bearer().is_some_and(|bearer| self.authenticator.is_ours(&bearer));
        let authorization = from_registry_client.is_none() && (foreign || !presented.is_bearer);
        self.key(credential, Passing { authorization, access_token: false })
    }

    /// On envd and the interpreter every credential header is the gateway's, save `Basic`, which is envd's user name.
    fn in_sandbox(
        &self,
        subject: &Subject<'_>,
        headers: &HeaderMap,
        query: &str,
    ) -> Result<Reading, GatewayError> {
        let presented = Presented::from_headers(headers).map_err(bad_presentation)?;
        let judged = presented.judged(self.authenticator.precedence()).map_err(bad_presentation)?;
        let passing = Passing { authorization: !presented.is_bearer, access_token: false };
        match (judged, &subject.claims) {
            (Some(credential), _) => self.key(credential, passing),
            (None, Some(claims)) => self.token(claims, passing),
            (None, None)
                if [X_ACCESS_TOKEN, TRAFFIC_TOKEN]
                    .iter()
                    .any(|name| headers.contains_key(name)) =>
            {
                Err(refuse(Reason::BadToken, GatewayError::BadToken))
            }
            (None, None) if subject.matched.has(Notes::SIGNED) && signature::is_signed(query) => {
                Ok(Reading::Signed)
            }
            (None, None) => Err(GatewayError::NoCredential),
        }
    }

    /// On user ports the application may use these headers itself, beside a sandbox token.
    fn on_user_port(
        &self,
        subject: &Subject<'_>,
        headers: &HeaderMap,
    ) -> Result<Reading, GatewayError> {
        let presented = Presented::from_headers(headers).map_err(bad_presentation)?;
        let access_token = headers.get(X_ACCESS_TOKEN).is_some_and(|value| {
            !value.to_str().is_ok_and(|text| Claims::parse(text.trim()).is_some())
        });
        let Some(claims) = &subject.claims else {
            let judged =
                presented.judged(self.authenticator.precedence()).map_err(bad_presentation)?;
            let authorization = !presented.is_bearer;
            let credential = judged.ok_or(GatewayError::NoCredential)?;
            return self.key(credential, Passing { authorization, access_token });
        };
        let authorization = match presented.bearer() {
            Some(bearer) => !self.authenticator.is_ours(&bearer),
            None => true,
        };
        self.token(claims, Passing { authorization, access_token })
    }

    fn key(&self, credential: Credential<'_>, passing: Passing) -> Result<Reading, GatewayError> {
        let question = self.circumstances.question(credential);
        match self.authenticator.authenticate(&question, self.now) {
            Authentication::Unsettled(unknown) => {
                let (kind, text) = (credential.kind, credential.expose().to_owned());
                Ok(Reading::Ask(Asked { kind, credential: Secret::new(text), unknown, passing }))
            }
            settled @ (Authentication::Known(_)
            | Authentication::Refused(_)
            | Authentication::Declined(_)) => {
                let caller = caller(settled, credential.kind)?;
                Ok(Reading::Caller(Identified { caller, passing }))
            }
        }
    }

    fn token(&self, claims: &Claims, passing: Passing) -> Result<Reading, GatewayError> {
        match self.authenticator.open(claims, self.now) {
            Authentication::Known(principal) => {
                let caller = Caller::Token(principal, claims.sandbox.clone());
                Ok(Reading::Caller(Identified { caller, passing }))
            }
            Authentication::Refused(reason) => Err(refuse(reason, GatewayError::BadToken)),
            Authentication::Declined(_) | Authentication::Unsettled(_) => {
                Err(GatewayError::BadToken)
            }
        }
    }
}

/// Who calls with a key, by what was found out about it.
///
/// # Errors
/// It opens nothing.
pub fn caller(authentication: Authentication, kind: Kind) -> Result<Caller, GatewayError> {
    match authentication {
        Authentication::Known(principal) => Ok(Caller::Key(principal, kind)),
        Authentication::Refused(reason) => Err(refuse(reason, GatewayError::BadCredential)),
        Authentication::Declined(refusal) => Err(declined(refusal)),
        Authentication::Unsettled(_) => Err(GatewayError::Internal),
    }
}

fn declined(refusal: Refusal) -> GatewayError {
    match refusal {
        Refusal::Rejected => GatewayError::CallbackRejected,
        Refusal::Forbidden => GatewayError::CallbackForbidden,
        Refusal::RateLimited(after) => GatewayError::CallbackRateLimited(after),
        Refusal::TooManyAttempts => GatewayError::TooManyAttempts,
        Refusal::Unavailable(WhenUnavailable::InternalError) => GatewayError::CallbackFailed,
        Refusal::Unavailable(WhenUnavailable::ServiceUnavailable) => {
            GatewayError::CallbackUnavailable
        }
    }
}

/// Keeps the reason for the log; the client is told that it was refused.
fn refuse(reason: Reason, told: GatewayError) -> GatewayError {
    tracing::debug!(?reason, "a credential was refused");
    told
}
