//! What becomes an event, and what it holds.

use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, Uri};

use super::{Event, EventId};
use crate::audit::tests::{by, record, with};
use crate::error::{GatewayError, OverQuota};
use crate::principal::{Scope, TenantId};
use crate::record::{End, Record};
use crate::route::{Class, Listener, PortLabel, Surface};
use crate::target::SandboxId;

fn json(record: &Record) -> serde_json::Value {
    serde_json::to_value(Event::of(record).unwrap()).unwrap()
}

fn ended(
    record: Record,
    error: Option<GatewayError>,
    status: Option<StatusCode>,
    end: End,
) -> Record {
    with(record, |record| {
        record.error = error;
        record.status = status;
        record.end = end;
    })
}

#[test]
fn an_event_has_these_fields_in_this_order_and_no_others() {
    let record = by("team-b", record("POST", "/sandboxes/i1/pause?key=canary"));
    let record = with(record, |record| {
        record.surface = Some(Surface::Api);
        record.class = Some(Class::Exec);
        record.sandbox = Some(SandboxId::parse("i1").unwrap());
        record.error = Some(GatewayError::MissingScope(Scope::Admin));
        record.took = Duration::from_micros(12_999);
    });
    let event = Event::of(&record).unwrap();
    let expected = format!(
        r#"{{"eventID":"{}","timestamp":"{}","outcome":"denied","method":"POST","path":"/sandboxes/i1/pause","status":403,"tenantID":"team-b","principalName":"ci","keyID":"k1","scopes":["exec"],"message":"API key lacks required scope: admin","requestID":"r-1","clientIP":"192.0.2.7","surface":"control","routeClass":"exec","sandboxID":"i1","durationMs":12}}"#,
        event.id, event.timestamp,
    );
    assert_eq!(serde_json::to_string(&event).unwrap(), expected);
}

#[test]
fn what_is_not_known_is_left_out_or_said_to_be_unknown() {
    let mut record = record("-", "*");
    record.client = None;
    record.error = Some(GatewayError::HeadTimeout);
    let mut seen = json(&record);
    for (name, expected) in [
        ("routeClass", "none"),
        ("clientIP", "unknown"),
        ("surface", "control"),
        ("outcome", "denied"),
        ("method", "-"),
        ("path", "*"),
    ] {
        assert_eq!(seen[name].take(), expected, "{name}");
    }
    let names: Vec<_> = seen.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "eventID timestamp outcome method path status message requestID clientIP surface routeClass durationMs";
    assert_eq!(names.join(" "), expected);
}

#[test]
fn what_is_recorded_row_by_row() {
    let ok = Some(200);
    let refused = |error| (Some(error), None);
    let answered = |status| (None, Some(status));
    for (method, (error, status), end, expected) in [
        ("GET", answered(200), End::Complete, None),
        ("GET", answered(302), End::Complete, None),
        ("GET", answered(200), End::ClientGone, None),
        ("HEAD", answered(200), End::Complete, None),
        ("OPTIONS", answered(204), End::Complete, None),
        ("GET", answered(101), End::Complete, Some(("allowed", 101))),
        ("POST", answered(201), End::Complete, Some(("allowed", 201))),
        ("POST", answered(200), End::ClientGone, Some(("allowed", 200))),
        ("POST", answered(200), End::Broken, Some(("allowed", 200))),
        ("PATCH", answered(204), End::Complete, Some(("allowed", 204))),
        ("DELETE", answered(204), End::Complete, Some(("allowed", 204))),
        ("GET", answered(404), End::Complete, Some(("error", 404))),
        ("HEAD", answered(503), End::Complete, Some(("error", 503))),
        ("POST", answered(409), End::Complete, Some(("error", 409))),
        ("GET", (None, None), End::ClientGone, Some(("error", 499))),
        ("GET", (None, None), End::Panicked, Some(("error", 500))),
        ("GET", (None, ok), End::Panicked, Some(("error", 500))),
        ("GET", refused(GatewayError::NoCredential), End::Complete, Some(("denied", 401))),
        (
            "GET",
            refused(GatewayError::MissingScope(Scope::Exec)),
            End::Complete,
            Some(("denied", 403)),
        ),
        ("GET", refused(GatewayError::NotFound), End::Complete, Some(("denied", 404))),
        ("GET", refused(GatewayError::SandboxNotFound), End::Complete, Some(("denied", 404))),
        ("GET", refused(GatewayError::HeadTooLarge), End::Complete, Some(("denied", 431))),
        // A Connect stream is refused under 200.
        ("POST", (Some(GatewayError::BadToken), ok), End::Complete, Some(("denied", 401))),
        ("GET", refused(GatewayError::CallbackFailed), End::Complete, Some(("error", 500))),
        ("GET", refused(GatewayError::OwnershipUnknown), End::Complete, Some(("error", 503))),
        (
            "POST",
            refused(GatewayError::UpstreamTimeout { unknown_outcome: true }),
            End::Complete,
            Some(("error", 504)),
        ),
    ] {
        let context = format!("{method} {error:?} {status:?} {end:?}");
        let status = status.map(|status| StatusCode::from_u16(status).unwrap());
        let event = Event::of(&ended(record(method, "/x"), error, status, end));
        let seen = event.map(|event| (event.outcome.name(), event.status));
        assert_eq!(seen, expected, "{context}");
    }
}

