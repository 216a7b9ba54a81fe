//! `whoami`: asks a gateway who a token belongs to.

use serde_json::Value;

use super::args::ClientOptions;
use super::output::{print, rows};
use super::token::Access;
use super::{Exit, Failure, client};
use crate::config::Sources;

/// Prints the answer, as JSON or for people.
pub(super) fn run(options: &ClientOptions, sources: &Sources) -> Result<Exit, Failure> {
    let answer = client::whoami(&Access::find(options, sources)?)?;
    if options.json {
        return Ok(print(&format!("{answer}\n")));
    }
    Ok(print(&rows(&describe(&answer))))
}

/// The answer's fields in words.
pub(super) fn describe(answer: &Value) -> Vec<(&'static str, String)> {
    let known = answer.get("authenticated").and_then(Value::as_bool).unwrap_or(false);
    let mut lines =
        vec![("authenticated", if known { "yes" } else { "no, the gateway is open" }.to_owned())];
    for (label, field) in [
        ("tenant", "tenantID"),
        ("name", "name"),
        ("key", "keyID"),
        ("scopes", "scopes"),
        ("effective scopes", "effectiveScopes"),
        ("source", "source"),
        ("expires", "expiresAt"),
    ] {
        let text = match answer.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(items)) if !items.is_empty() => {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
            }
            Some(_) | None => continue,
        };
        lines.push((label, text));
    }
    lines.extend(answer.get("limits").and_then(sandboxes).map(|text| ("active sandboxes", text)));
    lines
}

/// How many sandboxes the tenant has and may have, as far as either is known.
fn sandboxes(limits: &Value) -> Option<String> {
    let number = |name| limits.get(name).and_then(Value::as_u64);
    match (number("activeSandboxes"), number("maxSandboxes")) {
        (Some(active), Some(most)) => Some(format!("{active} of {most}")),
        (Some(active), None) => Some(active.to_string()),
        (None, Some(most)) => Some(format!("at most {most}")),
        (None, None) => None,
    }
}
