//! The command line's grammar.
//!
//! Flags of settings stand before or after the commands that take them.

mod audit;
mod explain;
mod settings;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::Exit;
use super::output::complain;
use crate::config::{Sources, is_unsupported_flag};
use crate::secret::Secret;
pub(super) use audit::AuditOptions;
pub(super) use explain::{CallerOption, ExplainOptions};
use settings::{attach_switches, setting_flags, with_settings};

/// The settings that `demo` takes; it chooses all others itself.
const DEMO_FLAGS: [&str; 3] = ["listen", "envd-listen", "log"];

/// What to do.
#[derive(Debug)]
pub(super) enum Verb {
    /// Run the daemon.
    Serve,
    /// Load the settings and say what is wrong with them.
    Check {
        /// Whether the services that the settings name are asked too.
        live: bool,
    },
    /// Run the gateway and a simulated sandbox API.
    Demo(DemoOptions),
    /// Print the route table.
    Routes {
        /// As JSON.
        json: bool,
    },
    /// Say which rule decides a request.
    Explain(ExplainOptions),
    /// Print the digest of a key.
    HashKey,
    /// Ask a gateway who one is.
    Whoami(ClientOptions),
    /// Read the audit log, or prove it.
    Audit(AuditOptions),
    /// Store a token.
    Login(ClientOptions),
    /// Forget it.
    Logout,
    /// Print shell completions.
    Completions(Shell),
    /// Print the manual page, or write all pages.
    Man {
        /// Where to write them.
        out: Option<PathBuf>,
    },
}

/// Options of `demo`, less the settings.
#[derive(Debug)]
pub(super) struct DemoOptions {
    /// Whether sandboxes run real commands on this machine.
    pub(super) local_processes: bool,
}

/// Options of the client-side commands.
#[derive(Debug)]
pub(super) struct ClientOptions {
    /// The gateway.
    pub(super) url: Option<String>,
    /// Where the token is, when the command line says so.
    pub(super) token: Option<TokenOption>,
    /// Whether to print JSON.
    pub(super) json: bool,
}

/// A token on the command line, or the place of one.
#[derive(Debug)]
pub(super) enum TokenOption {
    /// `--token`
    Inline(Secret),
    /// `--token-file`
    File(PathBuf),
    /// `--token-stdin`
    Stdin,
}

/// A command line, understood.
pub(super) struct Invocation {
    /// What to do.
    pub(super) verb: Verb,
    /// The settings' flags, and the environment.
    pub(super) sources: Sources,
}

impl Invocation {
    /// Reads a command line, the program's name first.
    pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = command().try_get_matches_from(attach_switches(args))?;
        let mut flags = setting_flags(&matches);
        let (name, inner) = matches.subcommand().unwrap_or(("serve", &matches));
        let verb = match name {
            "check" => Verb::Check { live: inner.get_flag("live") },
            "demo" => {
                Verb::Demo(DemoOptions { local_processes: inner.get_flag("allow-local-processes") })
            }
            "routes" => Verb::Routes { json: inner.get_flag("json") },
            "explain" => Verb::Explain(ExplainOptions::of(inner)),
            "hash-key" => Verb::HashKey,
            "whoami" => Verb::Whoami(client_options(inner)),
            "audit" => Verb::Audit(AuditOptions::of(inner)),
            "login" => Verb::Login(client_options(inner)),
            "logout" => Verb::Logout,
            "completions" => {
                Verb::Completions(inner.get_one("shell").copied().unwrap_or(Shell::Bash))
            }
            "man" => Verb::Man { out: inner.get_one("out").cloned() },
            _ => Verb::Serve,
        };
        flags.extend(setting_flags(inner));
        let takes = |flag: &str| match &verb {
            Verb::Serve | Verb::Check { .. } | Verb::Explain(_) => true,
            Verb::Demo(_) => DEMO_FLAGS.contains(&flag),
            Verb::Routes { .. }
            | Verb::HashKey
            | Verb::Whoami(_)
            | Verb::Audit(_)
            | Verb::Login(_)
            | Verb::Logout
            | Verb::Completions(_)
            | Verb::Man { .. } => false,
        };
        if let Some(flag) = flags.keys().find(|flag| !takes(flag)) {
            let message = format!("--{flag} means nothing to '{name}'\n");
            return Err(command().error(ErrorKind::ArgumentConflict, message));
        }
        Ok(Self { verb, sources: Sources::of_process(flags) })
    }
}

