//! `docs/configure/settings.md` is generated from the table of settings.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it docs::settings` writes it anew.

use std::fmt::Write as _;
use std::fs;

use coppice_gateway::config::{SETTINGS, Setting, Shape};

use super::book::root;

const PATH: &str = "docs/configure/settings.md";

const HEAD: &str = "\
# Every setting

<!-- generated: UPDATE_GOLDEN=1 cargo test --test it docs::settings -->

A flag overrules an environment variable, that overrules the TOML file (`--config`, `COPPICE_CONFIG`), and that
overrules the default. A setting that is present but empty or malformed stops the start; it never means \"off\". So do
settings of features that this version does not have. Secrets without a flag have none because it would show in a list
of processes.

Lists are written with commas, or as TOML arrays; a key of `COPPICE_API_KEYS` may stand on a line of its own. Switches
take `on` and `off`, `true` and `false`, `1` and `0`. Times are whole numbers with `ms`, `s`, `m` or `h`; without a unit
they are seconds. What a *reload* brings into force needs no restart: see [the life of the process](../operate/lifecycle.md).

[`config/gateway.example.toml`](../../config/gateway.example.toml) has the same as a file to start from, and
`coppice-gateway check` names everything that is wrong with yours.
";

fn page() -> String {
    let mut text = HEAD.to_owned();
    let mut table = "";
    for setting in SETTINGS {
        let (section, _) = setting.key.rsplit_once('.').unwrap();
        if section != table {
            write!(text, "\n## {section}\n\n| setting | default | |\n|---|---|---|\n").unwrap();
            table = section;
        }
        writeln!(text, "| {} | {} | {} |", names(setting), default(setting), meaning(setting))
            .unwrap();
    }
    text
}

/// Text in a cell of a table, as code.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

fn names(setting: &Setting) -> String {
    let flag = setting.flag.map(|flag| format!("--{flag}"));
    let mut names = vec![setting.key.to_owned()];
    names.extend(flag);
    names.push(setting.env.to_owned());
    if let Some(file) = setting.file_form() {
        names.extend([file.key.to_owned(), format!("--{}", file.flag), file.env.to_owned()]);
    }
    names.iter().map(|name| code(name)).collect::<Vec<_>>().join("<br>")
}

fn default(setting: &Setting) -> String {
    setting.default.map(code).unwrap_or_default()
}

fn meaning(setting: &Setting) -> String {
    let form = match setting.shape {
        Shape::Switch => String::new(),
        Shape::Text | Shape::List | Shape::Secret | Shape::SecretList => {
            format!("{}. ", code(setting.value))
        }
    };
    let file =
        if setting.file_form().is_some() { " Or from a file, by the other names." } else { "" };
    let reload = if setting.reload { " *Reload.*" } else { "" };
    // A placeholder in angle brackets would be taken for HTML.
    let help = setting.help.replace('<', "&lt;").replace('|', "\\|").replace('*', "\\*");
    format!("{form}{help}{file}{reload}")
}

#[test]
fn the_page_of_settings_is_what_the_table_says() {
    let path = root().join(PATH);
    let expected = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), expected, "UPDATE_GOLDEN=1 writes {PATH} anew");
    for setting in SETTINGS {
        assert!(expected.contains(setting.env), "{}", setting.key);
    }
}
