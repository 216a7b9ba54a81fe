//! Metrics: what a scrape says is what happened, in either format, and clients cannot make it longer.

pub(crate) mod dashboards;
mod flood;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use coppice_gateway::clock::UnixTime;
use coppice_gateway::metrics::{Format, Registry, Requests};
use coppice_gateway::record::{Observer, Observers, Pending, Record};
use coppice_gateway::route::{Class, Surface};
use coppice_gateway::simulator::Options;
use coppice_gateway::target::SandboxId;
use http::{HeaderValue, Method, StatusCode};
use tokio_util::sync::CancellationToken;

use crate::support::callback::{Reply, Scripted};
use crate::support::telemetry::Scrape;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::key;
use crate::support::{Ask, Gateway, Wire, World};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";

/// The usual world, with limits, and metrics.
pub(crate) fn world() -> World {
    World::with(Options::default(), |setup| {
        setup
            .flag("--ops-listen=127.0.0.1:0")
            .env("COPPICE_TENANT_SANDBOX_LIMITS", "team-a=5,team-b=2")
    })
}

fn scrape(gateway: &Gateway) -> Scrape {
    Scrape::of(gateway, "text/plain")
}

/// Waits until a sum is what it should be: requests are counted when they have ended, shortly after their answer.
fn comes_to(gateway: &Gateway, name: &str, labels: &[(&str, &str)], expected: f64) {
    let mut sum = 0.0;
    let is_it = || {
        sum = scrape(gateway).sum(name, labels);
        sum == expected
    };
    let arrived = crate::support::wait::within(PATIENCE, is_it);
    assert!(arrived, "{name} {labels:?} is {sum} instead of {expected}");
}

#[test]
fn both_formats_are_read_by_prometheus_own_library() {
    let world = world();
    world.ask("exec", Ask::get("/templates"));
    let text = scrape(&world.gateway);
    let open = Scrape::of(&world.gateway, OPEN_METRICS);
    assert!(text.content_type.starts_with("text/plain; version=0.0.4"));
    assert!(open.content_type.starts_with("application/openmetrics-text; version=1.0.0"));
    let ((families, samples), (open_families, open_samples)) = (text.read(), open.read());
    assert_eq!(families, open_families);
    assert!(samples.keys().eq(open_samples.keys()));
    assert!(families.keys().all(|name| name.starts_with("coppice_gateway_")), "{families:?}");
    for (name, kind) in [
        ("requests", "counter"),
        ("request_duration_seconds", "histogram"),
        ("decision_duration_seconds", "histogram"),
        ("upstream_duration_seconds", "histogram"),
        ("quota_active", "gauge"),
        ("quota_limit", "gauge"),
        ("keys_loaded", "gauge"),
        ("reloads", "counter"),
        ("connections", "gauge"),
        ("streams", "gauge"),
        ("start_time_seconds", "gauge"),
        ("build_info", "gauge"),
    ] {
        assert_eq!(families[&format!("coppice_gateway_{name}")], kind, "{name}");
    }
}

