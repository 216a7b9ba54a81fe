//! When to list a tenant's sandboxes again.
//!
//! Pure: says when, and leaves it to others to wait, to ask the upstream and to share one listing among many requests.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Standing;
use crate::principal::TenantId;

/// How often to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cadence {
    /// While an outcome is in doubt.
    pub in_doubt: Duration,
    /// While sandboxes count that may end by themselves.
    pub routine: Duration,
    /// How old a listing may be on which a request is refused for want of room.
    pub refusal: Duration,
}

impl Default for Cadence {
    /// What ended, and what is in doubt under the default grace, is settled within 30 seconds.
    fn default() -> Self {
        Self {
            in_doubt: Duration::from_secs(2),
            routine: Duration::from_secs(25),
            refusal: Duration::from_secs(1),
        }
    }
}

impl Cadence {
    /// When the next listing of a tenant is due, given when the last was begun, whatever came of it. `None` while there
    /// is nothing to learn: nobody counts, or nothing does.
    #[must_use]
    pub fn next(
        &self,
        standing: &Standing,
        last: Option<Instant>,
        now: Instant,
    ) -> Option<Instant> {
        let interval = match standing {
            Standing { in_doubt: 1.., .. } => self.in_doubt,
            Standing { active: 1.., is_limited: true, .. } => self.routine,
            _ => return None,
        };
        Some(last.map_or(now, |last| last + interval))
    }

    /// Whose listing is due, those first that wait longest. `begun` is when their last ones were begun in vain.
    #[must_use]
    pub fn due(
        &self,
        standings: Vec<(TenantId, Standing)>,
        begun: &HashMap<TenantId, Instant>,
        now: Instant,
    ) -> Vec<TenantId> {
        let mut due = Vec::new();
        for (tenant, standing) in standings {
            let last = begun.get(&tenant).copied().max(standing.listed);
            due.extend(self.next(&standing, last, now).map(|at| (at, tenant)));
        }
        due.retain(|(at, _)| *at <= now);
        due.sort_unstable_by_key(|(at, _)| *at);
        due.into_iter().map(|(_, tenant)| tenant).collect()
    }

    /// Whether a request that found no room deserves a listing before it is refused. `listed` is when the listing began
    /// that the refusal would rest on.
    #[must_use]
    pub fn before_refusing(&self, listed: Option<Instant>, now: Instant) -> bool {
        listed.is_none_or(|listed| now.saturating_duration_since(listed) >= self.refusal)
    }
}
