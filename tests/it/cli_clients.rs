//! The published command line client in three versions: what it sends with which credentials, and what it is told.

use crate::support::World;
use crate::support::client::{WRONG_KEY, clients, program, succeed};

fn run(version: &str, script: &str) {
    let world = World::new();
    let mut node = program("node");
    node.arg(clients("cli").join(format!("{script}.mjs")))
        .env("CLI", version)
        .env("E2B_API_URL", world.api_url())
        .env("E2B_SANDBOX_URL", world.sandbox_url())
        .env("ADMIN_KEY", world.key("admin"))
        .env("EXEC_KEY", world.key("exec"))
        .env("READ_KEY", world.key("read"))
        .env("WRONG_KEY", WRONG_KEY);
    succeed(node, &world.gateway);
}

#[test]
fn newest_credentials() {
    run("newest", "credentials");
}

#[test]
fn v2_10_3_credentials() {
    run("2.10.3", "credentials");
}

#[test]
fn v2_4_2_credentials() {
    run("2.4.2", "credentials");
}

#[test]
fn newest_sandboxes() {
    run("newest", "sandboxes");
}

#[test]
fn v2_10_3_sandboxes() {
    run("2.10.3", "sandboxes");
}

#[test]
fn v2_4_2_sandboxes() {
    run("2.4.2", "sandboxes");
}
