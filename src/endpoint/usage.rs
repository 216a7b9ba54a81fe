//! `GET /auth/usage`: how many sandboxes a tenant has, and how many it may have.
//!
//! For an admin, and for anybody at an open gateway, that is a list of tenants; for others their own.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::{OwnError, Who};
use crate::principal::Scope;
use crate::proxy::usage::{self, Usages};

/// One tenant's usage. `activeSandboxes` are running or paused; `pending` counts too.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    #[serde(rename = "tenantID")]
    tenant: String,
    active_sandboxes: usize,
    pending: usize,
    max_sandboxes: Option<u32>,
}

impl From<usage::Usage> for Usage {
    fn from(usage: usage::Usage) -> Self {
        Self {
            tenant: usage.tenant.to_string(),
            active_sandboxes: usage.active,
            pending: usage.pending,
            max_sandboxes: usage.limit,
        }
    }
}

pub(super) async fn usage(
    Who(caller): Who,
    State(usages): State<Usages>,
) -> Result<Response, OwnError> {
    let principal = caller.principal();
    match principal.filter(|_| !caller.scopes().allows(Scope::Admin)) {
        Some(principal) => {
            let usage = usages.of(principal).await.map_err(OwnError)?;
            Ok(Json(Usage::from(usage)).into_response())
        }
        None => {
            let all = usages.of_all(principal.map(AsRef::as_ref)).await.map_err(OwnError)?;
            Ok(Json(all.into_iter().map(Usage::from).collect::<Vec<_>>()).into_response())
        }
    }
}
