//! The command line's grammar, built from the table of settings.
//!
//! Flags of settings stand before or after `serve` and `check`. Their values stay text: settings loading judges them
//! together with environment and file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::Exit;
use super::output::complain;
use crate::config::{SETTINGS, Setting, Shape, Sources};
use crate::secret::Secret;

/// What to do.
#[derive(Debug)]
pub(super) enum Verb {
    /// Run the daemon.
    Serve,
    /// Load the settings and say what is wrong with them.
    Check,
    /// Print the digest of a key.
    HashKey,
    /// Ask a gateway who one is.
    Whoami(ClientOptions),
    /// Store a token.
    Login(ClientOptions),
    /// Forget it.
    Logout,
    /// Print shell completions.
    Completions(Shell),
    /// Print the manual page.
    Man,
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
            "check" => Verb::Check,
            "hash-key" => Verb::HashKey,
            "whoami" => Verb::Whoami(client_options(inner)),
            "login" => Verb::Login(client_options(inner)),
            "logout" => Verb::Logout,
            "completions" => {
                Verb::Completions(inner.get_one("shell").copied().unwrap_or(Shell::Bash))
            }
            "man" => Verb::Man,
            _ => Verb::Serve,
        };
        if matches!(verb, Verb::Serve | Verb::Check) {
            flags.extend(setting_flags(inner));
        } else if let Some(flag) = flags.keys().next() {
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
                .about("Load every setting and file, print all problems, start nothing"),
        ))
        .subcommand(
            Command::new("hash-key")
                .about("Read a key on standard input, print sha256:<hex> for a keys file"),
        )
        .subcommand(
            with_client_options(
                Command::new("whoami").about("Ask a gateway who a token belongs to"),
            )
            .arg(
                Arg::new("json")
                    .long("json")
                    .action(ArgAction::SetTrue)
                    .help("Print the answer as JSON"),
            ),
        )
        .subcommand(with_client_options(
            Command::new("login")
                .about("Check a token and store it for the commands that need one"),
        ))
        .subcommand(Command::new("logout").about("Forget the stored token"))
        .subcommand(Command::new("completions").about("Print a shell's completions").arg(
            Arg::new("shell").required(true).value_name("SHELL").value_parser(value_parser!(Shell)),
        ))
        .subcommand(Command::new("man").about("Print the manual page"));
    with_settings(program)
}

fn with_settings(command: Command) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("PATH")
        .help("Settings file in TOML [env: COPPICE_CONFIG]");
    SETTINGS.iter().fold(command.arg(config), |command, setting| {
        command.args(setting_arg(setting)).args(file_arg(setting))
    })
}

fn setting_arg(setting: &'static Setting) -> Option<Arg> {
    let flag = setting.flag?;
    let default = setting.default.map(|value| format!(" [default: {value}]")).unwrap_or_default();
    let arg = Arg::new(flag)
        .long(flag)
        .value_name(setting.value)
        .help(format!("{} [env: {}]{default}", setting.help, setting.env))
        .help_heading(heading(setting));
    Some(match setting.shape {
        Shape::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("on"),
        Shape::List => arg.action(ArgAction::Append),
        Shape::Text | Shape::Secret | Shape::SecretList => arg,
    })
}

fn file_arg(setting: &'static Setting) -> Option<Arg> {
    let form = setting.file_form()?;
    Some(
        Arg::new(form.flag)
            .long(form.flag)
            .value_name("PATH")
            .help(format!("A file that holds {} [env: {}]", setting.env, form.env))
            .help_heading(heading(setting)),
    )
}

fn heading(setting: &Setting) -> &'static str {
    match setting.key.split('.').next() {
        Some("upstream") => "Upstream",
        Some("auth") => "Authentication",
        Some("log") => "Logging",
        Some(_) | None => "Serving",
    }
}

