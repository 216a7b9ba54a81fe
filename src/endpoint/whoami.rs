//! `GET /auth/whoami`: tells a caller who the gateway takes it for.

use axum::Json;
use serde::Serialize;

use super::Who;
use crate::caller::Caller;
use crate::principal::{Principal, Scopes, Source};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Limits>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    max_sandboxes: u32,
}

pub(super) async fn whoami(Who(caller): Who) -> Json<WhoAmI> {
    Json(match &caller {
        Caller::Open | Caller::Anonymous => nobody(&caller),
        Caller::Key(principal, kind) => {
            somebody(principal, caller.scopes(), principal.source, Some(kind.name()))
        }
        Caller::Token(principal, _) | Caller::Signature(principal, _) => {
            somebody(principal, caller.scopes(), Source::SandboxToken, None)
        }
    })
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
            limits: principal.max_sandboxes.map(|max_sandboxes| Limits { max_sandboxes }),
        }),
        scopes: scopes.names().collect(),
        effective_scopes: scopes.effective().names().collect(),
    }
}
