//! Schedules, as Coppice has them: stored create payloads that make sandboxes by themselves.
//!
//! There is no clock in them: a schedule runs when it is made and whenever it is changed, which is all that a client can
//! tell from outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::files::Files;
use super::locked;
use super::reply::{Answer, Payload, Refusal, Reply, empty, error, json};
use super::state::{NewSandbox, World};

const TIMEOUT: u32 = 300;

/// All schedules by id.
pub(super) type Schedules = BTreeMap<String, Schedule>;

/// One schedule.
pub(super) struct Schedule {
    spec: Value,
    runs: u32,
    last: Option<String>,
}

impl Schedule {
    fn json(&self, id: &str) -> Value {
        json!({ "scheduleID": id, "spec": self.spec, "runCount": self.runs, "lastSandboxID": self.last })
    }

    /// Makes a sandbox of every payload in the schedule.
    fn run(&mut self, world: &World) -> Result<(), Refusal> {
        let bad = |cause: serde_json::Error| error(StatusCode::BAD_REQUEST, &cause.to_string());
        for payload in payloads(&self.spec) {
            let spec: NewSandbox = serde_json::from_value(payload.clone()).map_err(bad)?;
            let known = locked(&world.templates).resolve(&spec.template);
            let (template, alias) = known.ok_or_else(|| {
                error(StatusCode::NOT_FOUND, &format!("template '{}' not found", spec.template))
            })?;
            let timeout = spec.timeout.unwrap_or(TIMEOUT);
            let made = world.create(spec, template, Some(alias), timeout, Files::new());
            self.last = Some(made.id.clone());
            self.runs += 1;
        }
        Ok(())
    }
}

/// Every object that holds a `templateID`, from the outside in.
fn payloads(value: &Value) -> Vec<&Value> {
    let own = value.get("templateID").is_some().then_some(value);
    let inner: Vec<&Value> = match value {
        Value::Array(elements) => elements.iter().collect(),
        Value::Object(members) => members.values().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    own.into_iter().chain(inner.into_iter().flat_map(payloads)).collect()
}

/// The schedule routes.
pub(super) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/schedules", get(list).post(make))
        .route("/schedules/{id}", get(detail).patch(change).delete(delete))
}

fn unknown(id: &str) -> Reply {
    error(StatusCode::NOT_FOUND, &format!("schedule '{id}' not found"))
}

async fn list(State(world): State<Arc<World>>) -> Reply {
    let schedules = locked(&world.schedules);
    json(StatusCode::OK, &schedules.iter().map(|(id, schedule)| schedule.json(id)).collect())
}

async fn make(
    State(world): State<Arc<World>>,
    Payload(spec): Payload<Map<String, Value>>,
) -> Answer {
    let mut schedule = Schedule { spec: spec.into(), runs: 0, last: None };
    schedule.run(&world)?;
    let id = world.fresh_id('c');
    let answer = schedule.json(&id);
    locked(&world.schedules).insert(id, schedule);
    Ok(json(StatusCode::CREATED, &answer))
}

async fn detail(State(world): State<Arc<World>>, Path(id): Path<String>) -> Answer {
    let schedules = locked(&world.schedules);
    let schedule = schedules.get(&id).ok_or_else(|| unknown(&id))?;
    Ok(json(StatusCode::OK, &schedule.json(&id)))
}

/// Takes a JSON merge patch (RFC 7396).
async fn change(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    Payload(patch): Payload<Map<String, Value>>,
) -> Answer {
    let mut schedules = locked(&world.schedules);
    let schedule = schedules.get_mut(&id).ok_or_else(|| unknown(&id))?;
    merge(&mut schedule.spec, patch);
    schedule.run(&world)?;
    Ok(json(StatusCode::OK, &schedule.json(&id)))
}

async fn delete(State(world): State<Arc<World>>, Path(id): Path<String>) -> Answer {
    locked(&world.schedules).remove(&id).ok_or_else(|| unknown(&id))?;
    Ok(empty(StatusCode::NO_CONTENT))
}

fn merge(target: &mut Value, patch: Map<String, Value>) {
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(members) = target else { return };
    for (name, value) in patch {
        match value {
            Value::Null => {
                members.remove(&name);
            }
            Value::Object(inner) => merge(members.entry(name).or_insert(Value::Null), inner),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                members.insert(name, value);
            }
        }
    }
}
