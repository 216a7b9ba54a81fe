//! The routes that the gateway answers itself: an axum router behind the auth layer.
//!
//! Handlers find out who calls through [`Who`], which only the service of permitted requests puts there; a request that
//! came another way is answered 500 and never runs one.

mod audit;
mod callback;
mod usage;
mod whoami;

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::IntoResponse;
use axum::routing::{delete, get};
use axum::{Extension, Router};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use tower::{Service, ServiceExt};

pub use self::audit::Audit;
use crate::authn::Authenticator;
use crate::caller::Caller;
use crate::error::GatewayError;
use crate::permit::Permit;
use crate::proxy::body::Reply;
use crate::proxy::inbound::Inbound;
use crate::proxy::usage::Usages;
use crate::route::Methods;

/// The gateway's own routes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Endpoints {
    router: Router,
}

impl Endpoints {
    /// The routes, over what decides who calls, what knows how much everybody uses, and what tells what was done.
    #[must_use]
    pub fn new(authenticator: Arc<Authenticator>, usages: Usages, audit: Audit) -> Self {
        let callback = Router::new()
            .route("/auth/callback/cache", delete(callback::flush))
            .route("/auth/callback/principals/{key}", delete(callback::purge))
            .with_state(authenticator);
        let audit = Router::new()
            .route("/audit/events", get(audit::events))
            .route("/audit/stream", get(audit::stream))
            .with_state(audit);
        let router = Router::new()
            .route("/auth/whoami", get(whoami::whoami))
            .route("/auth/usage", get(usage::usage))
            .with_state(usages)
            .merge(callback)
            .merge(audit)
            .fallback(async || OwnError(GatewayError::NotFound))
            .method_not_allowed_fallback(async || {
                OwnError(GatewayError::MethodNotAllowed(Methods::NONE))
            });
        Self { router }
    }

    /// Answers one permitted request.
    ///
    /// # Errors
    /// What a handler refused, or failed at.
    pub async fn answer(
        &self,
        permit: &Permit,
        mut request: Request<Inbound>,
    ) -> Result<Response<Reply>, GatewayError> {
        request.extensions_mut().insert(Who(permit.caller().clone()));
        let mut router = self.router.clone();
        let answered: Result<_, Infallible> =
            match ServiceExt::<Request<Inbound>>::ready(&mut router).await {
                Ok(ready) => ready.call(request).await,
                Err(never) => Err(never),
            };
        let Ok(mut response) = answered;
        match response.extensions_mut().remove::<OwnError>() {
            Some(OwnError(error)) => Err(error),
            None => Ok(response.map(Reply::own)),
        }
    }
}

/// Who calls, for handlers.
#[derive(Clone, Debug)]
pub struct Who(pub Caller);

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = OwnError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, OwnError> {
        parts.extensions.get::<Self>().cloned().ok_or(OwnError(GatewayError::Internal))
    }
}

/// An error of the gateway's own routes. It goes through the router as it is, so that it is answered, and accounted for,
/// like all others.
#[derive(Clone, Debug)]
pub struct OwnError(pub GatewayError);

impl IntoResponse for OwnError {
    fn into_response(self) -> axum::response::Response {
        (StatusCode::INTERNAL_SERVER_ERROR, Extension(self)).into_response()
    }
}
