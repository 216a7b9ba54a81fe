//! Two tenants with every kind of key, and what becomes of the one when the other tries all it can: nothing.
//!
//! Everywhere the same question: can it be told from the answer, from how long it took or from what reached the upstream
//! whether an id is somebody else's sandbox or nobody's at all?

mod probes;

use coppice_gateway::simulator::Options;

use crate::support::gateway::Setup;
use crate::support::world::key;
use crate::support::{Answer, World};

/// An id in the simulator's form that it never gives.
#[allow(dead_code)]
const UNKNOWN: &str = "i0000000000000000000";

/// A key of team-b with this scope.
fn stranger(role: &str) -> String {
    match role {
        "exec" => key("other"),
        "read" => format!("e2b_{}", "2".repeat(40)),
        "owner" => format!("e2b_{}", "3".repeat(40)),
        "admin" => format!("e2b_{}", "4".repeat(40)),
        _ => panic!("there is no key for {role}"),
    }
}

/// Gives team-b as many kinds of keys as team-a has.
fn with_strangers(setup: Setup) -> Setup {
    let more = ["read", "owner", "admin"].map(|role| format!("team-b:{}:{role}", stranger(role)));
    let keys = format!("{},{}", crate::support::world::key_list(), more.join(","));
    setup.env("COPPICE_API_KEYS", keys)
}

fn world() -> World {
    World::with(Options::default(), with_strangers)
}

/// An answer without what differs from request to request.
fn essence(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| name != "x-request-id" && name != "date");
    (answer.status, headers, answer.text())
}
