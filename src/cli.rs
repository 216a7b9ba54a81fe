//! The command line: what the words mean, and which command they start.
//!
//! Results go to standard output, everything else to standard error. Nothing here prints a key or a token, but for the
//! keys that `demo` makes up.

mod args;
mod audit;
mod check;
mod client;
mod completions;
mod credentials;
mod demo;
mod explain;
mod hash_key;
mod login;
mod logout;
mod man;
mod output;
mod routes;
mod serve;
mod token;
mod whoami;

use std::ffi::OsString;
use std::process::ExitCode;

pub use args::command;

use args::{Invocation, Verb};

use crate::daemon::Program;

/// How a command ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Done.
    Done,
    /// Refused or failed.
    Failed,
    /// What was asked about is not there.
    NotFound,
    /// Called wrongly.
    Usage,
    /// Bad configuration.
    Config,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::NotFound => 2,
            Exit::Usage => 64,
            Exit::Config => 78,
        })
    }
}

/// Why a command did not get done: one line for the user, and how to end.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

/// Runs the command that `args` (the program's name first) ask for.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let (file, arguments) = args
        .split_first()
        .map_or_else(Default::default, |(file, rest)| (file.clone(), rest.to_vec()));
    let Invocation { verb, sources } = match Invocation::parse(args) {
        Ok(invocation) => invocation,
        Err(error) => return args::report(&error).into(),
    };
    let result = match verb {
        Verb::Serve => serve::run(&sources, Program { file, arguments }),
        Verb::Check { live } => Ok(check::run(&sources, live)),
        Verb::Demo(options) => demo::run(&options, &sources),
        Verb::Routes { json } => Ok(routes::run(json)),
        Verb::Explain(options) => explain::run(&options, &sources),
        Verb::HashKey => hash_key::run(),
        Verb::Whoami(options) => whoami::run(&options, &sources),
        Verb::Audit(options) => audit::run(&options, &sources),
        Verb::Login(options) => login::run(&options, &sources),
        Verb::Logout => logout::run(&sources),
        Verb::Completions(shell) => Ok(completions::run(shell)),
        Verb::Man { out } => man::run(out.as_deref()),
    };
    let exit = result.unwrap_or_else(|failure| {
        output::complain(&format!("error: {}", failure.message));
        failure.exit
    });
    exit.into()
}
