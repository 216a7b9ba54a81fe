//! Lists of upstreams that keep no metadata, or give forks none: the gateway's own record says whose a sandbox is.

use std::collections::BTreeSet;

use coppice_gateway::simulator::{Metadata, Options};
use tempfile::TempDir;

use super::{create, forwarded, id_set, ids, populate};
use crate::support::world::{UPSTREAM_KEY, key};
use crate::support::{Answer, Ask, Gateway, World};

const BOTH: [&str; 2] = ["/sandboxes", "/v2/sandboxes"];

fn world_of(metadata: Metadata, kept: &TempDir) -> World {
    let options = Options { metadata, ..Options::default() };
    World::with(options, |setup| setup.state_dir(kept.path()))
}

fn restarted(world: &World, kept: &TempDir) -> Gateway {
    world.gateway.kill();
    world.sibling(|setup| setup.state_dir(kept.path()))
}

fn list(gateway: &Gateway, role: &str, path: &str) -> Answer {
    Ask::get(path).key(&key(role)).send(gateway.control())
}

/// Forks a sandbox; the forks.
fn fork(world: &World, role: &str, id: &str, count: usize) -> BTreeSet<String> {
    let body = format!(r#"{{"count":{count},"timeout":300}}"#);
    let forks = world.ask(role, Ask::post(&format!("/sandboxes/{id}/fork"), body));
    assert_eq!(forks.status, 201, "{}", forks.text());
    let json = forks.json();
    let forks = json.as_array().unwrap().iter();
    forks.map(|fork| fork["sandbox"]["sandboxID"].as_str().unwrap().to_owned()).collect()
}

/// Whether the last list was asked for with the caller's marker as a filter.
fn was_pushed(world: &World) -> bool {
    forwarded(world).last().unwrap().path.contains("metadata=coppice_tenant_id")
}

#[test]
fn every_tenant_sees_its_own_by_record() {
    let kept = tempfile::tempdir().unwrap();
    let world = world_of(Metadata::Dropped, &kept);
    let (of_a, of_b) = populate(&world, 4);
    let all: BTreeSet<String> = of_a.union(&of_b).cloned().collect();
    let sees = |gateway: &Gateway, of_a: &BTreeSet<String>| {
        for path in BOTH {
            for (role, own) in [("read", of_a), ("exec", of_a), ("other", &of_b)] {
                let answer = list(gateway, role, path);
                assert_eq!(&id_set(&answer), own, "{role} {path}");
                assert!(!was_pushed(&world), "it would hide everything: {role} {path}");
                let total = answer.header("x-total-running").map(str::to_owned);
                // A v1 list tells no total.
                assert_eq!(total, (path == "/v2/sandboxes").then(|| own.len().to_string()));
            }
        }
    };
    sees(&world.gateway, &of_a);
    assert_eq!(id_set(&world.ask("admin", Ask::get("/v2/sandboxes"))), all);
    assert!(ids(&list(&world.replica(), "exec", "/v2/sandboxes")).is_empty(), "not on its record");
    // Pages are short, and nobody can tell how many run on the others.
    for (role, own) in [("read", &of_a), ("other", &of_b)] {
        let pages = super::walk(&world, role, "limit=3");
        assert!(pages.len() >= 3);
        let listed: Vec<String> = pages.iter().flat_map(ids).collect();
        assert_eq!(listed.len(), own.len(), "listed twice: {listed:?}");
        assert_eq!(&listed.into_iter().collect::<BTreeSet<_>>(), own);
        assert!(pages.iter().all(|page| page.header("x-total-running").is_none()));
    }
    // A client's own filter finds what the upstream finds, and is no way around the record.
    for filter in ["note%3Dsecret-of-b", "x", "coppice_tenant_id%3Dteam-b"] {
        let answer = list(&world.gateway, "read", &format!("/v2/sandboxes?metadata={filter}"));
        assert!(id_set(&answer).is_subset(&of_a), "{filter}");
    }

    // Started again, it has seen nothing yet and must not take the filter for a good one.
    let again = restarted(&world, &kept);
    sees(&again, &of_a);
    let (killed, rest) = (of_a.first().unwrap(), of_a.iter().skip(1).cloned().collect());
    let kill = Ask::new("DELETE", &format!("/sandboxes/{killed}")).key(&key("exec"));
    assert_eq!(kill.send(again.control()).status, 204);
    sees(&again, &rest);
}

#[test]
fn forks_without_a_marker_are_listed_with_the_rest() {
    for metadata in [Metadata::Kept, Metadata::KeptButNotForked, Metadata::Dropped] {
        let kept = tempfile::tempdir().unwrap();
        let world = world_of(metadata, &kept);
        let parent = create(&world, "exec", super::SECRET_OF_A);
        let theirs = create(&world, "other", super::SECRET_OF_B);
        let mut own = fork(&world, "exec", &parent, 2);
        own.extend(fork(&world, "admin", &parent, 1));
        own.insert(parent.clone());
        let sees = |gateway: &Gateway| {
            for path in BOTH {
                assert_eq!(id_set(&list(gateway, "exec", path)), own, "{metadata:?} {path}");
                let pushed = was_pushed(&world);
                assert_eq!(pushed, metadata == Metadata::Kept, "ours, {metadata:?} {path}");
                let listed = id_set(&list(gateway, "other", path));
                assert_eq!(listed, BTreeSet::from([theirs.clone()]), "{metadata:?} {path}");
            }
        };
        sees(&world.gateway);
        if metadata == Metadata::KeptButNotForked {
            assert!(was_pushed(&world), "another tenant's forks are nothing to this one");
        }
        let again = restarted(&world, &kept);
        sees(&again);
        // Once they are gone there is nothing that a filter could hide.
        for id in own.iter().filter(|id| **id != parent) {
            let kill = Ask::new("DELETE", &format!("/sandboxes/{id}")).key(&key("exec"));
            assert_eq!(kill.send(again.control()).status, 204);
        }
        assert_eq!(ids(&list(&again, "exec", "/v2/sandboxes")), [parent.as_str()], "{metadata:?}");
        assert_eq!(was_pushed(&world), metadata != Metadata::Dropped, "{metadata:?}");
    }
}

#[test]
fn forks_that_ended_by_themselves_are_looked_for_once() {
    let kept = tempfile::tempdir().unwrap();
    let world = world_of(Metadata::KeptButNotForked, &kept);
    let parent = create(&world, "exec", super::SECRET_OF_A);
    let upstream = world.simulator.api_url().trim_start_matches("http://").parse().unwrap();
    let forks = fork(&world, "exec", &parent, 20);
    for id in &forks {
        let kill = Ask::new("DELETE", &format!("/sandboxes/{id}")).key(UPSTREAM_KEY);
        assert_eq!(kill.send(upstream).status, 204);
    }
    // What was told with the forks themselves is remembered for a while; a gateway that starts anew has to look.
    let again = restarted(&world, &kept);
    world.simulator.clear_requests();
    for lists in 1..=4 {
        assert_eq!(ids(&list(&again, "exec", "/v2/sandboxes")), [parent.as_str()]);
        assert_eq!(was_pushed(&world), lists >= 3, "a few at a time: {lists}");
    }
    let looks = world.simulator.requests().len() - forwarded(&world).len();
    assert!((20..=22).contains(&looks), "{looks}");
}

#[test]
fn metrics_events_and_snapshots_go_by_the_record_too() {
    let kept = tempfile::tempdir().unwrap();
    let options =
        Options { metadata: Metadata::Dropped, snapshot_origins: true, ..Options::default() };
    let world = World::with(options, |setup| setup.state_dir(kept.path()));
    let (of_a, of_b) = populate(&world, 2);
    for (role, id) in [("exec", of_a.first()), ("other", of_b.first())] {
        let path = format!("/sandboxes/{}/snapshots", id.unwrap());
        let body = format!(r#"{{"name":"of-{role}"}}"#);
        assert_eq!(world.ask(role, Ask::post(&path, body)).status, 201);
    }
    // One of each ends behind the gateway's back.
    let upstream = world.simulator.api_url().trim_start_matches("http://").parse().unwrap();
    for id in [of_a.last(), of_b.last()] {
        let kill = Ask::new("DELETE", &format!("/sandboxes/{}", id.unwrap())).key(UPSTREAM_KEY);
        assert_eq!(kill.send(upstream).status, 204);
    }
    let again = restarted(&world, &kept);
    let everybodys: Vec<&str> = of_a.union(&of_b).map(String::as_str).collect();
    let everybodys = everybodys.join(",");
    for (role, own) in [("read", &of_a), ("other", &of_b)] {
        let told_of = |path: &str, member: &str| {
            let json = list(&again, role, path).json();
            let entries = json.as_array().unwrap_or_else(|| panic!("{path}: {json}")).iter();
            entries.map(|entry| entry[member].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let events = told_of("/events/sandboxes?limit=100", "sandboxId");
        assert_eq!(events.len(), 3, "two were made, one of them ended: {events:?}");
        assert_eq!(&events.into_iter().collect::<BTreeSet<_>>(), own, "{role}");
        assert_eq!(told_of("/snapshots", "originSandboxID"), [own.first().unwrap().as_str()]);
        let metrics =
            list(&again, role, &format!("/sandboxes/metrics?sandbox_ids={everybodys}")).json();
        let told: Vec<&String> = metrics["sandboxes"].as_object().unwrap().keys().collect();
        assert_eq!(told, [own.first().unwrap()], "{role}");
    }
    let stranger = world.replica();
    for path in ["/events/sandboxes", "/snapshots"] {
        assert!(list(&stranger, "read", path).json().as_array().unwrap().is_empty(), "{path}");
    }
}
