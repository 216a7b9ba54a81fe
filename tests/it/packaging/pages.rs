//! Manual pages and completions, as the programs that read them judge them.

use std::fs;
use std::path::{Path, PathBuf};

use coppice_gateway::cli::command;
use coppice_gateway::config::SETTINGS;
use tempfile::TempDir;

use super::installed;
use crate::support::Program;

/// All pages, in a directory that `man --out` makes.
fn pages() -> (TempDir, Vec<PathBuf>) {
    let program = Program::new();
    let folder = program.home.path().join("share/man");
    let ended = program.run(&["man", "--out", folder.to_str().unwrap()]);
    assert_eq!((ended.code, &*ended.out, &*ended.err), (0, "", ""));
    let pages = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    (program.home, pages)
}

fn text(page: &Path) -> String {
    fs::read_to_string(page).unwrap()
}

/// As a reader of troff sees it: hyphens are escaped in there.
fn plain(page: &Path) -> String {
    text(page).replace("\\-", "-").replace("\\*(Aq", "'")
}

#[test]
fn every_command_and_the_settings_have_a_page() {
    let (_home, pages) = pages();
    let has = |name: &str| pages.iter().any(|page| page.ends_with(name));
    assert!(has("coppice-gateway.1") && has("coppice-gateway.toml.5"), "{pages:?}");
    assert!(has("coppice-gateway-audit-verify.1"), "{pages:?}");
    for inner in command().get_subcommands() {
        assert!(has(&format!("coppice-gateway-{}.1", inner.get_name())), "{}", inner.get_name());
    }
}

#[test]
fn the_settings_page_has_every_spelling() {
    let (_home, pages) = pages();
    let page = pages.iter().find(|page| page.ends_with("coppice-gateway.toml.5")).unwrap();
    let text = plain(page);
    for setting in SETTINGS {
        let (table, key) = setting.key.rsplit_once('.').unwrap();
        assert!(text.contains(&format!("[{table}]")), "{table}");
        assert!(text.contains(&format!("\\fB{key}\\fR = ")), "{}", setting.key);
        assert!(text.contains(setting.env), "{}", setting.env);
        assert!(setting.flag.is_none_or(|flag| text.contains(&format!("--{flag}, "))));
    }
}

#[test]
fn manual_readers_have_nothing_against_the_pages() {
    let (_home, pages) = pages();
    for page in &pages {
        let mandoc = installed("mandoc", |command| {
            command.args(["-T", "lint", "-W", "warning"]).arg(page);
        });
        let said = String::from_utf8(mandoc.stdout).unwrap();
        // A date would change with every build, and a needless break does no harm.
        let of_no_account = ["cannot parse date", "skipping paragraph macro: br after sp"];
        let is_harmless = |line: &&str| of_no_account.iter().any(|known| line.contains(known));
        let said: Vec<&str> = said.lines().filter(|line| !is_harmless(line)).collect();
        assert_eq!(said, [] as [&str; 0]);
        let groff = installed("groff", |command| {
            command.args(["-man", "-ww", "-z", "-T", "utf8"]).arg(page);
        });
        assert_eq!(String::from_utf8_lossy(&groff.stderr), "", "{}", page.display());
    }
}

#[test]
fn the_same_program_writes_the_same_pages() {
    let ((_one, first), (_two, second)) = (pages(), pages());
    let sorted = |pages: Vec<PathBuf>| {
        let mut texts: Vec<String> = pages.iter().map(|page| text(page)).collect();
        texts.sort();
        texts
    };
    assert_eq!(sorted(first), sorted(second));
}

#[test]
fn pages_that_cannot_be_written_are_an_error() {
    let program = Program::new();
    let file = program.file("taken", "");
    let ended = program.run(&["man", "--out", file.to_str().unwrap()]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("taken"), "{}", ended.err);
}

#[test]
fn shells_can_read_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let program = Program::new();
        let printed = program.run(&["completions", shell]);
        assert_eq!(printed.code, 0);
        assert!(printed.out.contains("upstream-connect-timeout"), "{shell}");
        let script = program.file("script", &printed.out);
        let read = installed(shell, |command| {
            command.arg("-n").arg(&script).env("HOME", program.home.path());
        });
        assert!(read.status.success() && read.stderr.is_empty(), "{shell}: {read:?}");
    }
}
