//! The files that start the gateway as a service: what they name exists, and what they promise fits the program.

mod ci;
mod container;
mod debian;
mod freebsd;
mod pages;
mod systemd;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use coppice_gateway::config::SETTINGS;

use crate::support::Program;
use crate::support::client::program;

/// A file of the repository.
fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A file of `config`.
fn read(path: &str) -> String {
    file(&format!("config/{path}"))
}

/// Runs a program that `tests/run` installs, and says so where it is not there.
fn installed(name: &str, prepare: impl FnOnce(&mut Command)) -> Output {
    let mut command = program(name);
    prepare(&mut command);
    command.output().unwrap_or_else(|why| panic!("{name}, which tests/run installs: {why}"))
}

/// Every variable of ours that a text names.
fn variables(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("COPPICE_"))
        .collect()
}

#[test]
fn services_name_only_variables_that_exist() {
    let known = |name: &str| {
        SETTINGS.iter().any(|setting| {
            setting.env == name || setting.file_form().is_some_and(|form| form.env == name)
        })
    };
    for (file, least) in [
        ("systemd/coppice-gateway.service", 1),
        ("systemd/credentials.conf", 2),
        ("container/Containerfile", 2),
        ("rc.d/coppice_gateway", 1),
        ("environment.example", 5),
    ] {
        let text = read(file);
        let named = variables(&text);
        assert!(named.len() >= least, "{file} names {named:?}");
        for name in named {
            assert!(known(name), "{file}: {name}");
        }
    }
}

#[test]
fn the_example_environment_works_with_every_line_in_force() {
    let mut program = Program::new();
    let mut seen = 0;
    for line in read("environment.example").lines() {
        let Some(line) = line.strip_prefix('#').filter(|line| line.starts_with("COPPICE_")) else {
            continue;
        };
        let (name, value) = line.split_once("='").unwrap();
        let value = value.strip_suffix('\'').unwrap();
        let value = if value.starts_with("/etc/") {
            let keys = format!("team-b:sha256:{}:read\n", "1".repeat(64));
            let text = if name == "COPPICE_API_KEYS_FILE" { keys } else { "x".repeat(64) };
            program.file(name, &text).to_str().unwrap().to_owned()
        } else {
            value.to_owned()
        };
        program = program.env(name, &value);
        seen += 1;
    }
    assert!(seen >= 5);
    let ended = program.run(&["check"]);
    assert_eq!((ended.code, &*ended.err), (0, ""), "{ended:?}");
}
