//! What happened to sandboxes, as E2B's lifecycle events tell it. Kept without bound: a simulator does not run long.

use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::locked;
use super::query::{first, pairs};
use super::reply::{Answer, Refusal, error, json};
use super::state::{Sandbox, World, plain_id};
use crate::clock::UnixTime;

const PAGE: usize = 10;
const LARGEST_PAGE: usize = 100;

/// All events, oldest first.
#[derive(Default)]
pub(super) struct Events(Mutex<Vec<Value>>);

impl Events {
    /// Notes that `what` (`created`, `paused`, …) happened to a sandbox. Only its creation tells its metadata.
    pub(super) fn note(&self, sandbox: &Sandbox, what: &str) {
        let mut all = locked(&self.0);
        let number = all.len();
        let data =
            (what == "created").then(|| json!({ "sandbox_metadata": sandbox.spec.metadata }));
        all.push(json!({
            "version": "v1",
            "id": format!("00000000-0000-4000-8000-{number:012}"),
            "type": format!("sandbox.lifecycle.{what}"),
            "eventData": data,
            "sandboxId": sandbox.id,
            "sandboxTemplateId": sandbox.template,
            "sandboxTeamId": "simulator",
            "timestamp": UnixTime::now().to_string(),
        }));
    }
}

/// `GET /events/sandboxes`.
pub(super) async fn of_all(State(world): State<Arc<World>>, uri: Uri) -> Answer {
    page(&world, &uri, |_| true)
}

/// `GET /events/sandboxes/{id}`.
pub(super) async fn of_one(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer {
    page(&world, &uri, |event| event["sandboxId"] == plain_id(&id))
}

fn bad(message: &str) -> Refusal {
    error(StatusCode::BAD_REQUEST, message).into()
}

fn page(world: &World, uri: &Uri, is_wanted: impl Fn(&Value) -> bool) -> Answer {
    let number = |name: &str, default: usize| match first(uri, name).map(|text| text.parse()) {
        None => Ok(default),
        Some(Ok(number)) => Ok(number),
        Some(Err(_)) => Err(bad(&format!("{name} must be a number"))),
    };
    let (limit, offset) = (number("limit", PAGE)?, number("offset", 0)?);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(bad("limit must be between 1 and 100"));
    }
    let types: Vec<String> = pairs(uri.query().unwrap_or_default())
        .filter_map(|(name, value)| (name == "types").then_some(value))
        .collect();
    let mut events = locked(&world.events.0).clone();
    events.retain(|event| {
        is_wanted(event)
            && (types.is_empty() || types.iter().any(|wanted| event["type"] == **wanted))
    });
    if first(uri, "orderAsc").as_deref() != Some("true") {
        events.reverse();
    }
    Ok(json(StatusCode::OK, &events.into_iter().skip(offset).take(limit).collect()))
}
