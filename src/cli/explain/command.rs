//! The command `explain`: takes the question from the command line, and what it depends on from the settings.

use super::quota::Tenancy;
use super::{Caller, Question, explain};
use crate::cli::args::{CallerOption, ExplainOptions, TokenOption};
use crate::cli::output::{complain, print};
use crate::cli::token::read_token;
use crate::cli::{Exit, Failure};
use crate::clock::UnixTime;
use crate::config::{Decisive, Sources};
use crate::keys::KeyDigest;
use crate::route::{Listener, Router};
use crate::token::Claims;

/// Prints the explanation.
pub(in crate::cli) fn run(options: &ExplainOptions, sources: &Sources) -> Result<Exit, Failure> {
    let settings = match Decisive::load(sources) {
        Ok((settings, warnings)) => {
            for warning in warnings {
                complain(&format!("warning: {warning}"));
            }
            settings
        }
        Err(problems) => {
            complain(&problems.to_string());
            return Ok(Exit::Config);
        }
    };
    let caller = match &options.caller {
        CallerOption::Token(token) => holder_of(token, &settings)?,
        CallerOption::Scopes { tenant, scopes } => {
            Caller::Key { tenant: tenant.as_ref(), scopes: *scopes }
        }
        CallerOption::Unsaid if settings.is_open => Caller::Open,
        CallerOption::Unsaid => Caller::Nobody,
    };
    let question = Question {
        method: &options.method,
        path: &options.path,
        host: options.host.as_deref(),
        listener: Listener::Control { one_port: settings.one_port },
        domain: settings.domain.as_ref(),
        caller,
        tenancy: Tenancy { settings: &settings.tenants, origins: &settings.limit_origins },
    };
    let explanation = explain(&Router::new(), &question);
    let printed =
        print(&if options.json { explanation.render_json() } else { explanation.to_string() });
    Ok(if explanation.is_allowed() { printed } else { Exit::Failed })
}

/// Whose key a token is, or who would be asked.
fn holder_of<'s>(token: &TokenOption, settings: &'s Decisive) -> Result<Caller<'s>, Failure> {
    let fail = |message: &str| Err(Failure::new(Exit::Failed, message));
    let token = read_token(token)?;
    if settings.keys.is_empty() && settings.callback.is_none() {
        return fail("no keys are configured to look the token up in; give --scopes instead");
    }
    if Claims::parse(token.expose()).is_some() {
        return fail("that is a sandbox token; give the key that it was made for");
    }
    let Some(holder) = settings.keys.find(&KeyDigest::of(token.expose().as_bytes())) else {
        return match &settings.callback {
            Some(callback) => Ok(Caller::Unknown(&callback.url)),
            None => fail("the token is none of the configured keys"),
        };
    };
    if !holder.is_valid_at(UnixTime::now()) {
        let dates = [(holder.not_before(), "from"), (holder.expires(), "until")];
        let dates = dates.iter().filter_map(|(at, word)| at.map(|at| format!(" {word} {at}")));
        let message = format!(
            "the key {} of tenant {} is not valid now, only{}",
            holder.id(),
            holder.tenant(),
            dates.collect::<String>()
        );
        return Err(Failure::new(Exit::Failed, message));
    }
    Ok(Caller::Key { tenant: Some(holder.tenant()), scopes: holder.scopes() })
}
