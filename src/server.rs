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

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::{Service, ServiceBuilder};

use crate::callback::Line;
use crate::endpoint::{Audit, Endpoints};
use crate::layer::auth::{Auth, AuthLayer, Desk, Gate, Going};
use crate::layer::observe::{Observe, ObserveLayer};
use crate::permit::{Permitted, Plan};
use crate::proxy::inbound::Inbound;
use crate::proxy::{Forwarder, Returned, Returning};

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

impl Service<Going<Inbound>> for Dispatch {
    type Response = Returned;
    type Error = Infallible;
    type Future = Returning;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, going: Going<Inbound>) -> Self::Future {
        let Self { endpoints, forwarder } = self;
        let Going { permitted: Permitted { permit, request, origin }, pending } = going;
        // One box for each kind, so that none is as large as the largest.
        match permit.plan() {
            Plan::Own => {
                let endpoints = endpoints.clone();
                Box::pin(async move {
                    let result = endpoints.answer(&permit, request).await;
                    Ok(Returned { result, pending })
                })
            }
            Plan::Control(_) => forwarder.control(permit, request, origin, pending),
            Plan::Data(_) => forwarder.data(permit, request, origin.request_id, pending),
        }
    }
}
