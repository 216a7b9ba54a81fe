//! `config/gateway.example.toml` is generated from the table of settings.
//!
//! `UPDATE_GOLDEN=1 cargo test example_file` writes it anew.

use std::fmt::Write as _;

use super::given;
use crate::config::{FileForm, PAIRS, SETTINGS, Setting, Shape};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/gateway.example.toml");

const HEAD: &str = "\
# Settings of coppice-gateway: every key, with its default. Keys without a default are commented out, and so are those
# that mean nothing until another is set.
#
# A flag overrules an environment variable, and that overrules this file. An unknown key is an error, and so is a value
# that is empty or malformed. Lists are arrays, or texts with commas. Durations are whole numbers with ms, s, m or h.
# Check a file with: coppice-gateway check --config FILE
";

fn example() -> String {
    let mut text = HEAD.to_owned();
    let mut table = "";
    for setting in SETTINGS {
        let (section, name) = setting.key.rsplit_once('.').unwrap();
        if section != table {
            text += &pairs(table);
            write!(text, "\n[{section}]\n").unwrap();
            table = section;
        }
        text += "\n";
        for line in wrap(setting.help).into_iter().chain(wrap(&spellings(setting))) {
            writeln!(text, "# {line}").unwrap();
        }
        let waits = section == "auth.callback"
            || matches!(setting.key, "audit.policy" | "audit.sync" | "server.tls_client_auth");
        let mark = if setting.default.is_none() || waits { "# " } else { "" };
        let shown = value(setting, setting.default.unwrap_or(setting.value));
        writeln!(text, "{mark}{name} = {shown}").unwrap();
    }
    text
}

/// Tables that may stand below this one any number of times.
fn pairs(table: &str) -> String {
    let mut text = String::new();
    for pairs in PAIRS.iter().filter(|pairs| pairs.key.rsplit_once('.').unwrap().0 == table) {
        text += "\n";
        for line in wrap(&format!("{} A reload brings changes into force.", pairs.help)) {
            writeln!(text, "# {line}").unwrap();
        }
        writeln!(text, "# [[{}]]", pairs.key).unwrap();
        for name in pairs.names {
            writeln!(text, "# {name} = \"PATH\"").unwrap();
        }
    }
    text
}

/// The setting's other names.
fn spellings(setting: &Setting) -> String {
    let flag = setting.flag.map(|flag| format!("--{flag}, ")).unwrap_or_default();
    let mut text = format!("{flag}{}.", setting.env);
    if let Some(FileForm { key, flag, env }) = setting.file_form() {
        let name = key.rsplit('.').next().unwrap();
        write!(text, " To read it from a file: {name}, --{flag}, {env}.").unwrap();
    }
    if setting.reload {
        text += " A reload brings changes into force.";
    }
    text
}

fn value(setting: &Setting, text: &str) -> String {
    match setting.shape {
        Shape::Switch if setting.default.is_some() => (text == "on").to_string(),
        Shape::Text if text.parse::<u64>().is_ok() => text.to_owned(),
        Shape::List | Shape::SecretList => format!("[\"{}\"]", text.trim_end_matches(",…")),
        Shape::Text | Shape::Switch | Shape::Secret => {
            format!("\"{}\"", text.trim_end_matches(",…"))
        }
    }
}

fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        if line.is_empty() {
            *line += word;
        } else if line.chars().count() + word.chars().count() < 110 {
            write!(line, " {word}").unwrap();
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[test]
fn the_example_file_is_what_the_table_says() {
    let expected = example();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(PATH, &expected).unwrap();
    }
    assert_eq!(std::fs::read_to_string(PATH).unwrap(), expected);
}

#[test]
fn the_example_file_holds_every_key_once_and_changes_nothing() {
    let text = std::fs::read_to_string(PATH).unwrap();
    let with = given(&[]).toml(&text).loads();
    assert_eq!(format!("{:?}", with.settings), format!("{:?}", given(&[]).loads().settings));
    for setting in SETTINGS {
        let (_, name) = setting.key.rsplit_once('.').unwrap();
        let is_it = |line: &&str| line.trim_start_matches("# ").starts_with(&format!("{name} = "));
        let same_name =
            SETTINGS.iter().filter(|other| other.key.ends_with(&format!(".{name}"))).count();
        assert_eq!(text.lines().filter(is_it).count(), same_name, "{}", setting.key);
    }
}
