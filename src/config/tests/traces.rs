//! OpenTelemetry's variables, and the listeners for metrics and health.

use std::time::Duration;

use super::given;
use crate::config::TraceSettings;
use crate::request::trace::Sampler;

const TO: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

#[track_caller]
fn traces(variables: &[(&str, &str)]) -> Option<TraceSettings> {
    given(variables).loads().settings.traces
}

#[test]
fn the_address_turns_traces_on() {
    let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://other/in?x=1");
    for (variables, endpoint) in [
        (&[TO][..], Some("http://collector:4318/v1/traces")),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c/x/")], Some("http://c/x/v1/traces")),
        (&[TO, of_traces], Some("https://other/in?x=1")),
        (&[of_traces], Some("https://other/in?x=1")),
        (&[TO, ("OTEL_SDK_DISABLED", "true")], None),
        (&[TO, ("OTEL_SDK_DISABLED", "no")], Some("http://collector:4318/v1/traces")),
        (&[TO, ("OTEL_TRACES_EXPORTER", "none")], None),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")], None),
        (&[("OTEL_SERVICE_NAME", "x")], None),
    ] {
        let found = traces(variables).map(|traces| traces.endpoint);
        assert_eq!(found.as_deref(), endpoint, "{variables:?}");
    }
}

#[test]
fn everything_else_has_a_default() {
    let plain = traces(&[TO]).unwrap();
    assert_eq!((plain.timeout, plain.headers.len()), (Duration::from_secs(10), 0));
    assert_eq!(plain.sampler, Sampler::new(1.0, true));
    let resource = |traces: TraceSettings| -> String {
        let pairs = traces.resource.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join(" ")
    };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(resource(plain), format!("service.name=coppice-gateway service.version={version}"));

    let set = traces(&[
        TO,
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-a=1, Authorization=Basic%20Zm9v"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=no,service.version=7,host.name=a%2Cb"),
        ("OTEL_SERVICE_NAME", "gate"),
    ]);
    let set = set.unwrap();
    assert_eq!(set.timeout, Duration::from_millis(1500));
    assert_eq!(set.headers[0].1, "1");
    assert_eq!(set.headers[1].0, "authorization");
    assert_eq!(set.headers[1].1, "Basic Zm9v");
    assert!(!format!("{set:?}").contains("Zm9v"));
    assert_eq!(resource(set), "service.version=7 host.name=a,b service.name=gate");
    let own = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-b=2");
    let set = traces(&[TO, ("OTEL_EXPORTER_OTLP_HEADERS", "x-a=1"), own]).unwrap();
    assert_eq!(set.headers[0].0, "x-b");
}

#[test]
fn samplers() {
    for (name, argument, expected) in [
        ("always_on", "", Sampler::new(1.0, false)),
        ("always_off", "0.5", Sampler::new(0.0, false)),
        ("traceidratio", "0.25", Sampler::new(0.25, false)),
        ("traceidratio", "", Sampler::new(1.0, false)),
        ("parentbased_always_on", "", Sampler::new(1.0, true)),
        ("parentbased_always_off", "", Sampler::new(0.0, true)),
        ("parentbased_traceidratio", "0", Sampler::new(0.0, true)),
        ("", "0.5", Sampler::new(1.0, true)),
    ] {
        let variables = [TO, ("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)];
        assert_eq!(traces(&variables).unwrap().sampler, expected, "{name} {argument}");
    }
}

#[test]
fn what_is_wrong_stops_the_start_and_is_not_quoted() {
    let secret = "s3cret";
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://s3cret"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:s3cret@collector"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x=s3cret%zz"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x y=s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x=s3cret%0a"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_TRACES_SAMPLER", "xray"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_RESOURCE_ATTRIBUTES", "nonsense"),
    ] {
        let problems = given(&[TO, (name, value)]).problems();
        let [problem] = &problems[..] else { panic!("{name}={value}: {problems:?}") };
        assert!(problem.starts_with(&format!("{name}: ")), "{problem}");
        assert!(!problem.contains(secret), "{problem}");
    }
    let bad = ("OTEL_TRACES_SAMPLER_ARG", "2");
    let problems = given(&[TO, ("OTEL_TRACES_SAMPLER", "traceidratio"), bad]).problems();
    assert_eq!(problems, ["OTEL_TRACES_SAMPLER_ARG: is no number between 0 and 1"]);
}

#[test]
fn metrics_beyond_loopback_are_warned_about_and_not_refused() {
    let keyed = ("COPPICE_API_KEYS", "team-a:k:read");
    let warnings = |at: &str| {
        let loaded = given(&[keyed, ("COPPICE_OPS_LISTEN", at)]).loads();
        loaded.warnings.iter().filter(|warning| warning.contains("metrics")).count()
    };
    assert_eq!(warnings("127.0.0.1:9090,unix:/run/ops.sock"), 0);
    assert_eq!(warnings("0.0.0.0:9090,127.0.0.1:9091"), 1);
    // Also where nobody is asked for a key.
    given(&[("COPPICE_OPS_LISTEN", "0.0.0.0:9090")]).loads();
    let twice = given(&[keyed, ("COPPICE_OPS_LISTEN", "127.0.0.1:3000")]).problems();
    assert_eq!(twice, ["COPPICE_OPS_LISTEN: 127.0.0.1:3000 is listened on twice"]);
    let wrong = given(&[("COPPICE_OPS_LISTEN", "")]).problems();
    assert_eq!(wrong, ["COPPICE_OPS_LISTEN: is empty; remove it or give it a value"]);
}
