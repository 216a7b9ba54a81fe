//! Requests that may start sandboxes: room is made for them right before they are sent, and how they ended is told.
//!
//! What is held and not told about is in doubt, which a listing of the upstream decides. So every way out of here that
//! says nothing, a panic too, is a safe one.

use http::{HeaderMap, StatusCode};

use super::super::edit;
use super::Ask;
use super::repeat::IDEMPOTENCY_KEY;
use crate::caller::Caller;
use crate::directory::Unavailable;
use crate::error::GatewayError;
use crate::principal::TenantId;
use crate::quota::{Reservation, Start};
use crate::route::Effect;
use crate::sandbox::Sandbox;
use crate::target::SandboxId;

impl Ask<'_> {
    /// Whether the request may start a sandbox that counts. Such a request is seen through to its end even when its
    /// client leaves, so that its outcome is known.
    pub(super) fn may_start(&self) -> bool {
        self.creates() && !matches!(self.permit.caller(), Caller::Open | Caller::Anonymous)
    }

    /// Makes room for what the request may start. `head` is as it is sent, `sent` the body where it has to be read.
    /// `None` where nothing counts: what belongs to nobody has no limit.
    ///
    /// # Errors
    /// There is no room, or it cannot be found out whether there is.
    pub(super) async fn reserve(
        &self,
        head: &HeaderMap,
        sent: &[u8],
    ) -> Result<Option<Reservation>, GatewayError> {
        let Some(principal) = self.permit.caller().principal().filter(|_| self.may_start()) else {
            return Ok(None);
        };
        let effect = self.permit.route().map_or(Effect::None, |route| route.effect);
        let named;
        let (tenant, start) = match effect {
            Effect::PlusOne => {
                let mut keys = head.get_all(IDEMPOTENCY_KEY).iter();
                let key = keys.next().and_then(|key| key.to_str().ok());
                // The first generation of the API knows no such keys: every repeat starts another.
                let dialects = &self.forwarder.inner.upstreams.dialects;
                let key = key.filter(|_| !dialects.only_v1());
                (principal.tenant.clone(), Start::One(key))
            }
            Effect::PlusOneIfStarted | Effect::PlusN => {
                named = match self.named_sandbox().await {
                    Ok(named) => named,
                    Err(Unavailable) if self.forwarder.inner.admissions.limits.is_empty() => None,
                    Err(Unavailable) => return Err(GatewayError::QuotaUnknown),
                };
                // What nobody has, nothing can start.
                let Some(sandbox) = &named else { return Ok(None) };
                let Some(tenant) = sandbox.tenant.clone() else { return Ok(None) };
                if effect == Effect::PlusN {
                    (tenant, Start::Several(edit::fork_count(sent)?))
                } else {
                    (tenant, Start::Existing(&sandbox.id))
                }
            }
            Effect::None | Effect::End => return Ok(None),
        };
        let admissions = &self.forwarder.inner.admissions;
        let limit = admissions.limit(principal, &tenant);
        let asker = self.forwarder.asker();
        match admissions.admit(&asker, &tenant, limit, start).await {
            // What is not there can't be started, and is no matter of room.
            Err(GatewayError::QuotaExceeded { .. })
                if let Start::Existing(id) = start
                    && asker.ask(id).await == Ok(None) =>
            {
                Err(GatewayError::SandboxNotFound)
            }
            admitted => admitted.map(Some),
        }
    }

    /// The sandbox that the path names, also where the caller did not have to show that it is its own.
    pub(super) async fn named_sandbox(&self) -> Result<Option<Sandbox>, Unavailable> {
        if let Some(sandbox) = &self.control.sandbox {
            return Ok(Some(Sandbox::clone(sandbox)));
        }
        let Some(id) = self.control.named.as_ref() else { return Ok(None) };
        let asker = self.forwarder.asker();
        let found = self.forwarder.inner.directory.find(id, || asker.ask(id)).await?;
        Ok(found.known().map(|sandbox| Sandbox::clone(&sandbox)))
    }

    /// Tells the ledger of a request that certainly started nothing, and keeps what is held otherwise.
    pub(super) async fn unless_refused(
        &self,
        held: Option<Reservation>,
        status: StatusCode,
    ) -> Option<Reservation> {
        // Some answer so when a request took too long, and go on with it.
        let gave_up = matches!(status.as_u16(), 408 | 499);
        if status.is_client_error() && !gave_up {
            release(held).await;
            return None;
        }
        held
    }

    /// The sandbox that the request ends, where it may count. A caller who did not have to show whose it is may end any.
    pub(super) async fn ended(&self) -> Option<Owned> {
        if self.permit.route()?.effect != Effect::End {
            return None;
        }
        let known = self.control.sandbox.is_some();
        let counts = !self.forwarder.inner.admissions.limits.is_empty();
        self.permit.caller().principal().filter(|_| known || counts)?;
        let Sandbox { id, tenant, .. } = Box::pin(self.named_sandbox()).await.ok()??;
        Some(Owned { id, tenant: tenant? })
    }

    /// Tells the ledger that a sandbox is gone.
    pub(super) async fn note_end(&self, ended: Option<Owned>) {
        if let Some(Owned { id, tenant }) = ended {
            // Not noted, it counts until the next listing.
            let _ = self.forwarder.inner.admissions.ledger.ended(&tenant, &id).await;
        }
    }
}

/// A sandbox and whose it is.
pub(super) struct Owned {
    id: SandboxId,
    tenant: TenantId,
}

/// The request started nothing.
pub(super) async fn release(held: Option<Reservation>) {
    if let Some(held) = held {
        // Not noted, it is in doubt.
        let _ = held.release().await;
    }
}

/// The request started these, or found them running.
pub(super) async fn bind(held: Option<Reservation>, ids: &[SandboxId]) {
    if let Some(held) = held {
        let _ = held.bind(ids).await;
    }
}

/// What an exchange came to, with what is held for it. A request that was not sent started nothing.
pub(super) async fn learn<T>(
    held: Option<Reservation>,
    exchanged: Result<T, GatewayError>,
) -> Result<(T, Option<Reservation>), GatewayError> {
    match exchanged {
        Ok(answer) => Ok((answer, held)),
        Err(error) => {
            if matches!(error, GatewayError::UpstreamUnreachable { unknown_outcome: false }) {
                release(held).await;
            }
            Err(error)
        }
    }
}
