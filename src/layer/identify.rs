//! Finds the one credential that a request is judged by, and what it proves.
//!
//! Also says which credential-like headers belong to the application behind the gateway and pass, because that follows
//! from the same reading.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::subject::{Subject, bad_presentation};
use crate::authn::{Authentication, Authenticator, Reason};
use crate::caller::Caller;
use crate::clock::UnixTime;
use crate::credential::{
    Credential, Kind, Presented, TRAFFIC_TOKEN, X_ACCESS_TOKEN, is_bearer, registry_key,
};
use crate::error::GatewayError;
use crate::permit::{Passing, Upgrade};
use crate::route::{Class, Notes, Surface};
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
    /// The query claims to be signed; only the sandbox's record can tell by whom.
    Signed,
}

/// Judges the credential of a request.
///
/// # Errors
/// There is none, it is ambiguous, or it is good for nothing.
pub fn identify(
    authenticator: &Authenticator,
    subject: &Subject<'_>,
    headers: &HeaderMap,
    query: &str,
    now: UnixTime,
) -> Result<Reading, GatewayError> {
    let judge = Judge { authenticator, now };
    let surface = subject.matched.surface;
    if surface == Surface::Port {
        return judge.on_user_port(subject, headers).map(Reading::Caller);
    }
    if surface.is_data_plane() {
        return judge.in_sandbox(subject, headers, query);
    }
    if subject.matched.class == Class::Public && subject.upgrade == Upgrade::None {
        let passing = Passing::default();
        return Ok(Reading::Caller(Identified { caller: Caller::Anonymous, passing }));
    }
    judge.on_control(subject, headers).map(Reading::Caller)
}

struct Judge<'a> {
    authenticator: &'a Authenticator,
    now: UnixTime,
}

impl Judge<'_> {
    fn on_control(
        &self,
        subject: &Subject<'_>,
        headers: &HeaderMap,
    ) -> Result<Identified, GatewayError> {
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
        let caller = self.key(&credential)?;
        // Where a Bearer belongs to somebody else it passes, but never one that opens this gateway.
        let foreign = foreign_bearer
            && !presented.bearer().is_some_and(|bearer| self.authenticator.is_ours(&bearer));
        let authorization = from_registry_client.is_none() && (foreign || !holds_bearer(headers));
        Ok(Identified { caller, passing: Passing { authorization, access_token: false } })
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
        let caller = match (judged, &subject.claims) {
            (Some(credential), _) => self.key(&credential)?,
            (None, Some(claims)) => self.token(claims)?,
            (None, None)
                if [X_ACCESS_TOKEN, TRAFFIC_TOKEN]
                    .iter()
                    .any(|name| headers.contains_key(name)) =>
            {
                return Err(refuse(Reason::BadToken, GatewayError::BadToken));
            }
            (None, None) if subject.matched.has(Notes::SIGNED) && signature::is_signed(query) => {
                return Ok(Reading::Signed);
            }
            (None, None) => return Err(GatewayError::NoCredential),
        };
        let authorization = !holds_bearer(headers);
        let passing = Passing { authorization, access_token: false };
        Ok(Reading::Caller(Identified { caller, passing }))
    }

    /// On user ports the application may use these headers itself, beside a sandbox token.
    fn on_user_port(
        &self,
        subject: &Subject<'_>,
        headers: &HeaderMap,
    ) -> Result<Identified, GatewayError> {
        let presented = Presented::from_headers(headers).map_err(bad_presentation)?;
        let access_token = headers.get(X_ACCESS_TOKEN).is_some_and(|value| {
            !value.to_str().is_ok_and(|text| Claims::parse(text.trim()).is_some())
        });
        let Some(claims) = &subject.claims else {
            let judged =
                presented.judged(self.authenticator.precedence()).map_err(bad_presentation)?;
            let caller = self.key(&judged.ok_or(GatewayError::NoCredential)?)?;
            let authorization = !holds_bearer(headers);
            return Ok(Identified { caller, passing: Passing { authorization, access_token } });
        };
        let caller = self.token(claims)?;
        let authorization = match presented.bearer() {
            Some(bearer) => !self.authenticator.is_ours(&bearer),
            None => true,
        };
        Ok(Identified { caller, passing: Passing { authorization, access_token } })
    }

    fn key(&self, credential: &Credential<'_>) -> Result<Caller, GatewayError> {
        match self.authenticator.authenticate(credential, self.now) {
            Authentication::Known(principal) => Ok(Caller::Key(principal, credential.kind)),
            Authentication::Refused(reason) => Err(refuse(reason, GatewayError::BadCredential)),
        }
    }

    fn token(&self, claims: &Claims) -> Result<Caller, GatewayError> {
        match self.authenticator.open(claims, self.now) {
            Authentication::Known(principal) => {
                Ok(Caller::Token(principal, claims.sandbox.clone()))
            }
            Authentication::Refused(reason) => Err(refuse(reason, GatewayError::BadToken)),
        }
    }
}

/// Keeps the reason for the log; the client is told that it was refused.
fn refuse(reason: Reason, told: GatewayError) -> GatewayError {
    tracing::debug!(?reason, "a credential was refused");
    told
}

fn holds_bearer(headers: &HeaderMap) -> bool {
    headers.get(AUTHORIZATION).is_some_and(|value| is_bearer(value.as_bytes()))
}
