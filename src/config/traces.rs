//! Reads where traces go from OpenTelemetry's own variables, which every program that is traced shares.
//!
//! They have no other spelling, and an empty one counts as absent, as OpenTelemetry's specification has it
//! (`configuration/sdk-environment-variables`, `protocol/exporter`). Headers and the user part of an address may be
//! secret, and no message quotes them.

use std::time::Duration;

use http::uri::Uri;
use http::{HeaderName, HeaderValue};

use super::problem::Spelling;
use super::reader::Reader;
use crate::request::trace::Sampler;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const SERVICE: &str = "coppice-gateway";
/// Longest wait for a collector.
const MAX_TIMEOUT: u64 = 600_000;

/// Where traces go, and which are kept.
#[derive(Debug)]
pub struct TraceSettings {
    /// The collector's address for spans, path included.
    pub endpoint: String,
    /// Sent with each batch.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// For one batch.
    pub timeout: Duration,
    /// Which traces are kept.
    pub sampler: Sampler,
    /// OpenTelemetry's resource attributes.
    pub resource: Vec<(String, String)>,
}

/// Reads all of it. None when no address is set, or traces are turned off.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<TraceSettings> {
    let disabled = reader.shared("OTEL_SDK_DISABLED", |text| match text {
        "true" | "True" | "TRUE" => Ok(true),
        // Whatever else counts as false.
        _ => Ok(false),
    });
    let exporter = reader.shared("OTEL_TRACES_EXPORTER", |text| match text {
        "otlp" => Ok(true),
        "none" => Ok(false),
        _ => Err("is neither otlp nor none".to_owned()),
    });
    if disabled == Some(true) || exporter == Some(false) {
        return None;
    }
    let of_traces = reader.shared(TRACES_ENDPOINT, |text| address(text).map(|()| text.to_owned()));
    let of_all = reader.shared(ENDPOINT, |text| {
        address(text).map(|()| format!("{}/v1/traces", text.trim_end_matches('/')))
    });
    let endpoint = of_traces.or(of_all)?;
    for name in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] {
        reader.shared(name, |text| match text {
            "http/protobuf" => Ok(()),
            _ => Err("is not supported by this version; use http/protobuf".to_owned()),
        });
    }
    let headers = either(reader, "HEADERS", headers).unwrap_or_default();
    let timeout = either(reader, "TIMEOUT", timeout);
    let timeout = timeout.unwrap_or(Duration::from_secs(10));
    Some(TraceSettings {
        endpoint,
        headers,
        timeout,
        sampler: sampler(reader),
        resource: resource(reader),
    })
}

/// The variable for traces, else that for everything.
fn either<T>(
    reader: &mut Reader<'_>,
    name: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    let of_traces = reader.shared(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), &parse);
    let of_all = reader.shared(&format!("OTEL_EXPORTER_OTLP_{name}"), &parse);
    of_traces.or(of_all)
}

fn address(text: &str) -> Result<(), String> {
    let uri = text.parse::<Uri>().ok().filter(|_| !text.contains(['#', '\\']));
    let is_http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    match uri.filter(is_http).and_then(|uri| uri.authority().cloned()) {
        None => Err("is no URL; write http://HOST:PORT or https://HOST:PORT".to_owned()),
        Some(authority) if authority.as_str().contains('@') => {
            Err("must not hold a user name or password; use OTEL_EXPORTER_OTLP_HEADERS".to_owned())
        }
        Some(_) => Ok(()),
    }
}

/// `name=value` pairs, as W3C Baggage writes them.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let pairs = entries.enumerate().map(|(index, entry)| {
        let pair = entry.split_once('=').and_then(|(name, value)| {
            let name = name.trim();
            let value = unescaped(value.trim())?;
            (!name.is_empty()).then(|| (name.to_owned(), value))
        });
        pair.ok_or_else(|| format!("its entry {} is not NAME=VALUE", index + 1))
    });
    pairs.collect()
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let headers = pairs(text)?.into_iter().enumerate().map(|(index, (name, value))| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        let value = HeaderValue::from_str(&value).ok();
        let pair = name.zip(value).ok_or_else(|| format!("its entry {} is no header", index + 1));
        pair.map(|(name, mut value)| {
            value.set_sensitive(true);
            (name, value)
        })
    });
    headers.collect()
}

fn timeout(text: &str) -> Result<Duration, String> {
    let millis = text.parse().ok().filter(|millis| (1..=MAX_TIMEOUT).contains(millis));
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| format!("is no number of milliseconds from 1 to {MAX_TIMEOUT}"))
}

fn sampler(reader: &mut Reader<'_>) -> Sampler {
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
    // The part of the traces that is kept; none where the argument says so.
    let chosen = reader.shared("OTEL_TRACES_SAMPLER", |text| {
        let (root, parent_based) = match text.strip_prefix("parentbased_") {
            Some(root) => (root, true),
            None => (text, false),
        };
        match root {
            "always_on" => Ok((Some(1.0), parent_based)),
            "always_off" => Ok((Some(0.0), parent_based)),
            "traceidratio" => Ok((None, parent_based)),
            _ => Err("is none of always_on, always_off and traceidratio, nor one of these behind parentbased_"
                .to_owned()),
        }
    });
    let (part, parent_based) = chosen.unwrap_or((Some(1.0), true));
    let part = part.unwrap_or_else(|| {
        let ratio = reader.shared(ARGUMENT, |text| {
            let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
            ratio.ok_or_else(|| "is no number between 0 and 1".to_owned())
        });
        ratio.unwrap_or(1.0)
    });
    Sampler::new(part, parent_based)
}

fn resource(reader: &mut Reader<'_>) -> Vec<(String, String)> {
    let mut resource = reader.shared("OTEL_RESOURCE_ATTRIBUTES", pairs).unwrap_or_default();
    let name = reader.shared("OTEL_SERVICE_NAME", |text| Ok(text.to_owned()));
    if let Some(name) = name {
        resource.retain(|(key, _)| key != "service.name");
        resource.push(("service.name".to_owned(), name));
    }
    for (key, value) in [("service.name", SERVICE), ("service.version", env!("CARGO_PKG_VERSION"))]
    {
        if !resource.iter().any(|(own, _)| own == key) {
            resource.push((key.to_owned(), value.to_owned()));
        }
    }
    resource
}

impl Reader<'_> {
    /// A variable that is not the gateway's alone. An empty one is none.
    fn shared<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text_of(name)?;
        match text.and_then(|text| parse(text.trim())) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problem(Spelling::Variable(name.to_owned()), message);
                None
            }
        }
    }
}
