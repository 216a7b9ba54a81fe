//! Whether a tenant may start another sandbox: asks the ledger, and the upstream where the ledger has to know more.
//!
//! Everything that may start one passes through [`Admissions::admit`] right before it is sent; what it holds then tells
//! the ledger how it ended.

use std::sync::Arc;
use std::time::Duration;

use super::census::Census;
use super::lookup::Asker;
use crate::clock;
use crate::directory::Unavailable;
use crate::error::{GatewayError, OverQuota};
use crate::limits::Limits;
use crate::principal::{Principal, TenantId};
use crate::quota::{Admission, Ask, Cadence, Ledger, LedgerUnavailable, Reservation, Start};

/// How long a repeat waits for the first request under its `Idempotency-Key`, and how often it looks.
const LONGEST_REPEAT: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(50);
/// How often the ledger may ask for a listing before one request is decided.
const LISTINGS: usize = 3;

/// What admits, shared by all workers.
#[derive(Debug)]
pub struct Admissions {
    /// Where sandboxes are counted.
    pub ledger: Arc<dyn Ledger>,
    /// How many each tenant may have.
    pub limits: Limits,
    /// How a request above the limit is answered.
    pub over_quota: OverQuota,
    /// When to list.
    pub cadence: Cadence,
    /// What lists.
    pub census: Census,
}

impl Admissions {
    /// The limit that `principal` meets when it starts sandboxes of `tenant`.
    #[must_use]
    pub fn limit(&self, principal: &Principal, tenant: &TenantId) -> Option<u32> {
        let own = principal.max_sandboxes.filter(|_| principal.tenant == *tenant);
        self.limits.meeting(tenant, own)
    }

    /// Makes room for what a request may start.
    ///
    /// # Errors
    /// [`GatewayError::QuotaExceeded`]; or it cannot be found out, and then nothing may be started either.
    pub async fn admit(
        &self,
        asker: &Asker,
        tenant: &TenantId,
        limit: Option<u32>,
        start: Start<'_>,
    ) -> Result<Reservation, GatewayError> {
        let mut listings = 0..LISTINGS;
        let waits_until = clock::instant() + LONGEST_REPEAT;
        loop {
            let now = clock::instant();
            let admission = self.ledger.reserve(Ask { tenant, limit, start, now }).await;
            let at = match admission.map_err(|LedgerUnavailable| GatewayError::QuotaUnknown)? {
                Admission::Admitted(reservation) => return Ok(reservation),
                Admission::Unlisted => {
                    let listed = self.census.take(asker, tenant).await;
                    listed.map_err(|Unavailable| GatewayError::QuotaUnknown)?;
                    listings.next().ok_or(GatewayError::QuotaUnknown)?;
                    continue;
                }
                Admission::Busy if now < waits_until => {
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
                Admission::Busy => return Err(GatewayError::QuotaUnknown),
                Admission::AtLimit(at) => at,
            };
            // Something may have ended since. If the upstream cannot be asked, what is known stands.
            if start.most() <= at.limit
                && self.cadence.before_refusing(at.listed, now)
                && listings.next().is_some()
                && self.census.take(asker, tenant).await.is_ok()
            {
                continue;
            }
            tracing::debug!(%tenant, limit = at.limit, count = at.count, "at the limit");
            let (tenant, limit) = (tenant.clone(), at.limit);
            return Err(GatewayError::QuotaExceeded { tenant, limit, status: self.over_quota });
        }
    }
}
