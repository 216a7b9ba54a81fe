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
use std::sync::Arc;

use crate::callback::Line;
use crate::endpoint::{Audit, Endpoints};
use crate::layer::Behind;
use crate::layer::auth::{Auth, Desk, Gate, Going};
use crate::layer::observe::{Observe, Watch};
use crate::permit::{Permitted, Plan};
use crate::proxy::inbound::Inbound;
use crate::proxy::{Forwarder, Returned};

/// A worker's service, from a request on a connection to its answer.
pub type Stack = Observe<Auth<Dispatch>>;

/// Builds a worker's service.
#[must_use]
pub fn stack(
    gate: Arc<Gate>,
    line: Option<Line>,
    watch: Watch,
    audit: Audit,
    forwarder: Forwarder,
) -> Stack {
    let endpoints = Endpoints::new(Arc::clone(&gate.authenticator), forwarder.usages(), audit);
    let desk = Desk { gate, asker: forwarder.asker(), line };
    // From here on, only what is permitted.
    let auth = Auth::new(desk, Dispatch { endpoints, forwarder });
    // Outermost: every request gets an id and a line in the log, refused ones too.
    Observe::new(watch, auth)
}

/// Sends a permitted request where its permit says.
#[derive(Clone, Debug)]
pub struct Dispatch {
    endpoints: Endpoints,
    forwarder: Forwarder,
}

impl Behind<Going<Inbound>> for Dispatch {
    type Answer = Returned;

    fn call(&self, going: Going<Inbound>) -> impl Future<Output = Returned> + Send {
        let Self { endpoints, forwarder } = self;
        let Going { permitted: Permitted { permit, request, conn }, pending } = going;
        // One box for each kind, so that none is as large as the largest.
        match permit.plan() {
            Plan::Own => {
                let endpoints = endpoints.clone();
                Box::pin(async move {
                    let result = endpoints.answer(&permit, *request).await;
                    Returned { result, pending }
                })
            }
            Plan::Control(_) => forwarder.control(permit, request, conn, pending),
            Plan::Data(_) => forwarder.data(permit, request, pending),
        }
    }
}
