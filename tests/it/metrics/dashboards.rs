//! The dashboard and the alert rules that come with the gateway: every metric that they name is one that it has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Scripted;
use crate::support::World;
use crate::support::callback::Reply;
use crate::support::telemetry::{Collector, Scrape, alerts};
use coppice_gateway::simulator::Options;

const PREFIX: &str = "coppice_gateway_";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(path)).unwrap()
}

/// Every query anywhere in a document.
fn queries(document: &Value, found: &mut Vec<String>) {
    if let Some(members) = document.as_object() {
        for (name, value) in members {
            if matches!(&**name, "expr" | "definition") {
                found.push(value.as_str().unwrap().to_owned());
            }
            queries(value, found);
        }
    }
    for value in document.as_array().into_iter().flatten() {
        queries(value, found);
    }
}

fn metrics(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(PREFIX)).map(str::to_owned).collect()
}

/// Every name that a gateway with everything turned on shows, and every label of it.
fn shown() -> (BTreeSet<String>, BTreeSet<String>) {
    let (service, collector) = (Scripted::always(Reply::status(401)), Collector::start(0));
    let world = World::with(Options::default(), |setup| {
        setup
            .flag("--ops-listen=127.0.0.1:0")
            .env("AUTH_CALLBACK_URL", service.url())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
            .env("COPPICE_TENANT_SANDBOX_LIMITS", "team-a=5")
    });
    world.create("exec");
    let (_, samples) = Scrape::of(&world.gateway, "").read();
    let names = samples.keys().map(|(name, _)| name.clone()).collect();
    let labels = samples.keys().flat_map(|(_, labels)| labels.keys().cloned()).collect();
    (names, labels)
}

#[test]
fn they_name_only_metrics_that_exist() {
    let (known, labels) = shown();
    let dashboard: Value = serde_json::from_str(&read("grafana/coppice-gateway.json")).unwrap();
    let rules = alerts(&read("prometheus/alerts.yml"));
    for (document, least) in [(dashboard, 15), (rules, 8)] {
        let mut all = Vec::new();
        queries(&document, &mut all);
        assert!(all.len() >= least, "{all:?}");
        for query in all {
            let named = metrics(&query);
            assert!(!named.is_empty(), "{query}");
            for name in named {
                assert!(known.contains(&name), "{name} in {query}");
            }
            for by in query.split("by (").skip(1) {
                let by = by.split_once(')').unwrap().0;
                for label in by.split(',').map(str::trim) {
                    assert!(label == "instance" || labels.contains(label), "{label} in {query}");
                }
            }
            assert_eq!(query.matches('(').count(), query.matches(')').count(), "{query}");
        }
    }
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_is_wrong() {
    let rules = alerts(&read("prometheus/alerts.yml"));
    let mut names = BTreeSet::new();
    for group in rules["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            let name = rule["alert"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} comes twice");
            let severity = rule["labels"]["severity"].as_str().unwrap();
            assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
            for text in ["summary", "description"] {
                assert!(rule["annotations"][text].as_str().is_some_and(|text| !text.is_empty()));
            }
        }
    }
    assert!(names.len() >= 6);
}

#[test]
fn panels_do_not_lie_upon_each_other() {
    let dashboard: Value = serde_json::from_str(&read("grafana/coppice-gateway.json")).unwrap();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24);
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(taken.insert((x, y)), "{} at {x} {y}", panel["title"]);
            }
        }
    }
}
