//! Spans, and their form on the wire: OTLP's `ExportTraceServiceRequest` in Protocol Buffers.
//!
//! Written by hand because it is a few dozen lines, and the official crates bring gRPC and its code generator along.
//! Field numbers are those of opentelemetry-proto 1.x, `trace/v1/trace.proto` and what it imports.

use http::HeaderValue;

use crate::clock;
use crate::record::{Outcome, Record, surface_name};
use crate::request::Trace;
use crate::route::Class;

/// A request, as a span.
#[derive(Debug)]
pub(super) struct Span {
    trace: Trace,
    name: &'static str,
    /// In nanoseconds since 1970.
    began: u64,
    ended: u64,
    failed: bool,
    attributes: Vec<(&'static str, Value)>,
}

#[derive(Debug)]
enum Value {
    Word(&'static str),
    Text(String),
    Number(u64),
}

const SERVER: u64 = 2;
const STATUS_ERROR: u64 = 2;

impl Span {
    /// The span of a request that has just ended, if its trace is kept.
    pub(super) fn of(record: &Record) -> Option<Self> {
        let trace = record.trace.as_deref().filter(|trace| trace.sampled)?.clone();
        let ended = clock::unix_nanos();
        let took = u64::try_from(record.took.as_nanos()).unwrap_or(u64::MAX);
        let outcome = record.outcome();
        let mut attributes = vec![
            ("http.request.method", Value::Text(record.method.to_string())),
            ("url.path", Value::Text(record.path().into_owned())),
            ("coppice.surface", Value::Word(surface_name(record.surface))),
            ("coppice.class", Value::Word(record.class.map_or("none", Class::name))),
            ("coppice.outcome", Value::Word(outcome.name())),
            ("coppice.end", Value::Word(record.end.name())),
            ("coppice.request.id", Value::Text(record.id().to_owned())),
        ];
        if let Some(route) = record.route {
            attributes.push(("http.route", Value::Word(route)));
        }
        if let Some(status) = record.status {
            let status = u64::from(status.as_u16());
            attributes.push(("http.response.status_code", Value::Number(status)));
        }
        if let Some(principal) = record.principal.as_deref() {
            attributes.push(("coppice.tenant", Value::Text(principal.tenant.to_string())));
        }
        if let Some(sandbox) = &record.sandbox {
            attributes.push(("coppice.sandbox.id", Value::Text(sandbox.to_string())));
        }
        if let Some(error) = &record.error {
            attributes.push(("error.type", Value::Word(error.answer().code)));
        }
        let is_servers = record.status.is_none_or(|status| status.is_server_error());
        Some(Self {
            trace,
            name: record.class.map_or("none", Class::name),
            began: ended.saturating_sub(took),
            ended,
            // A refusal is the client's trouble (OpenTelemetry's conventions for HTTP servers).
            failed: outcome == Outcome::Error && is_servers,
            attributes,
        })
    }
}

/// One request to the collector, with these spans.
pub(super) fn request(resource: &[(String, String)], spans: &[Span]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |of_resource| {
        of_resource.message(1, |message| {
            for (name, value) in resource {
                message.attribute(1, name, &Value::Text(value.clone()));
            }
        });
        of_resource.message(2, |of_scope| {
            of_scope.message(1, |scope| {
                scope.text(1, env!("CARGO_PKG_NAME"));
                scope.text(2, env!("CARGO_PKG_VERSION"));
            });
            for span in spans {
                of_scope.message(2, |message| message.span(span));
            }
        });
    });
    request.0
}

/// A message in Protocol Buffers' wire format, as far as it is written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn span(&mut self, span: &Span) {
        self.bytes(1, &span.trace.id.0);
        self.bytes(2, &span.trace.span.0);
        let state = span.trace.state.as_ref().map(HeaderValue::to_str);
        if let Some(Ok(state)) = state {
            self.text(3, state);
        }
        if let Some(parent) = &span.trace.parent {
            self.bytes(4, &parent.0);
        }
        self.text(5, span.name);
        self.number(6, SERVER);
        self.fixed64(7, span.began);
        self.fixed64(8, span.ended);
        for (name, value) in &span.attributes {
            self.attribute(9, name, value);
        }
        if span.failed {
            self.message(15, |status| status.number(3, STATUS_ERROR));
        }
    }

    fn attribute(&mut self, field: u64, name: &str, value: &Value) {
        self.message(field, |pair| {
            pair.text(1, name);
            pair.message(2, |any| match value {
                Value::Word(text) => any.text(1, text),
                Value::Text(text) => any.text(1, text),
                Value::Number(number) => any.number(3, *number),
            });
        });
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.varint(field << 3);
        self.varint(number);
    }

    fn fixed64(&mut self, field: u64, number: u64) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}
