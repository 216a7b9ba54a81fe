//! Read-only answers about sandboxes: lists, paging, logs and metrics.

use axum::extract::Path;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, StatusCode, Uri};
use serde_json::{Map, Value, json};

use super::super::query::{first, pairs, unescape};
use super::super::reply::{Answer, Refusal, Reply, error, json};
use super::super::state::{Sandbox, World, plain_id};
use super::{Known, find};
use crate::clock::UnixTime;

const PAGE: usize = 100;
const GIB: u64 = 1 << 30;

fn bad(message: &str) -> Reply {
    error(StatusCode::BAD_REQUEST, message)
}

/// `GET /sandboxes`: all running ones, no paging.
pub(super) async fn running(State(world): Known, uri: Uri) -> Answer {
    world.lists.strike().await?;
    let wanted = metadata_filter(&world, &uri);
    let running = world
        .sandboxes()
        .into_iter()
        .filter(|sandbox| sandbox.is_running() && has_metadata(sandbox, &wanted));
    Ok(json(StatusCode::OK, &running.map(|sandbox| sandbox.listed()).collect()))
}

/// `GET /v2/sandboxes`: filtered, ordered, paged.
pub(super) async fn paged(State(world): Known, uri: Uri) -> Answer {
    world.lists.strike().await?;
    let limit = limit(&uri)?;
    let (want_running, want_paused) = states(&uri)?;
    let oldest_first = match first(&uri, "order").as_deref() {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(_) => return Err(bad("order must be asc or desc").into()),
    };
    let after = first(&uri, "nextToken").map(|token| cursor(&token)).transpose()?;
    let wanted = metadata_filter(&world, &uri);
    let template = first(&uri, "template");

    let mut found = world.sandboxes();
    found.retain(|sandbox| {
        let state = if sandbox.is_running() { want_running } else { want_paused };
        let template_fits = template
            .as_ref()
            .is_none_or(|name| *name == sandbox.template || sandbox.alias.as_ref() == Some(name));
        state && template_fits && has_metadata(sandbox, &wanted)
    });
    let total_running = found.iter().filter(|sandbox| sandbox.is_running()).count();
    if oldest_first {
        found.reverse();
    }
    if let Some(after) = after {
        found.retain(
            |sandbox| {
                if oldest_first { sandbox.order > after } else { sandbox.order < after }
            },
        );
    }
    let next = (found.len() > limit).then(|| found.get(limit - 1)).flatten().map(|last| last.order);
    let page = found.iter().take(limit).map(|sandbox| sandbox.listed()).collect();

    let mut reply = json(StatusCode::OK, &page);
    if want_running {
        reply.headers_mut().insert("x-total-running", HeaderValue::from(total_running));
    }
    go_on(&mut reply, next);
    Ok(reply)
}

/// How much a page may hold.
pub(in super::super) fn limit(uri: &Uri) -> Result<usize, Refusal> {
    match first(uri, "limit").map(|text| text.parse()) {
        None => Ok(PAGE),
        Some(Ok(limit @ 1..=PAGE)) => Ok(limit),
        Some(Ok(_) | Err(_)) => Err(bad("limit must be between 1 and 100").into()),
    }
}

/// Says where the next page begins, if there is one.
pub(in super::super) fn go_on(reply: &mut Reply, next: Option<u64>) {
    if let Some(next) = next
        && let Ok(token) = HeaderValue::from_str(&URL_SAFE_NO_PAD.encode(next.to_string()))
    {
        reply.headers_mut().insert("x-next-token", token);
    }
}

/// What [`go_on`] said.
pub(in super::super) fn cursor(token: &str) -> Result<u64, Refusal> {
    let decoded = URL_SAFE_NO_PAD.decode(token).ok();
    let order = decoded.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
    Ok(order.ok_or_else(|| bad("Invalid next token"))?)
}

/// Which of running and paused `state` asks for; both when it is absent.
fn states(uri: &Uri) -> Result<(bool, bool), Refusal> {
    let mut asked = Vec::new();
    for (name, value) in pairs(uri.query().unwrap_or_default()) {
        if name == "state" {
            asked.extend(value.split(',').map(str::to_owned));
        }
    }
    if asked.is_empty() {
        return Ok((true, true));
    }
    if asked.iter().any(|state| state != "running" && state != "paused") {
        return Err(bad("state must be running or paused").into());
    }
    let has = |state: &str| asked.iter().any(|asked| asked == state);
    Ok((has("running"), has("paused")))
}

/// The `metadata` parameter: a query string inside the query, encoded as a whole and each part once more.
fn metadata_filter(world: &World, uri: &Uri) -> Vec<(String, String)> {
    let filter = first(uri, "metadata").filter(|_| !world.options.ignore_filters);
    let Some(filter) = filter else { return Vec::new() };
    pairs(&unescape(&filter)).collect()
}

fn has_metadata(sandbox: &Sandbox, wanted: &[(String, String)]) -> bool {
    wanted.iter().all(|(name, value)| sandbox.spec.metadata.get(name) == Some(value))
}

fn log_entries(sandbox: &Sandbox) -> Value {
    json!([{
        "timestamp": sandbox.started.to_string(),
        "level": "info",
        "message": "Sandbox started",
        "fields": { "logger": "simulator" },
    }])
}

pub(super) async fn logs_v1(State(world): Known, Path(id): Path<String>) -> Answer {
    let sandbox = find(&world, &id)?;
    // A line is JSON once more, inside a string: the command line client parses it and shows level, logger and message.
    let line =
        json!({ "level": "info", "logger": "simulator", "message": "Sandbox started" }).to_string();
    let line = json!({ "timestamp": sandbox.started.to_string(), "line": line });
    let logs = json!({ "logs": [line], "logEntries": log_entries(&sandbox) });
    Ok(json(StatusCode::OK, &logs))
}

pub(super) async fn logs_v2(State(world): Known, Path(id): Path<String>) -> Answer {
    let sandbox = find(&world, &id)?;
    Ok(json(StatusCode::OK, &json!({ "logs": log_entries(&sandbox) })))
}

fn sample() -> Value {
    let now = UnixTime::now();
    json!({
        "timestamp": now.to_string(),
        "timestampUnix": now.0,
        "cpuCount": 2,
        "cpuUsedPct": 1.5,
        "memUsed": GIB / 8,
        "memTotal": GIB / 2,
        "memCache": GIB / 16,
        "diskUsed": GIB / 4,
        "diskTotal": GIB,
    })
}

pub(super) async fn metrics_of_one(State(world): Known, Path(id): Path<String>) -> Answer {
    find(&world, &id)?;
    Ok(json(StatusCode::OK, &json!([sample()])))
}

/// `GET /sandboxes/metrics`: unknown ids are left out.
pub(super) async fn metrics(State(world): Known, uri: Uri) -> Reply {
    let mut found = Map::new();
    for (name, value) in pairs(uri.query().unwrap_or_default()) {
        if name != "sandbox_ids" {
            continue;
        }
        let known = value.split(',').filter(|id| world.sandbox(id).is_some());
        found.extend(known.map(|id| (plain_id(id).to_owned(), sample())));
    }
    json(StatusCode::OK, &json!({ "sandboxes": found }))
}
