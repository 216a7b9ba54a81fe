//! Two tenants with every kind of key, and what becomes of the one when the other tries all it can: nothing.
//!
//! Everywhere the same question: can it be told from the answer, from how long it took or from what reached the upstream
//! whether an id is somebody else's sandbox or nobody's at all?

mod lives;
mod metadata;
mod off;
mod planes;
mod probes;
mod routes;
mod streams;

use coppice_gateway::route::{Class, Methods, Route};
use coppice_gateway::simulator::{Options, Plane};
use serde_json::Value;

use crate::support::gateway::Setup;
use crate::support::world::key;
use crate::support::{Answer, Ask, World};

/// An id in the simulator's form that it never gives.
const UNKNOWN: &str = "i0000000000000000000";

/// What only team-a may read, in the metadata of its sandboxes.
const SECRET: &str = "what-only-team-a-may-read";

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

type Essence = (u16, Vec<(String, String)>, String);

/// An answer without what differs from request to request.
fn essence(answer: &Answer) -> Essence {
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| name != "x-request-id" && name != "date");
    (answer.status, headers, answer.text())
}

/// The same, whichever id it was about.
fn essence_about(answer: &Answer, id: &str) -> Essence {
    let (status, mut headers, body) = essence(answer);
    for (_, value) in &mut headers {
        *value = value.replace(id, "ID");
    }
    (status, headers, body.replace(id, "ID"))
}

/// 1 to 4 for read to admin.
fn rank(role: &str) -> usize {
    ["read", "exec", "owner", "admin"].iter().position(|other| *other == role).unwrap() + 1
}

/// What a caller needs at least for a method on the path of a row, and what it is told without.
fn needed(row: &Route, prefix: &str, method: Methods) -> (usize, &'static str) {
    match crate::matrix::class(row, prefix, method) {
        Some(Class::Public) => (0, ""),
        Some(Class::Any | Class::Read) => (1, "read"),
        Some(Class::Exec) => (2, "exec"),
        Some(Class::Owner) => (3, "owner"),
        Some(Class::Admin | Class::Hidden) => (4, "admin"),
        None if row.surface.is_data_plane() => (2, "exec"),
        None => (4, "admin"),
    }
}

/// Two sandboxes of team-a, of which one sleeps, and all that team-a can see of them.
struct Victims {
    running: String,
    paused: String,
    seen: Value,
}

impl Victims {
    fn of(world: &World) -> Self {
        let [running, paused] = [(); 2].map(|()| {
            let body = format!(
                r#"{{"templateID":"base","timeout":3000,"autoResume":{{"enabled":true}},"metadata":{{"note":"{SECRET}"}}}}"#
            );
            let made = world.ask("exec", Ask::post("/v2/sandboxes", body));
            assert_eq!(made.status, 201, "{}", made.text());
            made.json()["sandboxID"].as_str().unwrap().to_owned()
        });
        assert_eq!(
            world.ask("exec", Ask::post(&format!("/sandboxes/{paused}/pause"), "{}")).status,
            204
        );
        let seen = look(world, &running, &paused);
        world.simulator.clear_requests();
        Self { running, paused, seen }
    }

    /// The ids to try, that of no sandbox last.
    fn ids(&self) -> [&str; 3] {
        [&self.running, &self.paused, UNKNOWN]
    }

    /// Nothing has changed for team-a, and nothing but looks at its sandboxes has reached the upstream about them.
    fn are_unharmed(&self, world: &World) {
        for seen in world.simulator.requests() {
            let is_about = |id: &str| {
                let text = format!("{seen:?}{}", String::from_utf8_lossy(&seen.body));
                text.contains(id)
            };
            if !is_about(&self.running) && !is_about(&self.paused) {
                continue;
            }
            assert!(is_a_look(&seen), "{seen:#?}");
        }
        assert_eq!(look(world, &self.running, &self.paused), self.seen);
    }
}

/// Whether it is the gateway's own question whose a sandbox is.
fn is_a_look(seen: &coppice_gateway::simulator::RecordedRequest) -> bool {
    seen.plane == Plane::Control
        && seen.method == "GET"
        && seen.path.strip_prefix("/sandboxes/").is_some_and(|id| !id.contains(['/', '?']))
        && seen.header("x-request-id").is_none()
}

/// All that team-a can see.
fn look(world: &World, running: &str, paused: &str) -> Value {
    let paths = [
        format!("/sandboxes/{running}"),
        format!("/sandboxes/{paused}"),
        "/snapshots".to_owned(),
        "/events/sandboxes?limit=100".to_owned(),
        "/v2/sandboxes?limit=100".to_owned(),
    ];
    paths.map(|path| world.ask("exec", Ask::get(&path)).json()).into_iter().collect()
}