fn with_client_options(command: Command) -> Command {
    let text = || NonEmptyStringValueParser::new();
    command
        .arg(Arg::new("url").long("url").value_name("URL").value_parser(text()).help(
            "The gateway [env: COPPICE_URL] [default: http://127.0.0.1:3000]",
        ))
        .arg(Arg::new("token").long("token").value_name("TOKEN").value_parser(text()).help(
            "The token itself; it shows in the list of processes [env: COPPICE_TOKEN, then E2B_API_KEY]",
        ))
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

fn client_options(matches: &ArgMatches) -> ClientOptions {
    let inline =
        matches.get_one::<String>("token").cloned().map(Secret::new).map(TokenOption::Inline);
    let file = || matches.get_one::<PathBuf>("token-file").cloned().map(TokenOption::File);
    let stdin = || matches.get_flag("token-stdin").then_some(TokenOption::Stdin);
    ClientOptions {
        url: matches.get_one::<String>("url").cloned(),
        token: inline.or_else(file).or_else(stdin),
        json: matches.try_get_one::<bool>("json").ok().flatten().copied().unwrap_or(false),
    }
}

/// The settings' flags that were given; repeated lists become one.
fn setting_flags(matches: &ArgMatches) -> BTreeMap<String, String> {
    let mut flags = BTreeMap::new();
    let of_settings = SETTINGS.iter().flat_map(|setting| {
        setting.flag.into_iter().chain(setting.file_form().map(|form| form.flag))
    });
    for flag in of_settings.chain(["config"]) {
        if let Ok(Some(values)) = matches.try_get_many::<String>(flag) {
            let values: Vec<&str> = values.map(String::as_str).collect();
            flags.insert(flag.to_owned(), values.join(","));
        }
    }
    flags
}

/// Turns `--one-port off` into `--one-port=off`: switches take their value with an equals sign only, so that
/// `--allow-open serve` stays a switch and a command.
fn attach_switches(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut attached: Vec<OsString> = Vec::new();
    for arg in args {
        let is_value = matches!(arg.to_str(), Some("on" | "off" | "true" | "false" | "1" | "0"));
        match attached.last_mut() {
            Some(last) if is_value && is_switch(last) => {
                last.push("=");
                last.push(arg);
            }
            Some(_) | None => attached.push(arg),
        }
    }
    attached
}

fn is_switch(arg: &OsString) -> bool {
    let flag = arg.to_str().and_then(|arg| arg.strip_prefix("--"));
    flag.is_some_and(|flag| {
        SETTINGS.iter().any(|setting| setting.shape == Shape::Switch && setting.flag == Some(flag))
    })
}

/// Prints what the parser has to say: help, or what is wrong. A stray word is not repeated, since it may be a key that
/// somebody took for an argument; only what looks like a mistyped command is.
pub(super) fn explain(error: &clap::Error) -> Exit {
    let kind = error.kind();
    let is_word = matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(word)) if !word.starts_with('-'));
    let stray = kind == ErrorKind::UnknownArgument && is_word
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
mod tests {
    use super::*;

    fn flags(args: &[&str]) -> BTreeMap<String, String> {
        let args = ["coppice-gateway"].iter().chain(args).map(OsString::from);
        Invocation::parse(args).map(|invocation| invocation.sources.flags).expect("understood")
    }

    #[test]
    fn the_grammar_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_after_the_command() {
        for args in [
            &["--upstream", "u"][..],
            &["serve", "--upstream", "u"],
            &["--upstream=u", "serve"],
            &["--upstream", "x", "check", "--upstream", "u"],
        ] {
            assert_eq!(flags(args)["upstream"], "u", "{args:?}");
        }
        assert_eq!(flags(&["--listen", "a", "--listen", "b,c"])["listen"], "a,b,c");
        assert_eq!(flags(&["--secret-file", "f"])["secret-file"], "f");
        assert_eq!(flags(&["--domain", ""])["domain"], "");
    }

    #[test]
    fn switches_take_a_value_or_none() {
        for (args, value) in [
            (&["--allow-open"][..], "on"),
            (&["--allow-open", "serve"], "on"),
            (&["--allow-open=off"], "off"),
            (&["--allow-open", "off", "check"], "off"),
            (&["--allow-open="], ""),
            (&["--allow-open", "--workers", "1"], "on"),
        ] {
            assert_eq!(flags(args)["allow-open"], value, "{args:?}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for args in [
            &["frobnicate"][..],
            &["--frobnicate"],
            &["--upstream"],
            &["--domain", "a", "--domain", "b"],
            &["--listen", "a", "whoami"],
            &["whoami", "--token", "a", "--token-stdin"],
            &["whoami", "--token", ""],
            &["completions", "cmd"],
            &["hash-key", "canary"],
            &["--api-keys", "a:b:c"],
            &["--secret", "x"],
        ] {
            let args = ["coppice-gateway"].iter().chain(args).map(OsString::from);
            assert!(Invocation::parse(args.clone()).is_err(), "{:?}", args.collect::<Vec<_>>());
        }
    }
}
