//! The record in memory: whose each sandbox is, which are the oldest, and which of a tenant's may have no marker.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::principal::TenantId;
use crate::target::SandboxId;

#[derive(Debug, Default)]
pub(super) struct Records {
    by_id: HashMap<SandboxId, Owned>,
    /// Ids by their order, oldest first.
    by_age: BTreeMap<u64, SandboxId>,
    /// Those of each tenant, by their order, that nobody has seen with a marker yet.
    doubtful: HashMap<TenantId, BTreeSet<u64>>,
    next: u64,
}

#[derive(Debug)]
struct Owned {
    tenant: TenantId,
    /// Whether this process made it with a marker.
    marked: bool,
    order: u64,
}

impl Records {
    pub(super) fn bind(&mut self, id: SandboxId, tenant: TenantId, marked: bool, capacity: usize) {
        self.release(&id);
        while self.by_id.len() >= capacity
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.release(&oldest);
        }
        let order = self.next;
        self.next += 1;
        self.by_age.insert(order, id.clone());
        self.doubtful.entry(tenant.clone()).or_default().insert(order);
        self.by_id.insert(id, Owned { tenant, marked, order });
    }

    /// Whether there was such a sandbox.
    pub(super) fn release(&mut self, id: &SandboxId) -> bool {
        self.settle(id);
        let Some(owned) = self.by_id.remove(id) else { return false };
        self.by_age.remove(&owned.order);
        true
    }

    /// Whose a sandbox is, and whether this process made it with a marker.
    pub(super) fn owner(&self, id: &SandboxId) -> Option<(&TenantId, bool)> {
        self.by_id.get(id).map(|owned| (&owned.tenant, owned.marked))
    }

    /// Takes note that a sandbox may have no marker.
    pub(super) fn doubt(&mut self, id: &SandboxId) {
        if let Some(owned) = self.by_id.get(id) {
            self.doubtful.entry(owned.tenant.clone()).or_default().insert(owned.order);
        }
    }

    /// Takes back [`Self::doubt`].
    pub(super) fn settle(&mut self, id: &SandboxId) {
        if let Some(owned) = self.by_id.get(id)
            && let Some(doubtful) = self.doubtful.get_mut(&owned.tenant)
        {
            doubtful.remove(&owned.order);
            if doubtful.is_empty() {
                self.doubtful.remove(&owned.tenant);
            }
        }
    }

    /// Some of a tenant's sandboxes that may have no marker, newest first.
    pub(super) fn doubtful(&self, tenant: &TenantId, most: usize) -> Vec<SandboxId> {
        let orders = self.doubtful.get(tenant).into_iter().flatten().rev().take(most);
        orders.filter_map(|order| self.by_age.get(order).cloned()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Every sandbox, oldest first, whose it is, and whether this process made it with a marker.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&SandboxId, &TenantId, bool)> {
        let owned = self.by_age.values().filter_map(|id| Some((id, self.by_id.get(id)?)));
        owned.map(|(id, owned)| (id, &owned.tenant, owned.marked))
    }
}
