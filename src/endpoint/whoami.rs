//! `GET /auth/whoami`: tells a caller who the gateway takes it for.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Who;
use crate::caller::Caller;
use crate::principal::{Principal, Scopes, Source};
use crate::proxy::usage::{Glance, Usages};

/// The answer. Nothing in it is secret, and nothing of the key is in it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WhoAmI {
    authenticated: bool,
    #[serde(rename = "tenantID")]
    tenant: Option<String>,
    #[serde(flatten)]
    key: Option<Key>,
    scopes: Vec<&'static str>,
    effective_scopes: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    name: Option<String>,
    #[serde(rename = "keyID")]
    id: String,
    source: &'static str,
    credential: Option<&'static str>,
    expires_at: Option<String>,
    limits: Limits,
}

/// Null stands for no limit, and for a count that nobody keeps.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    max_sandboxes: Option<u32>,
    active_sandboxes: Option<usize>,
}

pub(super) async fn whoami(Who(caller): Who, State(usages): State<Usages>) -> Json<WhoAmI> {
    let (principal, source, credential) = match &caller {
        Caller::Open | Caller::Anonymous => return Json(nobody(&caller)),
        Caller::Key(principal, kind) => (principal, principal.source, Some(kind.name())),
        Caller::Token(principal, _) | Caller::Signature(principal, _) => {
            (principal, Source::SandboxToken, None)
        }
    };
    let Glance { limit, active } = usages.glance(principal).await;
    let limits = Limits { max_sandboxes: limit, active_sandboxes: active };
    Json(somebody(principal, caller.scopes(), source, credential, limits))
}

fn nobody(caller: &Caller) -> WhoAmI {
    WhoAmI {
        authenticated: false,
        tenant: None,
        key: None,
        scopes: Vec::new(),
        effective_scopes: caller.scopes().names().collect(),
    }
}

fn somebody(
    principal: &Principal,
    scopes: Scopes,
    source: Source,
    credential: Option<&'static str>,
    limits: Limits,
) -> WhoAmI {
    WhoAmI {
        authenticated: true,
        tenant: Some(principal.tenant.to_string()),
        key: Some(Key {
            name: principal.name.as_deref().map(str::to_owned),
            id: principal.key.to_string(),
            source: source.name(),
            credential,
            expires_at: principal.expires.map(|at| at.to_string()),
            limits,
        }),
        scopes: scopes.names().collect(),
        effective_scopes: scopes.effective().names().collect(),
    }
}
