//! The dashboard and the alert rules that come with the gateway: what they name exists, and what exists they show.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Scripted;
use crate::support::authority::Authority;
use crate::support::callback::Reply;
use crate::support::telemetry::{Collector, Scrape, alerts};
use crate::support::tls::{Secure, speaks};
use crate::support::world::key;
use crate::support::{Ask, World};
use coppice_gateway::simulator::Options;

const PREFIX: &str = "coppice_gateway_";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(path)).unwrap()
}

/// Every query anywhere in a document, with what is said of its series.
fn queries(document: &Value, found: &mut Vec<(String, String)>) {
    if let Some(members) = document.as_object() {
        for (name, value) in members {
            if matches!(&**name, "expr" | "definition") {
                let legend = members.get("legendFormat").and_then(Value::as_str);
                let query = value.as_str().unwrap().to_owned();
                found.push((query, legend.unwrap_or_default().to_owned()));
            }
            queries(value, found);
        }
    }
    for value in document.as_array().into_iter().flatten() {
        queries(value, found);
    }
}

/// What a gateway with everything turned on shows: each name, with every value of its labels.
type Shown = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// A scrape of a gateway with everything turned on.
pub(crate) fn everything() -> Scrape {
    let (service, collector) = (Scripted::always(Reply::status(401)), Collector::start(0));
    let (journal, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (certificate, tls_key) = authority.issue("server", "DNS:gate.test");
    let world = World::with(Options::default(), |setup| {
        speaks(setup, (&certificate, &tls_key))
            .flag("--ops-listen=127.0.0.1:0")
            .env("AUTH_CALLBACK_URL", service.url())
            .env("COPPICE_AUDIT_LOG", journal.path().join("audit.jsonl").to_str().unwrap())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
            .env("COPPICE_TENANT_SANDBOX_LIMITS", "team-a=5")
    });
    let create = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).key(&key("exec"));
    let created = Secure::open(world.control(), &authority, "gate.test").ask(&create);
    assert_eq!(created.status, 201);
    Scrape::of(&world.gateway, "")
}

fn shown() -> (BTreeMap<String, String>, Shown) {
    let (families, samples) = everything().read();
    let mut shown = Shown::new();
    for (name, labels) in samples.into_keys() {
        let known = shown.entry(name).or_default();
        // Prometheus adds it.
        known.entry("instance".to_owned()).or_default().insert("$instance".to_owned());
        for (label, value) in labels {
            known.entry(label).or_default().insert(value);
        }
    }
    (families, shown)
}

/// Every metric that a query names, with what follows its name.
fn named(query: &str) -> Vec<(&str, &str)> {
    let starts = query.match_indices(PREFIX).map(|(at, _)| &query[at..]);
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    starts.map(|text| text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()))).collect()
}

/// Why a query would show nothing: names, labels and values that no scrape has.
fn problems(query: &str, legend: &str, shown: &Shown) -> Vec<String> {
    let mut problems = Vec::new();
    let names = named(query);
    if names.is_empty() {
        problems.push(format!("no metric in {query}"));
    }
    let mut labels = BTreeSet::new();
    for (name, rest) in names {
        let Some(known) = shown.get(name) else {
            problems.push(format!("{name} in {query}"));
            continue;
        };
        labels.extend(known.keys().map(String::as_str));
        let selector = rest.strip_prefix('{').map_or("", |rest| rest.split_once('}').unwrap().0);
        for part in selector.split(',').filter(|part| !part.is_empty()) {
            let (label, value) = part.split_once('=').unwrap();
            let value = value.trim_start_matches('~').trim_matches('"');
            let Some(values) = known.get(label.trim_end_matches('!')) else {
                problems.push(format!("{label} of {name} in {query}"));
                continue;
            };
            let unknown = value.split('|').filter(|value| !values.contains(*value));
            problems.extend(unknown.map(|value| format!("{label}={value} of {name} in {query}")));
        }
    }
    let grouped = query.split("by (").skip(1).map(|by| by.split_once(')').unwrap().0);
    let of_query = query.strip_prefix("label_values(").and_then(|rest| rest.rsplit_once(','));
    let of_query = of_query.map(|(_, label)| label.trim_end_matches(')'));
    let of_legend = legend.split("{{").skip(1).map(|text| text.split_once("}}").unwrap().0);
    for label in grouped.flat_map(|by| by.split(',')).chain(of_query).chain(of_legend) {
        if !labels.contains(label.trim()) {
            problems.push(format!("{label} in {query} ({legend})"));
        }
    }
    if query.matches('(').count() != query.matches(')').count() {
        problems.push(format!("brackets in {query}"));
    }
    problems
}

fn documents() -> [Value; 2] {
    [
        serde_json::from_str(&read("grafana/coppice-gateway.json")).unwrap(),
        alerts(&read("prometheus/alerts.yml")),
    ]
}

#[test]
fn they_name_only_what_a_scrape_has() {
    let (_, shown) = shown();
    for (document, least) in documents().into_iter().zip([25, 12]) {
        let mut all = Vec::new();
        queries(&document, &mut all);
        assert!(all.len() >= least, "{all:?}");
        for (query, legend) in all {
            let problems = problems(&query, &legend, &shown);
            assert!(problems.is_empty(), "{problems:#?}");
        }
    }
    // And what it has not would be noticed.
    for (query, legend) in [
        ("coppice_gateway_audit_lost_total", ""),
        ("up", ""),
        ("sum by (surface) (coppice_gateway_audit_events_total)", ""),
        ("coppice_gateway_audit_events_total{result=\"denied\"}", ""),
        ("coppice_gateway_audit_events_total{outcome=~\"denied|refused\"}", ""),
        ("coppice_gateway_audit_queue_length", "{{outcome}}"),
        ("label_values(coppice_gateway_build_info, outcome)", ""),
        ("sum(coppice_gateway_audit_queue_length", ""),
    ] {
        assert_eq!(problems(query, legend, &shown).len(), 1, "{query} {legend}");
    }
}

/// Metrics that neither a panel nor an alert shows, with the reason.
const SHOWN_NOWHERE: [(&str, &str); 0] = [];

#[test]
fn nothing_is_measured_that_nobody_looks_at() {
    let (families, _) = shown();
    let [dashboard, rules] = documents();
    let names_of = |document: &Value| -> BTreeSet<String> {
        let mut all = Vec::new();
        queries(document, &mut all);
        all.iter().flat_map(|(query, _)| named(query)).map(|(name, _)| name.to_owned()).collect()
    };
    let (panels, rules) = (names_of(&dashboard["panels"]), names_of(&rules));
    for (family, kind) in families {
        let name = match &*kind {
            "counter" => format!("{family}_total"),
            "histogram" => format!("{family}_bucket"),
            _ => family.clone(),
        };
        let is_excused = SHOWN_NOWHERE.iter().any(|(own, _)| *own == family);
        let is_shown = panels.contains(&name) || rules.contains(&name);
        assert_ne!(is_shown, is_excused, "{name} is in no panel and no alert, or excused in vain");
        assert!(panels.contains(&name) || !family.contains("_audit_"), "{name} has no panel");
    }
}

/// Prometheus' own checker, where it is installed (Debian: `prometheus`); without it the tests above must do.
#[test]
fn promtool_takes_the_alert_rules_and_a_scrape() {
    let run = |arguments: &[&str], input: &str| {
        let mut command = Command::new("promtool");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Ok(mut child) = command.spawn() else { return };
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    };
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/prometheus/alerts.yml");
    run(&["check", "rules", rules.to_str().unwrap()], "");
    run(&["check", "metrics"], &Scrape::of(&super::world().gateway, "").text);
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
