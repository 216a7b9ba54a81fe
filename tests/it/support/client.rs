//! Runs the scripts under `tests/clients`, each in a clean environment, and judges how they end.
//!
//! The published packages they need are installed by `tests/setup-clients`. Where they are missing a test fails and
//! says so: a run without them has shown nothing.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::Gateway;

/// A key in the right form that nobody issued.
pub(crate) const WRONG_KEY: &str = "e2b_0badc0de0badc0de0badc0de0badc0de0badc0de";

/// `tests/clients`, or something in it.
pub(crate) fn clients(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(path)
}

/// A program with nothing in its environment but `PATH`.
pub(crate) fn program(name: impl Into<PathBuf>) -> Command {
    let mut program = Command::new(name.into());
    program.env_clear().stdin(Stdio::null());
    if let Some(path) = std::env::var_os("PATH") {
        program.env("PATH", path);
    }
    program
}

/// A Python script of `tests/clients`, with the packages of one of the environments there and nothing else.
pub(crate) fn python(environment: &str, script: &str) -> Command {
    let mut python = program(clients(environment).join("bin/python"));
    // Byte code would be written beside the scripts.
    python.arg("-B").arg(clients(script));
    python
}

/// A JavaScript script of `tests/clients/js`, with the packages of the SDK's `new` or `old` generation.
pub(crate) fn javascript(generation: &str, script: &str) -> Command {
    let mut node = program("node");
    node.arg(clients("js").join(script)).env("SDK", generation);
    node
}

/// Runs a script to its end. It must exit with 0 and say `ok: …` last; otherwise the test fails with all it printed and
/// what `gateway` logged.
///
/// Scripts stop themselves when they take too long, so none is waited for longer than that.
pub(crate) fn succeed(mut script: Command, gateway: &Gateway) {
    assert_installed();
    let ended = script.output().unwrap_or_else(|error| panic!("{script:?} cannot run: {error}"));
    let stdout = String::from_utf8_lossy(&ended.stdout);
    let stderr = String::from_utf8_lossy(&ended.stderr);
    let said_ok = stdout.lines().last().is_some_and(|line| line.starts_with("ok: "));
    assert!(
        ended.status.success() && said_ok,
        "{}\n{stdout}\n{stderr}\nThe gateway's log:\n{}",
        ended.status,
        gateway.log().join("\n")
    );
}

/// Fails unless every pinned client is installed; asks once for the whole run.
pub(crate) fn assert_installed() {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let missing = MISSING.get_or_init(|| {
        let check = program(clients("../setup-clients"))
            .arg("--check")
            .output()
            .expect("tests/setup-clients runs");
        (!check.status.success()).then(|| String::from_utf8_lossy(&check.stderr).into_owned())
    });
    assert!(
        missing.is_none(),
        "run tests/setup-clients first: {}",
        missing.as_deref().unwrap_or_default()
    );
}
