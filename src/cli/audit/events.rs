//! `audit query` and `audit tail`: events as a gateway tells them.

use std::collections::HashSet;
use std::io::{self, IsTerminal as _};

use serde_json::Value;

use super::stream::{Message, Parser};
use crate::cli::args::ClientOptions;
use crate::cli::client::{self, Client};
use crate::cli::output::{complain, print, print_more, visible};
use crate::cli::token::Access;
use crate::cli::{Exit, Failure};
use crate::config::Sources;

const EVENTS: &str = "audit/events";
const STREAM: &str = "audit/stream";

/// A parameter of the endpoint, and its value.
pub(in crate::cli) type Parameter = (&'static str, String);

/// Prints a page of events in the order of the answer; as JSON, the answer as it came.
pub(super) fn query(
    options: &ClientOptions,
    sources: &Sources,
    filters: &[Parameter],
    page: &[Parameter],
) -> Result<Exit, Failure> {
    let access = Access::find(options, sources)?;
    let answer = client::block_on(async {
        Client::new(&access)?.ask(EVENTS, &[filters, page].concat()).await
    })?;
    if options.json {
        return Ok(print(&format!("{answer}\n")));
    }
    Ok(print(&listed(&answer)?.iter().map(|event| line(event, false)).collect::<String>()))
}

/// Prints the newest events, the newest last, and with `follow` those to come. As JSON, each event is a line.
pub(super) fn tail(
    options: &ClientOptions,
    sources: &Sources,
    filters: &[Parameter],
    count: u16,
    follow: bool,
) -> Result<Exit, Failure> {
    let access = Access::find(options, sources)?;
    client::block_on(async {
        let client = Client::new(&access)?;
        // Begun first, so that nothing is lost between the two.
        let mut stream = match follow {
            true => Some(client.open(STREAM, None).await?),
            false => None,
        };
        let parameters = [filters, &[("limit", count.to_string())]].concat();
        let answer = client.ask(EVENTS, &parameters).await?;
        let mut newest = listed(&answer)?.clone();
        newest.reverse();
        let text: String = newest.iter().map(|event| line(event, options.json)).collect();
        if let Err(exit) = print_more(&text) {
            return Ok(exit);
        }
        let mut seen: HashSet<String> = newest.iter().filter_map(id).collect();
        // Where a stream that breaks off is taken up again.
        let mut last = newest.last().and_then(id);
        while let Some(response) = stream.as_mut() {
            let mut parser = Parser::default();
            while let Ok(Some(chunk)) = response.chunk().await {
                for Message { id: number, kind, data } in parser.feed(&chunk) {
                    last = number.or(last);
                    let event = serde_json::from_str::<Value>(&data).ok();
                    if kind.as_deref() == Some("gap") {
                        complain(&gap(event.as_ref()));
                        continue;
                    }
                    let Some(event) = event else { continue };
                    let is_new = !id(&event).is_some_and(|id| seen.remove(&id));
                    if is_new
                        && is_wanted(&event, filters)
                        && let Err(exit) = print_more(&line(&event, options.json))
                    {
                        return Ok(exit);
                    }
                }
            }
            tokio::time::sleep(client::REST).await;
            stream = Some(client.open(STREAM, last.as_deref()).await?);
        }
        Ok(Exit::Done)
    })
}

/// What to tell people where the stream says that it left events out.
fn gap(told: Option<&Value>) -> String {
    let reason = told.and_then(|told| told.get("reason")?.as_str()).unwrap_or("unknown");
    format!("events may be missing here: {}", visible(reason))
}

fn listed(answer: &Value) -> Result<&Vec<Value>, Failure> {
    let events = answer.get("events").and_then(Value::as_array);
    events.ok_or_else(|| Failure::new(Exit::Failed, "the answer has no events"))
}

fn id(event: &Value) -> Option<String> {
    Some(event.get("eventID")?.as_str()?.to_owned())
}

/// Whether an event of the stream, which is told everything, passes the filters of a listing.
fn is_wanted(event: &Value, filters: &[Parameter]) -> bool {
    let text = |field: &str| event.get(field).and_then(Value::as_str).unwrap_or_default();
    filters.iter().all(|(name, value)| match *name {
        "pathPrefix" => text("path").starts_with(value),
        name => text(name) == value,
    })
}

/// A line about an event: columns for people, aligned by tabs elsewhere; or the event itself.
fn line(event: &Value, json: bool) -> String {
    if json {
        return format!("{event}\n");
    }
    let between = if io::stdout().is_terminal() { "  " } else { "\t" };
    let column = |field: &str| match event.get(field) {
        Some(Value::String(text)) => visible(text),
        Some(Value::Number(number)) => number.to_string(),
        Some(_) | None => "-".to_owned(),
    };
    let fields = [
        "timestamp",
        "outcome",
        "status",
        "method",
        "path",
        "tenantID",
        "principalName",
        "keyID",
        "sandboxID",
        "clientIP",
        "requestID",
        "message",
    ];
    fields.map(column).join(between) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_hold_for_followed_events_too() {
        let event =
            serde_json::json!({"tenantID": "a", "outcome": "denied", "path": "/sandboxes/x"});
        let wanted = |filters: &[(&'static str, &str)]| {
            let filters: Vec<_> =
                filters.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
            is_wanted(&event, &filters)
        };
        assert!(wanted(&[]));
        assert!(wanted(&[("tenantID", "a"), ("outcome", "denied"), ("pathPrefix", "/sand")]));
        for other in [("tenantID", "b"), ("outcome", "error"), ("pathPrefix", "/x"), ("keyID", "k")]
        {
            assert!(!wanted(&[("tenantID", "a"), other]), "{other:?}");
        }
    }
}
