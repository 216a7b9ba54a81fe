//! The grammar of `explain`.

use clap::{Arg, ArgMatches, Command};
use http::Method;

use super::{TokenOption, json_arg, token_option, with_token_options};
use crate::principal::{Scope, Scopes, TenantId};

/// A request to explain, less the settings.
#[derive(Debug)]
pub(in crate::cli) struct ExplainOptions {
    /// Its method.
    pub(in crate::cli) method: Method,
    /// Its path.
    pub(in crate::cli) path: String,
    /// Its `Host`.
    pub(in crate::cli) host: Option<String>,
    /// Who makes it.
    pub(in crate::cli) caller: CallerOption,
    /// Whether to print JSON.
    pub(in crate::cli) json: bool,
}

/// Who makes a request to explain.
#[derive(Debug)]
pub(in crate::cli) enum CallerOption {
    /// Not said: whoever sends no credential.
    Unsaid,
    /// The holder of this key.
    Token(TokenOption),
    /// The holder of some key.
    Scopes {
        /// Whose key it is.
        tenant: Option<TenantId>,
        /// What it may do.
        scopes: Scopes,
    },
}

impl ExplainOptions {
    /// Reads them off a parsed command line.
    pub(super) fn of(matches: &ArgMatches) -> Self {
        let caller = match (token_option(matches), matches.get_one::<Scopes>("scopes")) {
            (Some(token), _) => CallerOption::Token(token),
            (None, Some(scopes)) => {
                let tenant = matches.get_one::<TenantId>("tenant").cloned();
                CallerOption::Scopes { tenant, scopes: *scopes }
            }
            (None, None) => CallerOption::Unsaid,
        };
        Self {
            // Both are required; the parser has seen to it.
            method: matches.get_one::<Method>("method").cloned().unwrap_or_default(),
            path: matches.get_one::<String>("path").cloned().unwrap_or_default(),
            host: matches.get_one::<String>("host").cloned(),
            caller,
            json: matches.get_flag("json"),
        }
    }
}

/// The command, less the settings.
pub(super) fn grammar() -> Command {
    let command = Command::new("explain")
        .about("Say which rule decides a request, without a running gateway")
        .after_help(
            "Exit code 0 when the request is allowed, 1 when it is refused. Domain, one-port, keys and auth callback come from the settings, as far as there are any; the callback is not asked, so that what depends on it is undecided, exit code 1.",
        )
        .arg(
            Arg::new("method")
                .required(true)
                .value_name("METHOD")
                .value_parser(|text: &str| text.to_ascii_uppercase().parse::<Method>())
                .help("The request's method, in capitals or not"),
        )
        .arg(
            Arg::new("path")
                .required(true)
                .value_name("PATH")
                .value_parser(absolute_path)
                .help("Its path; a query decides nothing"),
        )
        .arg(
            Arg::new("host")
                .long("host")
                .value_name("HOST")
                .help("Its Host header; without one, some name of the control plane"),
        )
        .arg(
            Arg::new("tenant")
                .long("tenant")
                .value_name("TENANT")
                .requires("scopes")
                .value_parser(TenantId::parse)
                .help("The tenant of the key that it carries"),
        )
        .arg(
            Arg::new("scopes")
                .long("scopes")
                .value_name("SCOPE|SCOPE")
                .conflicts_with("token-source")
                .value_parser(scopes)
                .help("The scopes of that key, separated by | or commas"),
        )
        .arg(json_arg("Print one JSON object"));
    let help = "The key that it carries, looked up among the configured ones; it shows in the list of processes";
    with_token_options(command, help)
}

fn absolute_path(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("a path begins with '/'") }
}

fn scopes(text: &str) -> Result<Scopes, String> {
    let scopes = text.split(['|', ',']).map(|scope| scope.trim().parse::<Scope>());
    scopes.collect::<Result<Scopes, _>>().map_err(|why| why.to_string())
}
