//! `docs/configure/settings.md` is generated from the table of settings.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it docs::settings` writes it anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use coppice_gateway::config::{PAIRS, SETTINGS, Setting, Shape};

use super::book::{pages, root};

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
they are seconds. What a *reload* brings into force needs no restart; anything else takes one, or an upgrade to the same
program, which cuts nothing off: see [the life of the process](../operate/lifecycle.md).

[`config/gateway.example.toml`](../../config/gateway.example.toml) has the same as a file to start from, and
`coppice-gateway check` names everything that is wrong with yours.
";

fn page() -> String {
    let mut text = HEAD.to_owned();
    let mut table = "";
    for setting in SETTINGS {
        let (section, _) = setting.key.rsplit_once('.').unwrap();
        if section != table {
            text += &pairs(table);
            write!(text, "\n## {section}\n\n| setting | default | |\n|---|---|---|\n").unwrap();
            table = section;
        }
        writeln!(text, "| {} | {} | {} |", names(setting), default(setting), meaning(setting))
            .unwrap();
    }
    text + &pairs(table)
}

/// The tables of the file that may be there any number of times, below the section that they belong to.
fn pairs(section: &str) -> String {
    let of_it = PAIRS.iter().filter(|pairs| pairs.key.rsplit_once('.').unwrap().0 == section);
    let shown = of_it.map(|pairs| {
        let [one, other] = pairs.names.map(code);
        format!(
            "\n`[[{}]]` with {one} and {other}, in the file alone. {} *Reload.*\n",
            pairs.key, pairs.help
        )
    });
    shown.collect()
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

/// Variables of ours that are no settings: those of commands.
const NO_SETTINGS: [&str; 3] = ["COPPICE_CONFIG", "COPPICE_TOKEN", "COPPICE_URL"];

#[test]
fn pages_name_only_settings_that_exist() {
    let files = SETTINGS.iter().filter_map(|setting| setting.file_form());
    let mut variables: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.env).collect();
    variables.extend(files.clone().map(|file| file.env));
    variables.extend(NO_SETTINGS);
    let mut keys: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
    keys.extend(files.map(|file| file.key));
    let sections: BTreeSet<&str> = keys.iter().map(|key| key.split('.').next().unwrap()).collect();
    let mut seen = 0;
    for page in pages() {
        let blocks = page.blocks.iter().map(|block| (block.line, block.text.as_str()));
        let prose = page.prose.iter().map(|(line, text)| (*line, text.as_str()));
        for (line, text) in blocks.chain(prose) {
            let place = format!("{}:{line}", page.path.display());
            let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
            for word in text.split(|c| !is_of_word(c)).map(|word| word.trim_matches('.')) {
                let is_variable =
                    word.starts_with("COPPICE_") || word.starts_with("AUTH_CALLBACK_");
                assert!(!is_variable || variables.contains(word), "{place}: there is no {word}");
                seen += usize::from(is_variable);
            }
            // A key of the file is all that is in its span.
            for span in text.split('`').skip(1).step_by(2) {
                let is_key = span.split_once('.').is_some_and(|(section, rest)| {
                    sections.contains(section)
                        && rest.chars().all(|c| is_of_word(c) && !c.is_ascii_uppercase())
                });
                assert!(!is_key || keys.contains(span), "{place}: there is no {span}");
                seen += usize::from(is_key);
            }
        }
    }
    assert!(seen > 100, "{seen}");
}
