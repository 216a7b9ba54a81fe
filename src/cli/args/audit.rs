//! The grammar of `audit`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{ClientOptions, client_options, json_arg, with_client_options};

/// One of the commands of `audit`.
#[derive(Debug)]
pub(in crate::cli) enum AuditOptions {
    /// Ask a gateway for events.
    Query {
        /// Which gateway.
        client: ClientOptions,
        /// Which events: parameters of the endpoint.
        filters: Vec<(&'static str, String)>,
        /// How many, and in which order.
        page: Vec<(&'static str, String)>,
    },
    /// Ask for the newest.
    Tail {
        /// Which gateway.
        client: ClientOptions,
        /// Which events.
        filters: Vec<(&'static str, String)>,
        /// How many.
        count: u16,
        /// Whether to go on with those to come.
        follow: bool,
    },
    /// Hold journal files against their chain.
    Verify {
        /// The files, in any order.
        files: Vec<PathBuf>,
        /// Whether to print JSON.
        json: bool,
    },
}

/// Flags that choose events; the parameter of the endpoint, the value's name, the help.
const FILTERS: [(&str, &str, &str, &str); 5] = [
    ("tenant", "tenantID", "TENANT", "Only events of this tenant"),
    ("outcome", "outcome", "allowed|denied|error", "Only events that ended so"),
    ("path-prefix", "pathPrefix", "PATH", "Only events whose path begins so"),
    ("key-id", "keyID", "ID", "Only events of this key"),
    ("request-id", "requestID", "ID", "Only the event of this request"),
];
/// The same where there is an end to them.
const TIMES: [(&str, &str, &str, &str); 2] = [
    ("since", "since", "TIME", "Only events of this time (RFC 3339) and later"),
    ("until", "until", "TIME", "Only events before this time (RFC 3339)"),
];

impl AuditOptions {
    /// Reads them off a parsed command line.
    pub(super) fn of(matches: &ArgMatches) -> Self {
        let (name, inner) = matches.subcommand().unwrap_or(("verify", matches));
        let number = |flag: &str| inner.get_one::<u64>(flag).map(u64::to_string);
        match name {
            "query" => {
                let limit = inner.get_one::<u16>("limit").map(u16::to_string);
                let asc = inner.get_flag("order-asc").then(|| "true".to_owned());
                let page = [("limit", limit), ("offset", number("offset")), ("orderAsc", asc)];
                let page = page.into_iter().filter_map(|(name, value)| Some((name, value?)));
                let mut filters = chosen(inner, &FILTERS);
                filters.extend(chosen(inner, &TIMES));
                Self::Query { client: client_options(inner), filters, page: page.collect() }
            }
            "tail" => Self::Tail {
                client: client_options(inner),
                filters: chosen(inner, &FILTERS),
                count: inner.get_one("lines").copied().unwrap_or(10),
                follow: inner.get_flag("follow"),
            },
            _ => Self::Verify {
                files: inner.get_many::<PathBuf>("files").into_iter().flatten().cloned().collect(),
                json: inner.get_flag("json"),
            },
        }
    }
}

fn chosen(
    matches: &ArgMatches,
    flags: &[(&'static str, &'static str, &str, &str)],
) -> Vec<(&'static str, String)> {
    let given = flags.iter().map(|(flag, name, ..)| (*name, matches.get_one::<String>(flag)));
    given.filter_map(|(name, value)| Some((name, value?.clone()))).collect()
}

fn filters(flags: &[(&'static str, &'static str, &'static str, &'static str)]) -> Vec<Arg> {
    let arg = |(flag, _, value, help): &(&'static str, &str, &'static str, &'static str)| {
        let parser = NonEmptyStringValueParser::new();
        Arg::new(*flag).long(*flag).value_name(*value).value_parser(parser).help(*help)
    };
    flags.iter().map(arg).collect()
}

/// The command.
pub(super) fn grammar() -> Command {
    let limit = || value_parser!(u16).range(1..=500);
    let query = Command::new("query")
        .about("Ask a gateway for audit events, the newest first")
        .args(filters(&FILTERS))
        .args(filters(&TIMES))
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("N")
                .value_parser(limit())
                .help("How many [default: 100]"),
        )
        .arg(
            Arg::new("offset")
                .long("offset")
                .value_name("N")
                .value_parser(value_parser!(u64))
                .help("How many to pass over first"),
        )
        .arg(
            Arg::new("order-asc")
                .long("order-asc")
                .action(ArgAction::SetTrue)
                .help("The oldest first"),
        )
        .arg(json_arg("Print the answer as JSON"));
    let tail = Command::new("tail")
        .about("Print a gateway's newest audit events, the newest last")
        .args(filters(&FILTERS))
        .arg(
            Arg::new("lines")
                .long("lines")
                .short('n')
                .value_name("N")
                .value_parser(limit())
                .help("How many [default: 10]"),
        )
        .arg(
            Arg::new("follow")
                .long("follow")
                .short('f')
                .action(ArgAction::SetTrue)
                .help("Go on with events as they happen"),
        )
        .arg(json_arg("Print each event as a line of JSON"));
    let verify = Command::new("verify")
        .about("Tell whether journal files are as the gateway wrote them, and which line is not")
        .after_help(
            "Rotated files of one journal may be given together, in any order. Beside each FILE its FILE.head is \
             read. Exit code 0 when all are intact, 1 when one is not, 2 when one is not there.",
        )
        .arg(
            Arg::new("files")
                .required(true)
                .num_args(1..)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(json_arg("Print the findings as JSON"));
    Command::new("audit")
        .about("Read the audit log, or prove that nobody changed it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_client_options(query))
        .subcommand(with_client_options(tail))
        .subcommand(verify)
}
