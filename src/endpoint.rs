//! The routes that the gateway answers itself: an axum router behind the auth layer.
//!
//! Handlers find out who calls through [`Who`], which only the service of permitted requests puts there; a request that
//! came another way is answered 500 and never runs one.

mod callback;
mod usage;
mod whoami;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::response::IntoResponse;
use axum::routing::{delete, get};
use http::request::Parts;
use http::{Request, Response};
use tower::{Service, ServiceExt};

use crate::authn::Authenticator;
use crate::caller::Caller;
use crate::error::GatewayError;
use crate::error::shape::{Dialect, respond};
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
    /// The routes, over what decides who calls and what knows how much everybody uses.
    #[must_use]
    pub fn new(authenticator: Arc<Authenticator>, usages: Usages) -> Self {
        let callback = Router::new()
            .route("/auth/callback/cache", delete(callback::flush))
            .route("/auth/callback/principals/{key}", delete(callback::purge))
            .with_state(authenticator);
        let router = Router::new()
            .route("/auth/whoami", get(whoami::whoami))
            .route("/auth/usage", get(usage::usage))
            .with_state(usages)
            .merge(callback)
            .fallback(async || OwnError(GatewayError::NotFound))
            .method_not_allowed_fallback(async || {
                OwnError(GatewayError::MethodNotAllowed(Methods::NONE))
            });
        Self { router }
    }

    /// Answers one permitted request.
    ///
    /// # Errors
    /// None of the gateway's own: the router answers everything.
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
        let Ok(response) = answered;
        Ok(response.map(Reply::own))
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

/// An error of the gateway's own routes.
#[derive(Debug)]
pub struct OwnError(pub GatewayError);

impl IntoResponse for OwnError {
    fn into_response(self) -> axum::response::Response {
        respond(&self.0, &Dialect::Rest).map(axum::body::Body::from)
    }
}
