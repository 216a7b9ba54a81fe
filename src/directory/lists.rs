//! What lists tell: whose a sandbox is, and nothing else of it. What was told of a sandbox alone counts for more.

use std::future::Future;
use std::sync::Arc;

use super::{Asked, Directory, Entry, Moment, Owner, Unavailable};
use crate::principal::TenantId;
use crate::sandbox::{Marker, Sandbox, State};
use crate::target::SandboxId;

impl Directory {
    /// As [`Self::find`], where it only matters whose the sandbox is: the record may tell nothing else.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn whose<F: Future<Output = Asked>>(
        &self,
        id: &SandboxId,
        ask: impl Fn() -> F,
    ) -> Result<Entry, Unavailable> {
        match self.listed(id) {
            Some(listed) => Ok(Entry::Known(listed)),
            None => self.find(id, ask).await,
        }
    }

    /// What only a list told.
    pub(super) fn listed(&self, id: &SandboxId) -> Option<Arc<Sandbox>> {
        let owner = self.owners.get(id).filter(|owner| self.is_current(id, owner.since))?;
        if self.remembers(id) {
            return None;
        }
        Some(Arc::new(Sandbox {
            id: id.clone(),
            tenant: Some(owner.tenant),
            marker: Marker::Untold,
            state: State::Unknown,
            ends: None,
            envd_token: None,
            traffic_token: None,
        }))
    }

    /// Takes over from a list that was asked for at `asked` whom a sandbox's marker names. What was told of it alone
    /// counts for more.
    pub fn learn_owner(&self, id: &SandboxId, tenant: &TenantId, asked: Moment) {
        let is_known = |owner: Owner| owner.tenant == *tenant && self.is_current(id, owner.since);
        if self.is_current(id, asked) && !self.owners.get(id).is_some_and(is_known) {
            self.owners.insert(id.clone(), Owner { tenant: tenant.clone(), since: asked });
        }
    }
}