#[test]
fn requests_are_counted_by_what_became_of_them() {
    let world = world();
    let (sandbox, token) = world.create("exec");
    for _ in 0..3 {
        assert_eq!(world.ask("read", Ask::get("/templates")).status, 200);
    }
    assert_eq!(world.ask("read", Ask::post("/v2/sandboxes", "{}")).status, 403);
    assert_eq!(Ask::get("/templates").send(world.control()).status, 401);
    assert_eq!(Ask::get("//templates").send(world.control()).status, 400);
    assert_eq!(world.ask("exec", Ask::get("/templates/absent")).status, 404);
    let files = Ask::get("/envs").header("X-Access-Token", &token);
    assert_eq!(world.ask_sandbox(&sandbox, 49983, files).status, 200);
    let count = |labels: &[(&str, &str)], expected: f64| {
        comes_to(&world.gateway, "requests_total", labels, expected);
    };
    let [surface, class, outcome, status] = ["surface", "class", "outcome", "status"];
    count(&[(surface, "control"), (class, "read"), (outcome, "allowed"), (status, "2xx")], 3.0);
    count(&[(class, "exec"), (outcome, "allowed"), (surface, "control")], 1.0);
    count(&[(class, "exec"), (outcome, "denied"), (status, "4xx")], 1.0);
    count(&[(class, "read"), (outcome, "denied"), (status, "4xx")], 1.0);
    count(&[(surface, "none"), (class, "none"), (outcome, "denied")], 1.0);
    count(&[(outcome, "error"), (status, "4xx")], 1.0);
    count(&[(surface, "envd"), (outcome, "allowed")], 1.0);
    let scrape = scrape(&world.gateway);
    assert_eq!(scrape.sum("request_duration_seconds_count", &[]), 9.0);
    assert_eq!(scrape.sum("decision_duration_seconds_count", &[]), 9.0);
    // What was refused did not go there.
    assert_eq!(scrape.sum("upstream_duration_seconds_count", &[]), 6.0);
    assert_eq!(scrape.sum("upstream_duration_seconds_bucket", &[("le", "+Inf")]), 6.0);
    assert!(scrape.sum("request_duration_seconds_sum", &[]) > 0.0);
}

#[test]
fn quotas_keys_and_reloads() {
    let world = world();
    let limit = |tenant: &str| scrape(&world.gateway).sum("quota_limit", &[("tenant", tenant)]);
    world.create("exec");
    world.create("exec");
    comes_to(&world.gateway, "quota_active", &[("tenant", "team-a")], 2.0);
    comes_to(&world.gateway, "quota_active", &[("tenant", "other")], 0.0);
    assert_eq!(limit("team-a"), 5.0);
    assert_eq!(scrape(&world.gateway).sum("keys_loaded", &[]), 5.0);
    world.gateway.signal("HUP");
    comes_to(&world.gateway, "reloads_total", &[("result", "ok")], 1.0);
    comes_to(&world.gateway, "reloads_total", &[("result", "failed")], 0.0);
}

#[test]
fn what_is_open_is_counted_until_it_ends() {
    let world = world();
    let (sandbox, _) = world.create("exec");
    let into = |path: &str| {
        let ask = Ask::get(path).key(&key("exec")).header("E2b-Sandbox-Id", &sandbox);
        ask.header("E2b-Sandbox-Port", "8080")
    };
    comes_to(&world.gateway, "streams", &[("kind", "http")], 0.0);
    let mut stream = Wire::open(world.data());
    assert_eq!(stream.start(&into("/stream?chunks=100000&ms=50")).status, 200);
    let mut tunnel = Wire::open(world.data());
    assert_eq!(tunnel.start(&into("/ws").upgrading()).status, 101);
    comes_to(&world.gateway, "streams", &[("kind", "http")], 1.0);
    comes_to(&world.gateway, "streams", &[("kind", "tunnel")], 1.0);
    let open = scrape(&world.gateway).sum("connections", &[]);
    assert!((2.0..10.0).contains(&open), "{open}");
    drop((stream, tunnel));
    comes_to(&world.gateway, "streams", &[], 0.0);
    comes_to(&world.gateway, "connections", &[], 0.0);
}

#[test]
fn the_auth_callback_is_measured() {
    let service = Scripted::start(|call| match call.credential() {
        "somebody's" => Reply::allow(),
        _ => Reply::status(401),
    });
    let world = World::with(Options::default(), |setup| {
        setup
            .flag("--ops-listen=127.0.0.1:0")
            .env("AUTH_CALLBACK_URL", service.url())
            .env("AUTH_CALLBACK_CACHE_TTL", "60s")
            .env("AUTH_CALLBACK_CACHE_BY", "credential")
    });
    let status = |key: &str| Ask::get("/templates").key(key).send(world.control()).status;
    for _ in 0..4 {
        assert_eq!(status("somebody's"), 200);
    }
    assert_eq!(status("nobody's"), 401);
    let scrape = scrape(&world.gateway);
    assert_eq!(scrape.sum("callback_requests_total", &[("result", "allowed")]), 1.0);
    assert_eq!(scrape.sum("callback_requests_total", &[("result", "denied")]), 1.0);
    assert_eq!(scrape.sum("callback_requests_total", &[("result", "failed")]), 0.0);
    assert_eq!(scrape.sum("callback_duration_seconds_count", &[]), 2.0);
    assert_eq!(scrape.sum("callback_cache_total", &[("result", "hit")]), 3.0);
    assert_eq!(scrape.sum("callback_cache_total", &[("result", "miss")]), 2.0);
}