#[test]
fn the_message_is_what_the_gateway_said() {
    let quota = GatewayError::QuotaExceeded {
        tenant: TenantId::parse("team-a").unwrap(),
        limit: 2,
        status: OverQuota::Forbidden,
    };
    for (error, end, status, expected) in [
        (
            Some(quota),
            End::Complete,
            None,
            Some("tenant team-a has reached its limit of 2 active sandboxes"),
        ),
        (None, End::ClientGone, None, Some("The client left before it was answered")),
        (
            None,
            End::Panicked,
            Some(StatusCode::OK),
            Some("The gateway failed; its log has the cause under this request id"),
        ),
        (None, End::Complete, Some(StatusCode::CONFLICT), None),
    ] {
        let seen = json(&ended(record("POST", "/x"), error, status, end));
        assert_eq!(seen["message"].as_str(), expected);
    }
}

#[test]
fn a_request_that_could_not_be_read_is_of_its_listener() {
    for (listener, expected) in [
        (Listener::Control { one_port: true }, "control"),
        (Listener::Data(PortLabel::Port(49983)), "envd"),
        (Listener::Data(PortLabel::Port(49999)), "interpreter"),
        (Listener::Data(PortLabel::Port(80)), "port"),
        (Listener::Data(PortLabel::Every), "port"),
    ] {
        let error = Some(GatewayError::HeadTooLarge);
        let seen = json(&ended(record("GET", "/").on(listener), error, None, End::Complete));
        assert_eq!(seen["surface"], expected);
    }
    for surface in Surface::ALL {
        let seen = json(&with(record("PUT", "/"), |record| record.surface = Some(surface)));
        let expected = if surface == Surface::Api { "control" } else { surface.name() };
        assert_eq!(seen["surface"], expected);
    }
}

#[test]
fn what_a_client_wrote_is_short_and_visible() {
    // HTTP/2 carries bytes that HTTP/1.1 cannot.
    let strange = Uri::from_maybe_shared("/a\u{9b}31m\u{2028}b".as_bytes()).unwrap();
    let method = Method::from_bytes("M".repeat(500).as_bytes()).unwrap();
    let id = HeaderValue::from_static("r");
    let seen = json(&Record::begin(id, None, method, strange));
    assert_eq!(seen["path"], "/a%C2%9B31m%E2%80%A8b");
    assert_eq!(seen["method"], format!("{}…", "M".repeat(32)));

    let long = json(&record("PUT", &format!("/{}", "x".repeat(30_000))));
    assert_eq!(long["path"], format!("/{}…", "x".repeat(1023)));
    let longest = format!("/{}", "x".repeat(1023));
    assert_eq!(json(&record("PUT", &longest))["path"], *longest);
    let quoted = with(record("PUT", "/%22%5C\"{}"), |record| record.surface = Some(Surface::Port));
    let quoted = json(&quoted);
    assert_eq!(quoted["path"], "/%22%5C\"{}");
}

#[test]
fn ids_are_unlike_and_survive_their_text() {
    let ids: Vec<_> = (0..1000).map(|_| Event::of(&record("PUT", "/")).unwrap().id()).collect();
    let unlike: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(unlike.len(), ids.len());
    for id in &ids {
        assert_eq!(id.to_string().parse(), Ok(*id));
        assert_eq!(id.to_string().len(), 32);
    }
    for text in ["", "0", "+0000000000000000000000000000000", &"g".repeat(32), &"0".repeat(33)] {
        assert!(text.parse::<EventId>().is_err(), "{text}");
    }
}
