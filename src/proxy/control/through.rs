//! Requests to the sandbox API from their permit to the answer, with the account of each.
//!
//! One that may start a sandbox runs in a task of its own and takes its account along: it ends when the upstream has
//! answered, not when its client leaves.

use std::panic::resume_unwind;
use std::sync::Arc;

use http::{Request, Response};
use tokio_util::sync::CancellationToken;

use super::super::body::Reply;
use super::super::exchange::BROKEN_BODY;
use super::super::inbound::Inbound;
use super::super::tunnel::Switch;
use super::super::{Forwarder, Returned, Returning};
use super::{Ask, Call};
use crate::error::GatewayError;
use crate::permit::{Permit, Plan};
use crate::record::{Pending, Record};
use crate::request::Conn;
use crate::target::SandboxId;

impl Forwarder {
    /// Forwards one request to the sandbox API. It fails where the body is not what its route takes, or the upstream
    /// does.
    ///
    /// # Panics
    /// With the task of a request that is seen through, which takes the account of it along.
    pub fn control(
        &self,
        permit: Permit,
        mut request: Box<Request<Inbound>>,
        conn: Arc<Conn>,
        mut pending: Pending,
    ) -> Returning {
        let asked = self.inner.directory.now();
        let starts = match permit.plan() {
            Plan::Control(control) => {
                let (permit, client_left) = (&permit, None);
                Ask { forwarder: self, permit, control, asked, client_left }.may_start()
            }
            Plan::Own | Plan::Data(_) => false,
        };
        let forwarder = self.clone();
        let switch = permit.tunnels().then(|| Switch::asked_by(&mut request)).flatten();
        // Tells that nobody waits any more, where that is not the end of the request.
        let left = starts.then(CancellationToken::new);
        let client_left = left.clone();
        let going: Returning = Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let client_left = client_left.as_ref();
            let result = match permit.plan() {
                Plan::Control(control) => {
                    let (forwarder, permit) = (&forwarder, &permit);
                    let ask = Ask { forwarder, permit, control, asked, client_left };
                    let (head, request_id) = (&mut head, pending.request_id());
                    ask.forward(Call { head, body, request_id, conn: &conn, switch }).await
                }
                Plan::Own | Plan::Data(_) => Err(GatewayError::Internal),
            };
            // That a body breaks off with its client is no refusal.
            if !(client_left.is_some_and(CancellationToken::is_cancelled)
                && matches!(&result, Err(error) if *error == BROKEN_BODY))
            {
                note(pending.record(), &result);
            }
            Returned { result, pending }
        });
        let Some(left) = left else { return going };
        // Once sent, it goes on when the client leaves: otherwise nobody would know whether it started a sandbox, and
        // whose that is. So does the account of it.
        let open = self.inner.tunnels.open.clone();
        Box::pin(async move {
            let _client = left.drop_guard();
            match open.spawn(going).await {
                Ok(returned) => returned,
                // A task is cancelled with its runtime alone, and that takes whoever waits along.
                Err(ended) => match ended.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    Err(_) => std::future::pending().await,
                },
            }
        })
    }
}

/// The sandbox that an answer tells of, among the answer's extensions: for requests that name none, as creates do.
#[derive(Clone, Debug)]
pub(super) struct About(pub(super) SandboxId);

/// Notes what came of a request, whether anybody waits for the answer or not.
fn note(record: &mut Record, result: &Result<Response<Reply>, GatewayError>) {
    match result {
        Ok(response) => {
            record.status = Some(response.status());
            if let (None, Some(About(id))) = (&record.sandbox, response.extensions().get()) {
                record.sandbox = Some(id.clone());
            }
        }
        Err(error) => record.error = Some(error.clone()),
    }
}
