//! How many sandboxes a tenant may have: what clients are told, what reaches the upstream, and what counts when requests
//! race, fail without a word, or the gateway is killed.
//!
//! Where a test makes the upstream fail its lists, nothing that follows can come from a listing.

mod chaos;
mod forks;
mod herd;
mod killed;
mod life;
mod limits;
mod listing;
mod outcomes;
mod repeats;
mod sdk;

use std::net::SocketAddr;

use coppice_gateway::simulator::{Options, RecordedRequest, Simulator};
use serde_json::{Value, json};

use crate::support::gateway::Setup;
use crate::support::world::key;
use crate::support::{Answer, Ask, World};

/// How a tenant's sandboxes are marked at the upstream.
const MARKER: &str = "coppice_tenant_id";

/// The usual arrangement with these limits.
fn limited(limits: &str) -> World {
    limited_before(Options::default(), limits)
}

/// The same before another kind of upstream.
fn limited_before(options: Options, limits: &str) -> World {
    World::with(options, |setup| with_limits(setup, limits))
}

fn with_limits(setup: Setup, limits: &str) -> Setup {
    setup.env("COPPICE_TENANT_SANDBOX_LIMITS", limits)
}

/// A create with this metadata.
fn creating(metadata: &Value) -> Ask {
    let body = json!({ "templateID": "base", "timeout": 300, "metadata": metadata });
    Ask::post("/v2/sandboxes", body.to_string())
}

fn create_at(gateway: SocketAddr, role: &str) -> Answer {
    creating(&json!({})).key(&key(role)).send(gateway)
}

fn create(world: &World, role: &str) -> Answer {
    create_at(world.control(), role)
}

/// Creates one that must be admitted: its id.
fn created(world: &World, role: &str) -> String {
    id_of(&create(world, role))
}

fn id_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["sandboxID"].as_str().unwrap().to_owned()
}

fn post(world: &World, role: &str, id: &str, action: &str) -> Answer {
    world.ask(role, Ask::post(&format!("/sandboxes/{id}/{action}"), r#"{"timeout":300}"#))
}

fn kill(world: &World, role: &str, id: &str) -> u16 {
    world.ask(role, Ask::new("DELETE", &format!("/sandboxes/{id}"))).status
}

/// What the contract says that a create above the limit is answered, to the byte.
fn assert_refused(answer: &Answer, tenant: &str, limit: u32) {
    let body = format!(
        r#"{{"code":403,"message":"tenant {tenant} has reached its limit of {limit} active sandboxes","error_code":"quota_exceeded"}}"#
    );
    assert_eq!((answer.status, answer.text()), (403, body));
    assert_eq!(answer.header("should-retry"), Some("false"));
    assert_eq!(answer.header("retry-after"), None);
}

/// What reached the upstream that could start a sandbox.
fn starts(simulator: &Simulator) -> Vec<RecordedRequest> {
    let mut requests = simulator.requests();
    requests.retain(|request| request.method == "POST" && !request.path.ends_with("/pause"));
    requests
}

/// How many sandboxes a tenant has, and had at most.
fn count(simulator: &Simulator, tenant: &str) -> (usize, usize) {
    simulator.count_of(MARKER, tenant)
}
