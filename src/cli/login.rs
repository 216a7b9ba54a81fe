//! `login`: checks a token against its gateway and stores both.

use serde_json::Value;

use super::args::ClientOptions;
use super::credentials::Login;
use super::output::{complain, visible};
use super::token::Access;
use super::{Exit, Failure, client};
use crate::config::Sources;

/// Stores a token that the gateway accepts.
pub(super) fn run(options: &ClientOptions, sources: &Sources) -> Result<Exit, Failure> {
    let access = Access::given(options, sources)?;
    let answer = client::whoami(&access)?;
    if answer.get("authenticated") != Some(&Value::Bool(true)) {
        let message = format!("{}: is open and asks for no token; nothing was stored", access.url);
        return Err(Failure::new(Exit::Failed, message));
    }
    let tenant = answer.get("tenantID").and_then(Value::as_str).map(visible).unwrap_or_default();
    let login = Login { url: access.url.to_string(), token: access.token };
    let path = login.save(sources)?;
    complain(&format!("logged in to {} as {tenant}; stored in {}", login.url, path.display()));
    Ok(Exit::Done)
}
