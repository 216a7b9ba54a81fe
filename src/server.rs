//! The stack of a worker: which layer sees a request after which, and what is behind them.
//!
//! ```text
//! connection → observe → auth → dispatch → own router | sandbox API | sandbox
//! ```
//!
//! This file is the only place that puts the pieces together. Behind `auth` everything takes a [`Permitted`] request:
//!
//! ```compile_fail
//! # use coppice_gateway::server::Dispatch;
//! # fn mounted(dispatch: Dispatch) {
//! // A router takes services of plain requests, so the forwarder cannot be mounted past the auth layer.
//! let router: axum::Router = axum::Router::new().fallback_service(dispatch);
//! # }
//! ```

pub mod connection;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Response;
use tower::{Service, ServiceBuilder};

use crate::callback::Line;
use crate::endpoint::{Audit, Endpoints};
use crate::error::GatewayError;
use crate::layer::auth::{Auth, AuthLayer, Desk, Gate};
use crate::layer::observe::{Observe, ObserveLayer};
use crate::permit::{Permitted, Plan};
use crate::proxy::Forwarder;
use crate::proxy::body::Reply;
use crate::proxy::inbound::Inbound;

/// A worker's service, from a request on a connection to its answer.
pub type Stack = Observe<Auth<Dispatch>>;

/// Builds a worker's service.
#[must_use]
pub fn stack(
    gate: Arc<Gate>,
    line: Option<Line>,
    observe: ObserveLayer,
    audit: Audit,
    forwarder: Forwarder,
) -> Stack {
    let endpoints = Endpoints::new(Arc::clone(&gate.authenticator), forwarder.usages(), audit);
    let desk = Arc::new(Desk { gate, asker: forwarder.asker(), line });
    ServiceBuilder::new()
        // Outermost: every request gets an id and a line in the log, refused ones too.
        .layer(observe)
        // From here on, only what is permitted.
        .layer(AuthLayer { desk })
        .service(Dispatch { endpoints, forwarder })
}

/// Sends a permitted request where its permit says.
#[derive(Clone, Debug)]
pub struct Dispatch {
    endpoints: Endpoints,
    forwarder: Forwarder,
}

impl Service<Permitted<Inbound>> for Dispatch {
    type Response = Response<Reply>;
    type Error = GatewayError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Reply>, GatewayError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, permitted: Permitted<Inbound>) -> Self::Future {
        let Self { endpoints, forwarder } = self.clone();
        let Permitted { permit, request, origin } = permitted;
        // One box for each kind, so that none is as large as the largest.
        match permit.plan() {
            Plan::Own => Box::pin(async move { endpoints.answer(&permit, request).await }),
            Plan::Control(_) => {
                Box::pin(async move { forwarder.control(permit, request, origin).await })
            }
            Plan::Data(_) => {
                Box::pin(async move { forwarder.data(&permit, request, origin.request_id).await })
            }
        }
    }
}
