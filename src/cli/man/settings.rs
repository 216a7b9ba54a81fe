//! `coppice-gateway.toml(5)`: every setting with its spellings, from the table of settings.

use clap_mangen::roff::{Roff, bold, italic, roman};

use super::{DATE, MANUAL, SOURCE};
use crate::config::{SETTINGS, Setting, Shape};

/// The page's name, which is that of no file: settings may lie anywhere.
pub(super) const NAME: &str = "coppice-gateway.toml";

/// The page.
pub(super) fn page() -> String {
    let mut page = Roff::new();
    page.control("TH", [NAME, "5", DATE, SOURCE, MANUAL]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{NAME} - settings of coppice-gateway"))]);
    page.control("SH", ["DESCRIPTION"]);
    for (number, paragraph) in [
        "The gateway reads its settings from flags, from its environment and from the TOML file that --config or \
         COPPICE_CONFIG names. A flag overrules an environment variable, and that overrules the file.",
        "An unknown key is an error, and so is a value that is empty or malformed: it never means the default. Lists \
         are arrays, or texts with commas. Durations are whole numbers with ms, s, m or h.",
        "Below, keys stand under the table that they belong to, as the file writes them.",
    ]
    .into_iter()
    .enumerate()
    {
        if number > 0 {
            page.control("PP", []);
        }
        page.text([roman(paragraph)]);
    }
    let mut table = "";
    for setting in SETTINGS {
        let (section, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
        if section != table {
            page.control("SH", [&*format!("[{section}]")]);
            table = section;
        }
        entry(&mut page, setting, name);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([
        bold("coppice-gateway"),
        roman("(1), "),
        bold("coppice-gateway-check"),
        roman("(1)"),
    ]);
    page.render()
}

fn entry(page: &mut Roff, setting: &Setting, name: &str) {
    page.control("TP", []);
    page.text([bold(name), roman(" = "), italic(value(setting))]);
    let default = setting.default.map(|text| format!(" Default: {text}.")).unwrap_or_default();
    page.text([roman(format!("{}{default}", setting.help))]);
    page.control("br", []);
    page.text([roman(spellings(setting))]);
    if setting.reload {
        page.control("br", []);
        page.text([roman("A reload brings changes into force.")]);
    }
}

/// What stands for the value, as TOML has it.
fn value(setting: &Setting) -> String {
    let value = setting.value.trim_end_matches(",…");
    match setting.shape {
        Shape::Switch => "true|false".to_owned(),
        Shape::List | Shape::SecretList => format!("[\"{value}\", …]"),
        Shape::Text | Shape::Secret => format!("\"{value}\""),
    }
}

/// The setting's other names.
fn spellings(setting: &Setting) -> String {
    let flag = setting.flag.map(|flag| format!("--{flag}, ")).unwrap_or_default();
    let file = setting.file_form().map(|form| {
        let key = form.key.rsplit('.').next().unwrap_or(form.key);
        format!(" To read it from a file: {key}, --{}, {}.", form.flag, form.env)
    });
    format!("{flag}{}.{}", setting.env, file.unwrap_or_default())
}
