//! What counts against the tenants' limits, for as many tenants as one scrape should name.
//!
//! A tenant that was named once stays named, so that its line does not come and go; those that found no place any more
//! are added up as `other`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::exposition::{Exposition, Kind};
use crate::clock;
use crate::principal::TenantId;
use crate::quota::{Ledger, Standing};

/// Most tenants named.
const NAMED: usize = 200;
/// Who all the others are. A tenant of this name is one of them.
const OTHER: &str = "other";
/// Longest wait for the ledger.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells what a tenant may have at the moment.
type InForce = dyn Fn(&TenantId) -> Option<u32> + Send + Sync;

/// Reads the ledger.
pub struct Quotas {
    ledger: Arc<dyn Ledger>,
    limits: Box<InForce>,
    named: Mutex<BTreeSet<TenantId>>,
}

impl Quotas {
    /// Of this ledger, under the limits that are told.
    #[must_use]
    pub fn new(
        ledger: Arc<dyn Ledger>,
        limits: impl Fn(&TenantId) -> Option<u32> + Send + Sync + 'static,
    ) -> Self {
        Self { ledger, limits: Box::new(limits), named: Mutex::default() }
    }

    /// Writes it out; nothing while the ledger can't tell.
    pub(super) async fn write(&self, into: &mut Exposition) {
        let asked = self.ledger.standings(clock::instant());
        let Ok(Ok(standings)) = tokio::time::timeout(PATIENCE, asked).await else { return };
        let (named, other) = self.shown(standings);
        let help = "Sandboxes that count against a tenant's limit, slots held for more included.";
        let mut active = into.family("quota_active", Kind::Gauge, help);
        for (tenant, count) in &named {
            active.sample(&[("tenant", tenant.as_str())], *count);
        }
        active.sample(&[("tenant", OTHER)], other);
        let help = "Sandboxes that a tenant may have at once.";
        let mut limit = into.family("quota_limit", Kind::Gauge, help);
        for (tenant, _) in &named {
            if let Some(cap) = (self.limits)(tenant) {
                limit.sample(&[("tenant", tenant.as_str())], cap.into());
            }
        }
    }

    /// The tenants that are named with what counts for each, and what counts for all others.
    fn shown(&self, mut standings: Vec<(TenantId, Standing)>) -> (Vec<(TenantId, u64)>, u64) {
        standings.sort_by(|(a, of_a), (b, of_b)| count(of_b).cmp(&count(of_a)).then(a.cmp(b)));
        let mut places = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        for (tenant, _) in &standings {
            if places.len() < NAMED && tenant.as_str() != OTHER {
                places.insert(tenant.clone());
            }
        }
        let (named, others): (Vec<_>, Vec<_>) =
            standings.into_iter().partition(|(tenant, _)| places.contains(tenant));
        let other = others.iter().map(|(_, standing)| count(standing)).sum();
        let mut named: Vec<_> =
            named.into_iter().map(|(tenant, standing)| (tenant, count(&standing))).collect();
        // Whoever has nothing left is forgotten by the ledger, but not by those who watch.
        let gone: Vec<_> =
            places.iter().filter(|place| !named.iter().any(|(own, _)| own == *place)).collect();
        named.extend(gone.into_iter().map(|tenant| (tenant.clone(), 0)).collect::<Vec<_>>());
        named.sort_unstable();
        (named, other)
    }
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quotas").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

fn count(standing: &Standing) -> u64 {
    (standing.active + standing.pending) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::{GRACE, MemoryLedger, Policy};

    fn standing(active: usize) -> Standing {
        Standing { active, ..Standing::default() }
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    #[test]
    fn however_many_tenants_there_are_only_some_are_named() {
        let ledger = MemoryLedger::new(Policy { grace: GRACE, honours_keys: true });
        let quotas = Quotas::new(Arc::new(ledger), |_| None);
        let many = |range: std::ops::Range<usize>| {
            range.map(|number| (tenant(&format!("t-{number}")), standing(number + 1))).collect()
        };
        let (named, other) = quotas.shown(many(0..1_000));
        assert_eq!(named.len(), NAMED);
        assert!(named.iter().all(|(_, count)| *count > 800), "the largest");
        assert_eq!(other, (1..=800).sum::<u64>());
        // They stay, also those that have nothing any more; newcomers are others.
        let (later, other) = quotas.shown(many(900..1_100));
        let names = |of: &[(TenantId, u64)]| -> Vec<_> {
            of.iter().map(|(tenant, _)| tenant.clone()).collect()
        };
        assert_eq!(names(&later), names(&named));
        assert_eq!(later.iter().filter(|(_, count)| *count == 0).count(), 100);
        assert_eq!(other, (1_001..=1_100).sum::<u64>());
    }

    #[test]
    fn a_tenant_called_other_is_one_of_the_others() {
        let ledger = MemoryLedger::new(Policy { grace: GRACE, honours_keys: true });
        let quotas = Quotas::new(Arc::new(ledger), |_| None);
        let (named, other) =
            quotas.shown(vec![(tenant("other"), standing(3)), (tenant("a"), standing(1))]);
        assert_eq!((named, other), (vec![(tenant("a"), 1)], 3));
    }
}
