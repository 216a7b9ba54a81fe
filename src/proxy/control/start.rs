//! Requests that may start sandboxes: room is made for them right before they are sent, and how they ended is told.
//!
//! What is held and not told about is in doubt, which a listing of the upstream decides. So every way out of here that
//! says nothing, a panic too, is a safe one.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::super::edit;
use super::super::exchange::BROKEN_BODY;
use super::Ask;
use super::repeat::IDEMPOTENCY_KEY;
use crate::caller::Caller;
use crate::directory::{Asked, Unavailable};
use crate::error::GatewayError;
use crate::principal::{Principal, TenantId};
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
                    // Whoever may have a limit has to be counted.
                    Err(Unavailable) if self.nobody_is_limited(principal) => None,
                    Err(Unavailable) => return Err(GatewayError::QuotaUnknown),
                };
                // What nobody has, nothing can start.
                let Some(sandbox) = &named else { return Ok(None) };
                let (tenant, start) = if effect == Effect::PlusN {
                    (self.heir(sandbox), Start::Several(edit::fork_count(sent)?))
                } else {
                    (sandbox.tenant.clone(), Start::Existing(&sandbox.id))
                };
                let Some(tenant) = tenant else { return Ok(None) };
                (tenant, start)
            }
            Effect::None | Effect::End => return Ok(None),
        };
        let admissions = &self.forwarder.inner.admissions;
        let limit = admissions.limit(principal, &tenant);
        let asker = self.forwarder.asker();
        let admitted = tokio::select! {
            biased;
            admitted = admissions.admit(&asker, &tenant, limit, start) => admitted,
            // Nothing was sent, and who waits no more shall not cost anything more.
            () = self.client_left() => return Err(BROKEN_BODY),
        };
        match admitted {
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

    async fn client_left(&self) {
        match self.client_left {
            Some(left) => left.cancelled().await,
            None => std::future::pending().await,
        }
    }

    fn nobody_is_limited(&self, principal: &Principal) -> bool {
        self.forwarder.inner.admissions.limits_nobody() && principal.max_sandboxes.is_none()
    }

    /// The sandbox that the path names, also where the caller did not have to show that it is its own.
    pub(super) async fn named_sandbox(&self) -> Asked {
        if let Some(sandbox) = &self.control.sandbox {
            return Ok(Some(Sandbox::clone(sandbox)));
        }
        let Some(id) = self.control.named.as_ref() else { return Ok(None) };
        let asker = self.forwarder.asker();
        let found = self.forwarder.inner.directory.find(id, || asker.ask(id)).await?;
        Ok(found.known().map(|sandbox| Sandbox::clone(&sandbox)))
    }

    /// The sandbox that the path names, as far as it is known without asking.
    pub(super) async fn known(&self) -> Option<Arc<Sandbox>> {
        if let Some(sandbox) = &self.control.sandbox {
            return Some(Arc::clone(sandbox));
        }
        let named = self.control.named.as_ref()?;
        self.forwarder.inner.directory.known(named)
    }

    /// The sandbox that the request ends, where it may count. A caller who did not have to show whose it is may end any.
    pub(super) async fn ended(&self) -> Option<Owned> {
        if self.permit.route()?.effect != Effect::End {
            return None;
        }
        let known = self.control.sandbox.is_some();
        let counts = !self.forwarder.inner.admissions.limits_nobody();
        self.permit.caller().principal().filter(|_| known || counts)?;
        let Sandbox { id, tenant, .. } = Box::pin(self.named_sandbox()).await.ok()??;
        Some(Owned { id, tenant: tenant? })
    }

    /// Tells the ledger that a sandbox is gone, after a kill that found it or not. An upstream that does not cut
    /// `-<clientID>` answers about that name alone, and the sandbox may live on.
    pub(super) async fn note_end(&self, ended: Option<Owned>) {
        let Some(Owned { id, tenant }) = ended else { return };
        let is_alias = self.control.named.as_ref() != Some(&id);
        if is_alias && !matches!(self.forwarder.asker().ask(&id).await, Ok(None)) {
            return;
        }
        // Not noted, it counts until the next listing.
        let _ = self.forwarder.inner.admissions.ledger.ended(&tenant, &id).await;
    }
}

/// A sandbox and whose it is.
pub(super) struct Owned {
    id: SandboxId,
    tenant: TenantId,
}

/// Tells the ledger of a request that certainly started nothing, and gives what is held back otherwise.
pub(super) async fn unless_refused(
    held: Option<Reservation>,
    status: StatusCode,
) -> Option<Reservation> {
    if refuses(status) {
        release(held).await;
        return None;
    }
    held
}

/// Whether a status says that nothing was started. A server that gave up on a request (Cube answers 408 then, proxies
/// 499) may be at work on it still.
fn refuses(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 408 | 499)
}

/// The request started nothing.
async fn release(held: Option<Reservation>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_is_certain() {
        for (status, certain) in [
            (400, true),
            (404, true),
            (409, true),
            (429, true),
            (408, false),
            (499, false),
            (200, false),
            (302, false),
            (500, false),
            (504, false),
        ] {
            assert_eq!(refuses(StatusCode::from_u16(status).unwrap()), certain, "{status}");
        }
    }
}
