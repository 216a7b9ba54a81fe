//! What a request does to its tenant's count of active sandboxes, and which limit it meets there.
//!
//! How much of the limit is used, only a running gateway knows.

use super::{Caller, Ending};
use crate::config::{LimitOrigins, TenantSettings};
use crate::error::{GatewayError, OverQuota};
use crate::limits::Rule;
use crate::principal::{Scope, TenantId};
use crate::route::Effect;

/// What is set about tenants, and where limits were set.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Tenancy<'a> {
    pub(in crate::cli) settings: &'a TenantSettings,
    pub(in crate::cli) origins: &'a LimitOrigins,
}

/// What a request counts for, and against which limit. `None` if it changes no count.
pub(super) fn quota(effect: Effect, caller: Caller<'_>, tenancy: Tenancy<'_>) -> Option<String> {
    let change = match effect {
        Effect::None => return None,
        Effect::End => return Some("one active sandbox less".to_owned()),
        Effect::PlusOne => "one active sandbox more",
        Effect::PlusOneIfStarted => {
            "one active sandbox more, unless it counts already as running or paused"
        }
        Effect::PlusN => "as many active sandboxes more as the body asks for",
    };
    let limits = &tenancy.settings.limits;
    let limit = match caller {
        Caller::Open => "an open gateway limits nobody".to_owned(),
        Caller::Nobody => return None,
        Caller::Unknown(_) => {
            "the limit is the tenant's, or one that the auth callback sets if that is smaller"
                .to_owned()
        }
        Caller::Key { .. } if limits.is_empty() => "no limit is set".to_owned(),
        Caller::Key { tenant, scopes } => {
            // Who can reach other tenants' sandboxes starts them within those tenants' limits.
            let is_own = effect == Effect::PlusOne
                || (tenancy.settings.isolation && !scopes.allows(Scope::Admin));
            match tenant {
                Some(tenant) if is_own => of_tenant(tenant, tenancy),
                None if is_own => "the limit depends on the caller's tenant".to_owned(),
                Some(_) | None => "the limit is that of the sandbox's tenant".to_owned(),
            }
        }
    };
    Some(format!("{change}; {limit}"))
}

fn of_tenant(tenant: &TenantId, tenancy: Tenancy<'_>) -> String {
    let limits = &tenancy.settings.limits;
    let (Some(limit), Some(rule)) = (limits.of(tenant), limits.rule(tenant)) else {
        return format!("no limit for tenant {tenant}");
    };
    let origin = tenancy.origins.of(rule);
    let entry = if rule == Rule::Fallback { ", for *" } else { "" };
    format!("limit of {limit} active sandboxes for tenant {tenant} ({origin}{entry})")
}

/// The refusal of a create whose tenant may have no sandbox at all, which needs no counting.
pub(super) fn refusal(
    effect: Effect,
    tenant: Option<&TenantId>,
    settings: &TenantSettings,
) -> Option<Ending> {
    let tenant = tenant.filter(|_| effect == Effect::PlusOne)?;
    let limit = settings.limits.of(tenant).filter(|limit| *limit == 0)?;
    let status = OverQuota::from(settings.quota_status);
    let error = GatewayError::QuotaExceeded { tenant: tenant.clone(), limit, status };
    Some(Ending::refused(error.answer().status.as_u16(), error.sentence()))
}