#[test]
fn clients_cannot_make_a_scrape_longer() {
    let world = world();
    let (sandbox, _) = world.create("exec");
    eventually("the tenant is named", PATIENCE, || scrape(&world.gateway).text.contains("team-a"));
    let before = scrape(&world.gateway).series();
    let mut wires = [Wire::open(world.control()), Wire::open(world.data())];
    for number in 0..1_500 {
        let random = format!("r{}", number * 7_919);
        let [control, data] = &mut wires;
        let asks = [
            Ask::get(&format!("/{random}")).key(&key("read")),
            Ask::get(&format!("/sandboxes/{random}")).key(&key("exec")),
            Ask::get(&format!("/templates?{random}")).key(&random),
        ];
        for ask in asks {
            control.ask(&ask.header("X-Request-Id", &random).header("User-Agent", &random));
        }
        let ask = Ask::get(&format!("/{random}")).key(&key("exec"));
        let sandbox = if number % 2 == 0 { &sandbox } else { &random };
        let ask = ask.header("E2b-Sandbox-Id", sandbox);
        data.ask(&ask.header("E2b-Sandbox-Port", (number + 1).to_string()));
    }
    let after = scrape(&world.gateway);
    assert_eq!(before, after.series());
    assert!(after.sum("requests_total", &[]) >= 5_900.0);
}

#[test]
fn a_hundred_thousand_kinds_of_requests_are_counted_in_as_many_series_as_one() {
    let requests = Arc::new(Requests::default());
    let observer: Arc<dyn Observer> = Arc::clone(&requests) as _;
    let observers = Observers::new(vec![observer], CancellationToken::new());
    let registry = Registry::new(requests, UnixTime(0));
    let write = || -> (BTreeSet<String>, String) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let text = runtime.block_on(registry.write(Format::Text));
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        (lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect(), text)
    };
    let (before, _) = write();
    // In the combinations that the table has.
    let places = [
        (None, None),
        (Some(Surface::Api), Some(Class::Admin)),
        (Some(Surface::Api), Some(Class::Read)),
        (Some(Surface::Envd), Some(Class::Exec)),
        (Some(Surface::Port), Some(Class::Exec)),
        (Some(Surface::Gateway), Some(Class::Any)),
    ];
    for number in 0..100_000_usize {
        let id = HeaderValue::from_str(&format!("id-{number}")).unwrap();
        let uri = format!("/random/{number}").parse().unwrap();
        let client = Some(IpAddr::from([10, 0, (number / 256) as u8, number as u8]));
        let mut record = Record::begin(id, client, Method::GET, uri);
        (record.surface, record.class) = places[number % places.len()];
        record.sandbox = SandboxId::parse(&format!("i{number}")).ok();
        record.status = [200, 204, 302, 404, 500, 503]
            .get(number % 7)
            .and_then(|status| StatusCode::from_u16(*status).ok());
        record.decided = Some(Duration::from_nanos(number as u64 * 997));
        record.answered = record.decided.map(|decided| decided * 2);
        drop(Pending::new(record, observers.clone()));
    }
    let (after, text) = write();
    let counted = text.lines().filter(|line| line.starts_with("coppice_gateway_requests_total"));
    let counted: u64 =
        counted.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
    assert_eq!(counted, 100_000);
    assert_eq!(before, after);
    assert!(after.len() < 1_000, "{} series", after.len());
}
