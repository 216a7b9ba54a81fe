//! `DELETE /auth/callback/…`: forgets what the auth callback said.
//!
//! Both are about this process: replicas are told one by one.

use std::io;
use std::sync::Arc;

use axum::extract::{Path, State};
use http::StatusCode;

use super::{OwnError, Who};
use crate::authn::Authenticator;
use crate::callback::Callback;
use crate::error::GatewayError;
use crate::principal::KeyId;

/// `DELETE /auth/callback/cache`: every remembered answer. Tokens and streams go on.
pub(super) async fn flush(
    Who(_): Who,
    State(authenticator): State<Arc<Authenticator>>,
) -> Result<StatusCode, OwnError> {
    let callback = authenticator.callback().ok_or(OwnError(GatewayError::NotFound))?;
    callback.flush();
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /auth/callback/principals/{keyID}`: one principal, with its sandbox tokens and open streams.
pub(super) async fn purge(
    Who(caller): Who,
    State(authenticator): State<Arc<Authenticator>>,
    Path(key): Path<String>,
) -> Result<StatusCode, OwnError> {
    let callback = authenticator.callback().ok_or(OwnError(GatewayError::NotFound))?;
    let by = caller.principal().map(|principal| principal.key.to_string());
    let id = KeyId::new(&key);
    if !Callback::is_principal(&id) {
        return Err(OwnError(GatewayError::NotFound));
    }
    let callback = Arc::clone(callback);
    // It may write a file.
    let purged = tokio::task::spawn_blocking(move || callback.purge(&id)).await;
    match purged.unwrap_or_else(|failed| Err(io::Error::other(failed))) {
        Ok(was_live) => {
            tracing::info!(key, by, was_live, "a principal of the auth callback was purged");
            Ok(StatusCode::NO_CONTENT)
        }
        Err(cause) => {
            tracing::error!(%cause, "a purge could not be recorded: it is in force until a restart");
            Err(OwnError(GatewayError::Internal))
        }
    }
}
