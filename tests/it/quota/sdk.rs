//! What the published SDKs make of a refusal: the right class, once, and no second try.

use std::process::Command;

use coppice_gateway::simulator::Options;

use super::{count, starts, with_limits};
use crate::support::World;
use crate::support::client::{javascript, python, succeed};

const CALLS: usize = 30;
const LIMIT: usize = 3;

fn raises_once(mut script: Command, status: &str) {
    let world = World::with(Options::default(), |setup| {
        with_limits(setup, &format!("team-a={LIMIT}"))
            .env("COPPICE_QUOTA_STATUS", status)
            .env("COPPICE_LOG", "info,coppice_gateway::proxy::admission=debug")
    });
    script
        .env("E2B_API_KEY", world.key("exec"))
        .env("E2B_API_URL", world.api_url())
        .env("E2B_SANDBOX_URL", world.sandbox_url())
        .env("CALLS", CALLS.to_string())
        .env("LIMIT", LIMIT.to_string())
        .env("STATUS", status);
    succeed(script, &world.gateway);
    assert_eq!(starts(&world.simulator).len(), LIMIT);
    assert_eq!(count(&world.simulator, "team-a").1, LIMIT);
    // A call that was refused asked once.
    world.gateway.wait_for_logs(CALLS - LIMIT, &["at the limit"]);
    let refused = world.gateway.log().iter().filter(|line| line.contains("at the limit")).count();
    assert_eq!(refused, CALLS - LIMIT);
}

#[test]
fn python_is_refused_with_403() {
    raises_once(python(".venv", "python/sync/quota.py"), "403");
}

#[test]
fn python_is_refused_with_429() {
    raises_once(python(".venv", "python/sync/quota.py"), "429");
}

#[test]
fn javascript_is_refused_with_403() {
    raises_once(javascript("new", "quota.mjs"), "403");
}

#[test]
fn javascript_is_refused_with_429() {
    raises_once(javascript("new", "quota.mjs"), "429");
}
