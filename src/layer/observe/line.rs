//! One line in the log for each request: at INFO when it was refused or failed, else at DEBUG.

use crate::record::{End, Observer, Outcome, Record};
use crate::route::{Class, Surface};

/// Writes the lines.
#[derive(Clone, Copy, Debug)]
pub struct Line;

impl Observer for Line {
    fn ended(&self, record: &Record) {
        let outcome = record.outcome();
        if outcome == Outcome::Allowed && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let principal = record.principal.as_deref();
        let millis = u64::try_from(record.took.as_millis()).unwrap_or(u64::MAX);
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    request_id = record.id(),
                    method = %record.method,
                    path = &*record.path(),
                    client = record.client.map(tracing::field::display),
                    status = record.status.map(|status| status.as_u16()),
                    tenant = principal.map(|principal| principal.tenant.as_str()),
                    key = principal.map(|principal| principal.key.as_str()),
                    surface = record.surface.map(Surface::name),
                    class = record.class.map(Class::name),
                    error = record.error.as_ref().map(|error| error.answer().code),
                    end = record.end.name(),
                    duration_ms = millis,
                    $message
                )
            };
        }
        match (outcome, record.end) {
            (Outcome::Error, End::Panicked) => line!(error, "request ended by a bug"),
            (Outcome::Error, End::ClientGone) if record.status.is_none() => {
                line!(debug, "request abandoned by its client");
            }
            (Outcome::Error, End::Broken) if record.status.is_none() => {
                line!(info, "request cut off by the gateway's end");
            }
            _ if record.error.is_some() => line!(info, "request refused or failed"),
            (Outcome::Error, _) => line!(info, "request failed upstream"),
            (Outcome::Allowed | Outcome::Denied, _) => line!(debug, "request answered"),
        }
    }
}
