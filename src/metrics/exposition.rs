//! The two formats of a scrape: Prometheus' text format 0.0.4, and OpenMetrics 1.0.
//!
//! They differ in how a counter's family is called, in units, and in the last line.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use crate::tally::Distribution;

/// What every name begins with.
const PREFIX: &str = "coppice_gateway_";

/// How a scrape is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Prometheus' own text format.
    Text,
    /// OpenMetrics.
    OpenMetrics,
}

impl Format {
    /// What an `Accept` header asks for: OpenMetrics where it is preferred, else the text format.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let (mut open, mut text) = (0, 0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, thousandths);
            if kind.eq_ignore_ascii_case("application/openmetrics-text") {
                open = open.max(weight);
            } else if kind.eq_ignore_ascii_case("text/plain") {
                text = text.max(weight);
            }
        }
        if open > 0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// The `Content-Type` of a scrape in this format.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A weight between 0 and 1 (RFC 9110 12.4.2), times 1000. What is none counts as 0.
fn thousandths(weight: &str) -> u32 {
    weight.parse::<f32>().map_or(0, |weight| (weight.clamp(0.0, 1.0) * 1000.0) as u32)
}

/// What a family's numbers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// They only grow. Names go without their `_total`.
    Counter,
    /// They go up and down.
    Gauge,
    /// They are counts of durations in buckets.
    Histogram,
}

/// A scrape as it is written.
#[derive(Debug)]
pub struct Exposition {
    text: String,
    format: Format,
}

impl Exposition {
    /// An empty one.
    #[must_use]
    pub const fn new(format: Format) -> Self {
        Self { text: String::new(), format }
    }

    /// Begins a family of this name, less what all names begin with.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) -> Family<'_> {
        let (suffix, word) = match kind {
            Kind::Counter => ("_total", "counter"),
            Kind::Gauge => ("", "gauge"),
            Kind::Histogram => ("", "histogram"),
        };
        let samples = format!("{PREFIX}{name}{suffix}");
        let family = match self.format {
            Format::Text => samples.clone(),
            Format::OpenMetrics => format!("{PREFIX}{name}"),
        };
        self.line(format_args!("# HELP {family} {help}"));
        self.line(format_args!("# TYPE {family} {word}"));
        if self.format == Format::OpenMetrics && family.ends_with("_seconds") {
            self.line(format_args!("# UNIT {family} seconds"));
        }
        Family { exposition: self, name: samples }
    }

    /// The whole text.
    #[must_use]
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// A family that was begun.
#[derive(Debug)]
pub struct Family<'e> {
    exposition: &'e mut Exposition,
    name: String,
}

impl Family<'_> {
    /// One number, under these labels.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        self.write("", labels, None, &value);
    }

    /// One histogram, under these labels.
    pub fn histogram(&mut self, labels: &[(&str, &str)], distribution: &Distribution) {
        for (bound, count) in &distribution.up_to {
            self.write("_bucket", labels, Some(&seconds(*bound)), count);
        }
        self.write("_bucket", labels, Some("+Inf"), &distribution.count);
        self.write("_count", labels, None, &distribution.count);
        self.write("_sum", labels, None, &seconds(distribution.sum));
    }

    fn write(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        bound: Option<&str>,
        value: &dyn Display,
    ) {
        let mut shown = String::new();
        for (name, value) in labels.iter().copied().chain(bound.map(|bound| ("le", bound))) {
            let comma = if shown.is_empty() { "" } else { "," };
            let _ = write!(shown, "{comma}{name}=\"{}\"", escaped(value));
        }
        let shown = if shown.is_empty() { shown } else { format!("{{{shown}}}") };
        self.exposition.line(format_args!("{}{suffix}{shown} {value}", self.name));
    }
}

/// Seconds as both formats want them: with a point, so that `1` is `1.0` to every reader.
fn seconds(duration: Duration) -> String {
    format!("{:?}", duration.as_secs_f64())
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_was_asked_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,\
            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain", Format::Text),
            ("application/json", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("text/plain, application/openmetrics-text", Format::OpenMetrics),
            ("text/plain, Application/OpenMetrics-Text;q=0.1", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=x", Format::Text),
            (prometheus, Format::OpenMetrics),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }

    #[test]
    fn label_values_cannot_end_a_line() {
        let mut exposition = Exposition::new(Format::Text);
        let mut family = exposition.family("x", Kind::Gauge, "help");
        family.sample(&[("tenant", "a\"} 1\n\\x")], 2);
        let text = exposition.finish();
        assert!(text.ends_with("coppice_gateway_x{tenant=\"a\\\"} 1\\n\\\\x\"} 2\n"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }
}
