//! What holds a change back: `.ci/run` itself, with every step played by a script of one line.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::file;

/// What the steps start, relative to the repository; `path/` stands for a directory of programs.
const STARTED: [&str; 10] = [
    "path/cargo",
    "path/python3",
    "path/valgrind",
    "tools/bin/cargo-deny",
    "tests/run",
    "tests/packages/install",
    "tests/packages/deb",
    "tests/packages/freebsd",
    "tests/packages/release",
    "path/rustup",
];

/// A repository in which all steps pass, but for these: a script and what it does.
fn repository(odd: &[(&str, &str)]) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    write(".ci/run", &file(".ci/run"));
    for started in STARTED {
        let (_, does) = odd.iter().find(|(name, _)| *name == started).unwrap_or(&("", "true"));
        write(started, &format!("#!/bin/sh\n{does}\n"));
    }
    home
}

fn run(home: &Path, script: &str) -> (Option<i32>, String) {
    let path = format!("{}:{}", home.join("path").display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(home.join(script));
    command.env("PATH", path).env("CI_TOOLS", home.join("tools"));
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn everything_has_to_pass_or_to_say_why_it_was_skipped() {
    let (code, said) = run(repository(&[]).path(), ".ci/run");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\n== all passed ("), "{said}");

    let skips = [("tests/packages/freebsd", "echo 'skipped: no library'; exit 77")];
    let (code, said) = run(repository(&skips).path(), ".ci/run");
    assert_eq!(code, Some(0), "{said}");
    let (_, summary) = said.rsplit_once("\n== ").unwrap();
    assert!(summary.starts_with("all passed but for what was skipped ("), "{said}");
    assert!(summary.ends_with("\ntypes on FreeBSD: no library\n"), "{said}");

    for (started, step) in [
        ("tests/packages/release", "release, twice, and a container"),
        ("path/python3", "instructions"),
        ("path/cargo", "format"),
    ] {
        // 77 of what cannot be skipped is a failure as well.
        let does = if started == "tests/packages/release" { "exit 1" } else { "exit 77" };
        let (code, said) = run(repository(&[(started, does)]).path(), ".ci/run");
        assert!(code.is_some_and(|code| code != 0), "{started}: {said}");
        let (_, summary) = said.rsplit_once("\n== ").unwrap();
        assert!(summary.starts_with(&format!("failed: {step} (")), "{started}: {said}");
    }
}

#[test]
fn what_needs_a_target_that_is_not_to_be_had_is_skipped() {
    // It lists nothing, and adds nothing.
    let home = repository(&[("path/rustup", r#"[ "$2" = list ]"#)]);
    for name in ["freebsd", "release", "tools"] {
        let path = format!("tests/packages/{name}");
        fs::write(home.path().join(&path), file(&path)).unwrap();
    }
    for script in ["tests/packages/freebsd", "tests/packages/release"] {
        let (code, said) = run(home.path(), script);
        assert_eq!(code, Some(77), "{script}: {said}");
        assert!(said.starts_with("skipped: ") && said.lines().count() == 1, "{script}: {said}");
    }
}