/// The whole grammar; completions and the manual page come from it too.
#[must_use]
pub fn command() -> Command {
    let program = Command::new("coppice-gateway")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .after_help(
            "Exit codes: 0 ok, 1 refused or failed, 2 not found, 64 usage, 78 bad configuration.",
        )
        .max_term_width(110)
        .subcommand(with_settings(Command::new("serve").about("Run the gateway; the default")))
        .subcommand(with_settings(
            Command::new("check")
                .about("Load every setting and file, print all problems, start nothing")
                .arg(Arg::new("live").long("live").action(ArgAction::SetTrue).help(
                    "Also ask the upstream, and the auth callback with a credential made up for it",
                )),
        ))
        .subcommand(demo())
        .subcommand(
            Command::new("routes")
                .about("Print the route table")
                .arg(json_arg("Print it as a JSON array")),
        )
        .subcommand(with_settings(explain::grammar()))
        .subcommand(
            Command::new("hash-key")
                .about("Read a key on standard input, print sha256:<hex> for a keys file"),
        )
        .subcommand(
            with_client_options(
                Command::new("whoami").about("Ask a gateway who a token belongs to"),
            )
            .arg(json_arg("Print the answer as JSON")),
        )
        .subcommand(audit::grammar())
        .subcommand(with_client_options(
            Command::new("login")
                .about("Check a token and store it for the commands that need one"),
        ))
        .subcommand(Command::new("logout").about("Forget the stored token"))
        .subcommand(Command::new("completions").about("Print a shell's completions").arg(
            Arg::new("shell").required(true).value_name("SHELL").value_parser(value_parser!(Shell)),
        ))
        .subcommand(
            Command::new("man").about("Print the manual page, or write all pages").arg(
                Arg::new("out")
                    .long("out")
                    .value_name("DIR")
                    .value_parser(value_parser!(PathBuf))
                    .help(
                        "Write a page for the program, for each command and for the settings there",
                    ),
            ),
        );
    with_settings(program)
}

fn demo() -> Command {
    Command::new("demo")
        .about("Run the gateway on loopback before a simulated sandbox API, with sample keys")
        .after_help(
            "No other setting applies: neither the environment nor a settings file is read.",
        )
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDR")
                .help("Where the gateway listens [default: 127.0.0.1:3000]"),
        )
        .arg(
            Arg::new("envd-listen")
                .long("envd-listen")
                .value_name("ADDR[=LABEL]")
                .help("A listener of its own for the data plane, as serve takes it"),
        )
        .arg(
            Arg::new("log").long("log").value_name("FILTER").help("What is logged [default: warn]"),
        )
        .arg(
            Arg::new("allow-local-processes")
                .long("allow-local-processes")
                .action(ArgAction::SetTrue)
                .help(
                    "Run the sandboxes' commands on this machine, as you and without any isolation",
                ),
        )
}

fn json_arg(help: &'static str) -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help(help)
}

fn with_client_options(command: Command) -> Command {
    let url = Arg::new("url")
        .long("url")
        .value_name("URL")
        .value_parser(NonEmptyStringValueParser::new())
        .help("The gateway [env: COPPICE_URL] [default: http://127.0.0.1:3000]");
    let help = "The token itself; it shows in the list of processes [env: COPPICE_TOKEN, then E2B_API_KEY]";
    with_token_options(command.arg(url), help)
}

fn with_token_options(command: Command, help: &'static str) -> Command {
    command
        .arg(
            Arg::new("token")
                .long("token")
                .value_name("TOKEN")
                .value_parser(NonEmptyStringValueParser::new())
                .help(help),
        )
        .arg(
            Arg::new("token-file")
                .long("token-file")
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .help("A file that holds the token"),
        )
        .arg(
            Arg::new("token-stdin")
                .long("token-stdin")
                .action(ArgAction::SetTrue)
                .help("Read the token from standard input"),
        )
        .group(ArgGroup::new("token-source").args(["token", "token-file", "token-stdin"]))
}

fn token_option(matches: &ArgMatches) -> Option<TokenOption> {
    let inline =
        matches.get_one::<String>("token").cloned().map(Secret::new).map(TokenOption::Inline);
    let file = || matches.get_one::<PathBuf>("token-file").cloned().map(TokenOption::File);
    let stdin = || matches.get_flag("token-stdin").then_some(TokenOption::Stdin);
    inline.or_else(file).or_else(stdin)
}

fn client_options(matches: &ArgMatches) -> ClientOptions {
    ClientOptions {
        url: matches.get_one::<String>("url").cloned(),
        token: token_option(matches),
        json: matches.try_get_one::<bool>("json").ok().flatten().copied().unwrap_or(false),
    }
}

/// Prints what the parser has to say: help, or what is wrong. A stray word is not repeated, since it may be a key that
/// somebody took for an argument; only what looks like a mistyped command is.
pub(super) fn report(error: &clap::Error) -> Exit {
    let kind = error.kind();
    let word = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) => Some(word.as_str()),
        Some(_) | None => None,
    };
    if kind == ErrorKind::UnknownArgument
        && let Some(flag) = word.and_then(|word| word.strip_prefix("--"))
        && is_unsupported_flag(flag)
    {
        complain(&format!("error: --{flag}: is not supported by this version"));
        return Exit::Config;
    }
    let stray = kind == ErrorKind::UnknownArgument
        && word.is_some_and(|word| !word.starts_with('-'))
        || kind == ErrorKind::InvalidSubcommand
            && error.get(ContextKind::SuggestedSubcommand).is_none();
    if stray {
        complain("error: unexpected argument\n\nFor more information, try '--help'.");
        return Exit::Usage;
    }
    match (kind, error.print()) {
        (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, Ok(())) => Exit::Done,
        _ => Exit::Usage,
    }
}

#[cfg(test)]
mod tests;
