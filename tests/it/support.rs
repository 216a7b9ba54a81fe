//! What the end-to-end tests run against: for now the simulated sandbox API alone, with nothing before it.

pub(crate) mod client;
pub(crate) mod front;

use coppice_gateway::simulator::{Options, Simulator};

/// A sandbox API on loopback ports of its own.
#[derive(Debug)]
pub(crate) struct World {
    simulator: Simulator,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { simulator: Simulator::start(Options::default()).expect("the simulator starts") }
    }

    pub(crate) fn api_url(&self) -> String {
        self.simulator.api_url()
    }

    pub(crate) fn sandbox_url(&self) -> String {
        self.simulator.envd_url()
    }

    /// A key of the tenant under test by what it may do: `admin`, `owner`, `exec`, `read`.
    pub(crate) fn key(&self, role: &str) -> String {
        let digit = match role {
            "admin" => 'a',
            "owner" => 'b',
            "exec" => 'e',
            "read" => 'f',
            _ => panic!("there is no key for {role}"),
        };
        format!("e2b_{}", digit.to_string().repeat(40))
    }
}
