//! The settings as flags, built from their table.
//!
//! Their values stay text here: loading judges them together with environment and file.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{SETTINGS, Setting, Shape};

/// Adds every setting to a command.
pub(super) fn with_settings(command: Command) -> Command {
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
        Some("audit") => "Audit",
        Some("log") => "Logging",
        Some(_) | None => "Serving",
    }
}

/// The settings' flags that were given; repeated lists become one.
pub(super) fn setting_flags(matches: &ArgMatches) -> BTreeMap<String, String> {
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
pub(super) fn attach_switches(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
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
