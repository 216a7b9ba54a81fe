//! How much of its limit a tenant uses, for those who ask.
//!
//! Reads the ledger, and lists where it does not know or may have missed something. Reserves nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::admission::Admissions;
use super::lookup::Asker;
use crate::clock;
use crate::directory::Unavailable;
use crate::error::GatewayError;
use crate::principal::{Principal, TenantId};
use crate::quota::{LedgerUnavailable, Standing};

/// Tells what is used, on behalf of one worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Usages {
    admissions: Arc<Admissions>,
    asker: Asker,
}

/// What a tenant uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Whose it is.
    pub tenant: TenantId,
    /// Sandboxes running or paused.
    pub active: usize,
    /// Places held for requests whose outcome is not known yet.
    pub pending: usize,
    /// How many the two may come to; none: any number.
    pub limit: Option<u32>,
}

/// What is known of a principal's tenant without asking anybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Glance {
    /// The limit that the principal meets.
    pub limit: Option<u32>,
    /// Sandboxes running or paused, where they are counted.
    pub active: Option<usize>,
}

impl Usages {
    /// Over what admits.
    #[must_use]
    pub const fn new(admissions: Arc<Admissions>, asker: Asker) -> Self {
        Self { admissions, asker }
    }

    /// What the principal's tenant uses, no older than what a refusal would rest on.
    ///
    /// # Errors
    /// [`GatewayError::QuotaUnknown`]: the ledger or the upstream could not be asked.
    pub async fn of(&self, principal: &Principal) -> Result<Usage, GatewayError> {
        let (admissions, tenant) = (&self.admissions, &principal.tenant);
        let mut standing = self.standing(tenant).await?;
        let active = match counted(&standing) {
            Some(active) if !self.is_old(&standing) => active,
            Some(_) | None => {
                let listed = admissions.census.take(&self.asker, tenant).await;
                let listed = listed.map_err(|Unavailable| GatewayError::QuotaUnknown)?;
                standing = self.standing(tenant).await?;
                counted(&standing).unwrap_or(listed)
            }
        };
        let limit = admissions.limit(principal, tenant);
        Ok(Usage { tenant: tenant.clone(), active, pending: standing.pending, limit })
    }

    /// What every tenant uses that has a limit of its own, has sandboxes, or asked for some lately, and the one of the
    /// principal that asks; in the order of their names. The upstream is listed once for all of them.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub async fn of_all(&self, principal: Option<&Principal>) -> Result<Vec<Usage>, GatewayError> {
        let Admissions { ledger, rules, census, .. } = &*self.admissions;
        let rules = rules.load();
        let listed = census.take_all(&self.asker).await;
        let listed = listed.map_err(|Unavailable| GatewayError::QuotaUnknown)?;
        let standings = ledger.standings(clock::instant()).await;
        let standings: HashMap<TenantId, Standing> = standings
            .map_err(|LedgerUnavailable| GatewayError::QuotaUnknown)?
            .into_iter()
            .collect();
        let own = principal.map(|principal| &principal.tenant);
        let tenants: BTreeSet<&TenantId> =
            rules.limits.named().chain(listed.keys()).chain(standings.keys()).chain(own).collect();
        let usage = |tenant: &TenantId| {
            let standing = standings.get(tenant).copied().unwrap_or_default();
            let listed = listed.get(tenant).copied().unwrap_or_default();
            Usage {
                tenant: tenant.clone(),
                active: counted(&standing).unwrap_or(listed),
                pending: standing.pending,
                limit: match principal.filter(|principal| principal.tenant == *tenant) {
                    Some(principal) => self.admissions.limit(principal, tenant),
                    None => rules.limits.of(tenant),
                },
            }
        };
        Ok(tenants.into_iter().map(usage).collect())
    }

    /// What can be said of the principal's tenant at once.
    pub async fn glance(&self, principal: &Principal) -> Glance {
        let standing = self.standing(&principal.tenant).await.ok();
        Glance {
            limit: self.admissions.limit(principal, &principal.tenant),
            active: standing.and_then(|standing| counted(&standing)),
        }
    }

    async fn standing(&self, tenant: &TenantId) -> Result<Standing, GatewayError> {
        let standing = self.admissions.ledger.standing(tenant).await;
        standing.map_err(|LedgerUnavailable| GatewayError::QuotaUnknown)
    }

    fn is_old(&self, standing: &Standing) -> bool {
        self.admissions.cadence.before_refusing(standing.listed, clock::instant())
    }
}

/// How many sandboxes the ledger counts, where it does: those of a limited tenant that was listed.
const fn counted(standing: &Standing) -> Option<usize> {
    if standing.is_limited && standing.listed.is_some() { Some(standing.active) } else { None }
}
