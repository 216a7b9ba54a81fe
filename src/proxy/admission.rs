//! Whether a tenant may start another sandbox: asks the ledger, and the upstream where the ledger has to know more.
//!
//! Everything that may start one passes through [`Admissions::admit`] right before it is sent; what it holds then tells
//! the ledger how it ended.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;

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
    /// How many each tenant may have, and how a request above that is answered; a reload changes it.
    pub rules: ArcSwap<Rules>,
    /// When to list.
    pub cadence: Cadence,
    /// What lists.
    pub census: Census,
    /// Who admits, once that is another process.
    pub elsewhere: Elsewhere,
}

/// Another process that admits in this one's place.
pub trait Admits: Send + Sync {
    /// As [`Admissions::admit`]. `None`: it does not admit (any more).
    fn admit<'a>(
        &'a self,
        tenant: &'a TenantId,
        limit: Option<u32>,
        start: Start<'a>,
    ) -> BoxFuture<'a, Option<Result<Reservation, NotAdmitted>>>;
}

/// Why another process did not admit a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotAdmitted {
    /// There is no room under this limit.
    AtLimit(u32),
    /// It cannot tell.
    Unknown,
}

/// Whoever that is; nobody as long as this process admits.
#[derive(Default)]
pub struct Elsewhere(Mutex<Option<Arc<dyn Admits>>>);

impl Elsewhere {
    /// From now on this is who.
    pub fn set(&self, admits: Option<Arc<dyn Admits>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = admits;
    }

    fn get(&self) -> Option<Arc<dyn Admits>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Elsewhere")
    }
}

/// What is said of tenants' numbers of sandboxes.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How many each tenant may have.
    pub limits: Limits,
    /// How a request above the limit is answered.
    pub over_quota: OverQuota,
}

impl Admissions {
    /// Whether no tenant is limited, whatever a principal's own limit may be.
    #[must_use]
    pub fn limits_nobody(&self) -> bool {
        self.rules.load().limits.is_empty()
    }

    /// The limit that `principal` meets when it starts sandboxes of `tenant`.
    #[must_use]
    pub fn limit(&self, principal: &Principal, tenant: &TenantId) -> Option<u32> {
        let own = principal.max_sandboxes.filter(|_| principal.tenant == *tenant);
        self.rules.load().limits.meeting(tenant, own)
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
                Admission::Moved => {
                    match self.elsewhere(tenant, limit, start).await {
                        Some(admitted) => return admitted,
                        // It comes back if the other process did not start.
                        None => listings.next().ok_or(GatewayError::QuotaUnknown)?,
                    };
                    continue;
                }
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
            let (tenant, limit, status) = (tenant.clone(), at.limit, self.rules.load().over_quota);
            return Err(GatewayError::QuotaExceeded { tenant, limit, status });
        }
    }

    async fn elsewhere(
        &self,
        tenant: &TenantId,
        limit: Option<u32>,
        start: Start<'_>,
    ) -> Option<Result<Reservation, GatewayError>> {
        let elsewhere = self.elsewhere.get()?;
        let admitted = elsewhere.admit(tenant, limit, start).await?;
        Some(admitted.map_err(|why| match why {
            NotAdmitted::AtLimit(limit) => GatewayError::QuotaExceeded {
                tenant: tenant.clone(),
                limit,
                status: self.rules.load().over_quota,
            },
            NotAdmitted::Unknown => GatewayError::QuotaUnknown,
        }))
    }
}
