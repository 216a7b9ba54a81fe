//! Traces: what a collector is sent, and whose child the upstream's work becomes.

use std::time::{SystemTime, UNIX_EPOCH};

use coppice_gateway::simulator::{Options, Plane, RecordedRequest};

use crate::support::gateway::Setup;
use crate::support::telemetry::{Collector, Scrape};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::{Ask, World};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn world(collector: &Collector, change: impl FnOnce(Setup) -> Setup) -> World {
    World::with(Options::default(), |setup| {
        change(setup.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()))
    })
}

fn sampled() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

/// The newest request that reached the simulator.
fn seen(world: &World, plane: Plane) -> RecordedRequest {
    world.reached(plane).pop().unwrap()
}

#[test]
fn a_request_is_a_span_between_the_clients_and_the_upstreams() {
    let collector = Collector::start(0);
    let world = world(&collector, |setup| {
        setup
            .env("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=letmein")
            .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    });
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let ask = Ask::get("/templates/base?x=1").header("X-Request-Id", "traced");
    let ask = ask.header("traceparent", sampled()).header("tracestate", "vendor=1");
    world.ask("read", ask);
    let sent = seen(&world, Plane::Control);
    let span = collector.span_of("traced");
    let id = span["span"].as_str().unwrap();
    assert_eq!(sent.header("traceparent").unwrap(), format!("00-{TRACE}-{id}-01"));
    assert_eq!(sent.header("tracestate"), Some("vendor=1"));
    for (name, expected) in [
        ("trace", TRACE),
        ("parent", PARENT),
        ("state", "vendor=1"),
        ("name", "read"),
        ("kind", "SPAN_KIND_SERVER"),
        ("status", "STATUS_CODE_UNSET"),
        ("to", "/v1/traces"),
        ("scope", "coppice-gateway"),
    ] {
        assert_eq!(span[name], expected, "{name}: {span:#}");
    }
    assert_eq!(span["headers"]["x-collector-key"], "letmein");
    assert_eq!(span["resource"]["service.name"], "coppice-gateway");
    assert_eq!(span["resource"]["deployment.environment.name"], "test");
    let attributes = &span["attributes"];
    for (name, expected) in [
        ("http.request.method", "GET"),
        ("http.route", "/templates/{id}"),
        ("url.path", "/templates/base"),
        ("coppice.surface", "control"),
        ("coppice.class", "read"),
        ("coppice.tenant", "team-a"),
    ] {
        if name != "http.route" {
            assert_eq!(attributes[name], expected, "{name}: {span:#}");
        }
    }
    assert!(attributes["http.route"].as_str().unwrap().starts_with("/templates/{"), "{span:#}");
    let nanos = |index: usize| u128::from(span["nanos"][index].as_u64().unwrap());
    assert!(before <= nanos(0) && nanos(0) <= nanos(1), "{before} {span:#}");
    assert!(nanos(1) <= SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos());
}

#[test]
fn refusals_failures_and_ways_into_sandboxes_are_spans_too() {
    let collector = Collector::start(0);
    let world = world(&collector, |setup| setup);
    let (sandbox, token) = world.create("exec");
    let named = |ask: Ask, id: &str| ask.header("X-Request-Id", id);
    named(Ask::get("/templates"), "refused").send(world.control());
    named(Ask::get("//"), "unread").send(world.control());
    let files = named(Ask::get("/envs"), "inside").header("X-Access-Token", &token);
    let files = files.header("traceparent", sampled());
    assert_eq!(world.ask_sandbox(&sandbox, 49983, files).status, 200);

    let refused = collector.span_of("refused");
    assert_eq!((&refused["name"], &refused["parent"]), (&"read".into(), &"".into()));
    assert_eq!(refused["attributes"]["coppice.outcome"], "denied");
    assert_eq!(refused["attributes"]["http.response.status_code"], 401);
    assert_eq!(refused["status"], "STATUS_CODE_UNSET");
    let unread = collector.span_of("unread");
    assert_eq!(unread["name"], "none");
    assert_eq!(unread["attributes"]["http.route"], serde_json::Value::Null);
    let inside = collector.span_of("inside");
    assert_eq!((&inside["trace"], &inside["parent"]), (&TRACE.into(), &PARENT.into()));
    assert_eq!(inside["attributes"]["coppice.surface"], "envd");
    let sent = seen(&world, Plane::Data);
    let line = sent.header("traceparent").unwrap();
    assert_eq!(line, format!("00-{TRACE}-{}-01", inside["span"].as_str().unwrap()));
}

