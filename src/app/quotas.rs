//! What counts active sandboxes, and what admits more of them.

use std::fs;
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::{Settings, TenantSettings};
use crate::directory::Directory;
use crate::proxy::admission::{Admissions, Elsewhere, Rules};
use crate::proxy::census::Census;
use crate::quota::{self, Cadence, Ledger, MemoryLedger, OpenSlot, Policy};

/// Where active sandboxes are counted. What was being started when an earlier process was killed is known where there is a
/// state directory; one that is still there hands its `slots` over.
pub(super) fn ledger(
    settings: &Settings,
    slots: Option<Vec<OpenSlot>>,
) -> io::Result<MemoryLedger> {
    let policy = Policy { grace: quota::GRACE, honours_keys: true };
    if let Some(state) = &settings.state_dir {
        fs::create_dir_all(state)?;
    }
    let file = settings.state_dir.as_ref().map(|state| state.join("quota"));
    match (slots, file) {
        (Some(slots), file) => MemoryLedger::inherit(policy, file.as_deref(), slots),
        (None, Some(file)) => MemoryLedger::open(policy, &file),
        (None, None) => Ok(MemoryLedger::new(policy)),
    }
}

/// What admits sandboxes.
pub(super) fn admissions(
    settings: &Settings,
    ledger: MemoryLedger,
    directory: &Directory,
) -> Admissions {
    for (tenant, limit) in settings.tenants.limits.lines() {
        tracing::info!(tenant, limit, "active sandboxes are limited");
    }
    let ledger: Arc<dyn Ledger> = Arc::new(ledger);
    Admissions {
        census: Census::new(Arc::clone(&ledger), directory.clone()),
        ledger,
        rules: ArcSwap::from_pointee(rules(&settings.tenants)),
        cadence: Cadence::default(),
        elsewhere: Elsewhere::default(),
    }
}

/// What is said of tenants' numbers of sandboxes.
pub(super) fn rules(tenants: &TenantSettings) -> Rules {
    Rules { limits: tenants.limits.clone(), over_quota: tenants.quota_status.into() }
}