#[test]
fn what_a_client_does_not_keep_is_passed_on_and_not_sent() {
    let collector = Collector::start(0);
    let world = world(&collector, |setup| setup.flag("--ops-listen=127.0.0.1:0"));
    let unkept = format!("00-{TRACE}-{PARENT}-00");
    let ask = Ask::get("/templates").header("X-Request-Id", "unkept").header("traceparent", unkept);
    world.ask("read", ask);
    let line = seen(&world, Plane::Control).header("traceparent").unwrap().to_owned();
    assert!(line.starts_with(&format!("00-{TRACE}-")) && line.ends_with("-00"), "{line}");
    world.ask("read", Ask::get("/templates").header("X-Request-Id", "kept"));
    collector.span_of("kept");
    assert!(
        !collector.spans().iter().any(|span| span["attributes"]["coppice.request.id"] == "unkept")
    );
    eventually("it is counted", PATIENCE, || {
        Scrape::of(&world.gateway, "").sum("spans_total", &[("result", "sent")]) == 1.0
    });
}

#[test]
fn a_sampler_can_keep_none() {
    let collector = Collector::start(0);
    let world = world(&collector, |setup| setup.env("OTEL_TRACES_SAMPLER", "always_off"));
    world.ask("read", Ask::get("/templates").header("traceparent", sampled()));
    assert!(seen(&world, Plane::Control).header("traceparent").unwrap().ends_with("-00"));
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.wait().code(), Some(0));
    assert_eq!(collector.spans(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_collector_that_has_no_room_is_asked_again() {
    let collector = Collector::start(2);
    let world = world(&collector, |setup| setup);
    world.ask("read", Ask::get("/templates").header("X-Request-Id", "patient"));
    collector.span_of("patient");
}

#[test]
fn the_last_spans_are_sent_before_the_end() {
    let collector = Collector::start(0);
    let world = world(&collector, |setup| setup);
    for number in 0..50 {
        world.ask("read", Ask::get("/templates").header("X-Request-Id", format!("last-{number}")));
    }
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.wait().code(), Some(0));
    for number in 0..50 {
        collector.span_of(&format!("last-{number}"));
    }
}

#[test]
fn a_collector_that_is_gone_keeps_nobody_waiting() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = format!("http://{}", listener.local_addr().unwrap());
    let world = World::with(Options::default(), |setup| {
        setup.flag("--ops-listen=127.0.0.1:0").env("OTEL_EXPORTER_OTLP_ENDPOINT", deaf)
    });
    let mut wire = crate::support::Wire::open(world.control());
    for _ in 0..6_000 {
        let ask = Ask::get("/templates").key(&world.key("read"));
        assert_eq!(wire.ask(&ask).status, 200);
    }
    // The queue has bounds, and what found no place in it is counted.
    eventually("some are dropped", PATIENCE, || {
        Scrape::of(&world.gateway, "").sum("spans_total", &[("result", "dropped")]) > 0.0
    });
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.wait().code(), Some(0));
}

#[test]
fn without_a_collector_traces_pass_untouched() {
    let world = World::new();
    world.ask("read", Ask::get("/templates").header("traceparent", sampled()));
    assert_eq!(seen(&world, Plane::Control).header("traceparent").unwrap(), sampled());
}
