//! The control plane: E2B's sandbox REST API.
//!
//! Routes that E2B has and this does not are 404, like any unknown path.

pub(super) mod list;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{get, post, put};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::faults::{Fault, LATE};
use super::files::Files;
use super::reply::{Answer, Payload, Refusal, Reply, empty, error, json, typed};
use super::state::{NewSandbox, Resumed, Sandbox, World};
use super::{DELAY, FAIL_FORKS, Metadata, events, locked, schedules, templates};
use crate::clock::UnixTime;

const V1_TIMEOUT: u32 = 15;
const V2_TIMEOUT: u32 = 300;
const MAX_FORKS: u32 = 100;

type Known = State<Arc<World>>;

/// The control plane's routes.
pub(super) fn router(world: &Arc<World>) -> Router {
    let v2 = if world.options.v1_only {
        Router::new()
            .route("/v2/sandboxes", get(list::paged).fallback(not_allowed))
            .route("/v2/sandboxes/{id}/connect", get(not_found).fallback(not_allowed))
    } else {
        Router::new()
            .route("/v2/sandboxes", get(list::paged).post(create_v2))
            .route("/v2/sandboxes/{id}/connect", post(connect_v2))
    };
    let api = Router::new()
        .route("/health", get(async || empty(StatusCode::NO_CONTENT)))
        .route("/sandboxes", get(list::running).post(create_v1))
        .route("/sandboxes/metrics", get(list::metrics))
        .route("/sandboxes/{id}", get(detail).delete(kill))
        .route("/sandboxes/{id}/pause", post(pause))
        .route("/sandboxes/{id}/resume", post(resume))
        .route("/sandboxes/{id}/connect", post(connect_v1))
        .route("/sandboxes/{id}/timeout", post(timeout))
        .route("/sandboxes/{id}/refreshes", post(refresh))
        .route("/sandboxes/{id}/fork", post(fork))
        .route("/sandboxes/{id}/snapshots", post(snapshot))
        .route("/sandboxes/{id}/logs", get(list::logs_v1))
        .route("/v2/sandboxes/{id}/logs", get(list::logs_v2))
        .route("/sandboxes/{id}/metrics", get(list::metrics_of_one))
        .route("/sandboxes/{id}/network", put(network))
        .route("/events/sandboxes", get(events::of_all))
        .route("/events/sandboxes/{id}", get(events::of_one))
        .route("/teams", get(teams))
        .route("/volumes", get(async || json(StatusCode::OK, &json!([]))))
        .route("/nodes", get(nodes))
        .route("/metrics", get(prometheus))
        .merge(v2)
        .merge(templates::routes())
        .merge(schedules::routes());
    Router::new()
        // As Cube, which has it all a second time.
        .nest("/cubeapi/v1", api.clone())
        .merge(api)
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(from_fn_with_state(Arc::clone(world), authenticate))
        .with_state(Arc::clone(world))
}

/// Demands the API key where there is one. Uploads carry theirs in the URL, as with E2B's presigned ones.
async fn authenticate(State(world): Known, request: Request, next: Next) -> Reply {
    let path = request.uri().path();
    let public = path == "/health" || path.starts_with("/uploads/");
    let sent = request.headers().get("x-api-key").map(HeaderValue::as_bytes);
    let wanted = world.options.api_key.as_ref().filter(|_| !public).map(String::as_bytes);
    if wanted.is_none() || sent == wanted {
        return next.run(request).await;
    }
    let message =
        if sent.is_none() { "authorization header is missing" } else { "Invalid API key" };
    error(StatusCode::UNAUTHORIZED, message)
}

async fn not_found() -> Reply {
    error(StatusCode::NOT_FOUND, "The simulator has no such route")
}

async fn not_allowed() -> Reply {
    let mut reply = error(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
    reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    reply
}

fn find(world: &World, id: &str) -> Result<Arc<Sandbox>, Refusal> {
    Ok(world.sandbox(id).ok_or_else(|| gone(id))?)
}

/// That it was done, or that the sandbox went away before.
fn done(was_done: bool, id: &str) -> Answer {
    if was_done { Ok(empty(StatusCode::NO_CONTENT)) } else { Err(gone(id).into()) }
}

fn gone(id: &str) -> Reply {
    error(
        StatusCode::NOT_FOUND,
        &format!("Sandbox \"{id}\" doesn't exist or you don't have access to it"),
    )
}

async fn create_v1(
    State(world): Known,
    headers: HeaderMap,
    Payload(spec): Payload<NewSandbox>,
) -> Answer {
    create(&world, &headers, spec, V1_TIMEOUT).await
}

async fn create_v2(
    State(world): Known,
    headers: HeaderMap,
    Payload(mut spec): Payload<NewSandbox>,
) -> Answer {
    spec.secure = Some(true);
    create(&world, &headers, spec, V2_TIMEOUT).await
}

/// Creates a sandbox, or answers with the one that the same `Idempotency-Key` made. See [`Fault`] and [`DELAY`].
async fn create(
    world: &Arc<World>,
    headers: &HeaderMap,
    spec: NewSandbox,
    default_timeout: u32,
) -> Answer {
    let fault = Fault::asked_by(&spec.metadata)?;
    if let Some(fault @ (Fault::Refused(_) | Fault::Reset | Fault::Stall)) = fault {
        return Ok(fault.strike().await);
    }
    let delay = spec.metadata.get(DELAY).and_then(|text| text.parse().ok()).unwrap_or(0);
    let delay = Duration::from_millis(delay);
    let known = locked(&world.templates).resolve(&spec.template);
    let (template, alias) = known.ok_or_else(|| {
        error(StatusCode::NOT_FOUND, &format!("template '{}' not found", spec.template))
    })?;
    let timeout = spec.timeout.unwrap_or(default_timeout);
    let key = headers.get("idempotency-key").map(|key| key.as_bytes().to_vec());
    let create = {
        let world = Arc::clone(world);
        move || {
            let made = || world.create(spec, template, Some(alias), timeout, Files::new());
            world.create_once(key.as_deref(), made)
        }
    };
    if fault == Some(Fault::Late) {
        tokio::spawn(async move {
            tokio::time::sleep(LATE).await;
            create();
        });
        return Ok(Fault::Late.strike().await);
    }
    let sandbox = create();
    tokio::time::sleep(delay).await;
    if let Some(fault) = fault {
        return Ok(fault.strike().await);
    }
    Ok(json(StatusCode::CREATED, &sandbox.brief(world.options.domain.as_deref())))
}

async fn detail(State(world): Known, Path(id): Path<String>) -> Answer {
    let sandbox = find(&world, &id)?;
    Ok(json(StatusCode::OK, &sandbox.detail(world.options.domain.as_deref())))
}

async fn kill(State(world): Known, Path(id): Path<String>) -> Answer {
    done(world.kill(&id), &id)
}

async fn pause(
    State(world): Known,
    Path(id): Path<String>,
    Payload(_): Payload<Map<String, Value>>,
) -> Answer {
    let sandbox = find(&world, &id)?;
    if sandbox.pause() {
        world.events.note(&sandbox, "paused");
        Ok(empty(StatusCode::NO_CONTENT))
    } else {
        Err(error(StatusCode::CONFLICT, &format!("Sandbox '{id}' is already paused")).into())
    }
}

#[derive(Deserialize)]
struct Timeout {
    timeout: Option<u32>,
}

impl Timeout {
    fn required(&self) -> Result<u32, Refusal> {
        let missing = || error(StatusCode::BAD_REQUEST, "Missing property: timeout");
        Ok(self.timeout.ok_or_else(missing)?)
    }
}

async fn resume(
    State(world): Known,
    Path(id): Path<String>,
    Payload(request): Payload<Timeout>,
) -> Answer {
    let sandbox = find(&world, &id)?;
    if sandbox.is_running() {
        return Err(
            error(StatusCode::CONFLICT, &format!("Sandbox '{id}' is already running")).into()
        );
    }
    sandbox.resume(request.timeout.unwrap_or(V1_TIMEOUT));
    world.events.note(&sandbox, "resumed");
    Ok(json(StatusCode::CREATED, &sandbox.brief(world.options.domain.as_deref())))
}

async fn connect_v1(
    State(world): Known,
    Path(id): Path<String>,
    Payload(request): Payload<Timeout>,
) -> Answer {
    connect(&world, &id, request.required()?)
}

async fn connect_v2(
    State(world): Known,
    Path(id): Path<String>,
    Payload(request): Payload<Timeout>,
) -> Answer {
    connect(&world, &id, request.timeout.unwrap_or(V2_TIMEOUT))
}

fn connect(world: &World, id: &str, timeout: u32) -> Answer {
    let sandbox = find(world, id)?;
    let status = match sandbox.resume(timeout) {
        Resumed::Now => StatusCode::CREATED,
        Resumed::WasRunning => StatusCode::OK,
    };
    Ok(json(status, &sandbox.brief(world.options.domain.as_deref())))
}

async fn timeout(
    State(world): Known,
    Path(id): Path<String>,
    Payload(request): Payload<Timeout>,
) -> Answer {
    done(find(&world, &id)?.set_timeout(request.required()?), &id)
}

#[derive(Deserialize)]
struct Refresh {
    duration: Option<u32>,
}

async fn refresh(
    State(world): Known,
    Path(id): Path<String>,
    Payload(request): Payload<Refresh>,
) -> Answer {
    let duration = request.duration.unwrap_or(V1_TIMEOUT).clamp(V1_TIMEOUT, 3600);
    done(find(&world, &id)?.extend(duration), &id)
}

#[derive(Deserialize)]
struct Fork {
    timeout: Option<u32>,
    count: Option<u32>,
    #[serde(default)]
    metadata: Map<String, Value>,
}

async fn fork(
    State(world): Known,
    Path(id): Path<String>,
    Payload(request): Payload<Fork>,
) -> Answer {
    let parent = find(&world, &id)?;
    let count = request.count.unwrap_or(1);
    if !(1..=MAX_FORKS).contains(&count) {
        return Err(error(StatusCode::BAD_REQUEST, "count must be between 1 and 100").into());
    }
    let timeout = request.timeout.unwrap_or(V1_TIMEOUT);
    let mut spec = parent.spec.clone();
    if world.options.metadata == Metadata::KeptButNotForked {
        spec.metadata.clear();
    }
    let failing = request.metadata.get(FAIL_FORKS).and_then(|text| text.as_str()?.parse().ok());
    let failing = failing.unwrap_or(0);
    let forks = (0..count).map(|number| {
        if number < failing {
            return json!({ "error": { "code": 500, "message": "The simulator was asked to fail" } });
        }
        let child = world.create(
            spec.clone(),
            parent.template.clone(),
            parent.alias.clone(),
            timeout,
            parent.files.copied(),
        );
        json!({ "sandbox": child.brief(world.options.domain.as_deref()) })
    });
    Ok(json(StatusCode::CREATED, &forks.collect()))
}

#[derive(Deserialize)]
struct Snapshot {
    name: Option<String>,
}

async fn snapshot(
    State(world): Known,
    Path(id): Path<String>,
    Payload(request): Payload<Snapshot>,
) -> Answer {
    let sandbox = find(&world, &id)?;
    let taken = locked(&world.templates).snapshot(&world, &sandbox.id, request.name.as_deref());
    Ok(json(StatusCode::CREATED, &taken))
}

async fn network(
    State(world): Known,
    Path(id): Path<String>,
    Payload(rules): Payload<Map<String, Value>>,
) -> Answer {
    let sandbox = find(&world, &id)?;
    let mut network = locked(&sandbox.network);
    // Only egress changes; whether ports are public stays as created.
    let public = network.remove("allowPublicTraffic");
    *network = rules;
    network.remove("allowPublicTraffic");
    if let Some(public) = public {
        network.insert("allowPublicTraffic".to_owned(), public);
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

/// As at E2B this hands out a key, so that a gateway that lets it through is seen to.
async fn teams(State(world): Known) -> Reply {
    let key = format!("e2b_{}", world.derive("team-key").get(..40).unwrap_or_default());
    let team =
        json!({ "teamID": "simulator", "name": "simulator", "apiKey": key, "isDefault": true });
    json(StatusCode::OK, &json!([team]))
}

async fn nodes(State(world): Known) -> Reply {
    let node = json!({
        "id": "simulator", "serviceInstanceID": "simulator", "clusterID": "simulator",
        "version": env!("CARGO_PKG_VERSION"), "commit": "", "status": "ready",
        "statusChangedAt": UnixTime::now().to_string(),
        "sandboxCount": world.sandboxes().len(), "sandboxStartingCount": 0,
        "createSuccesses": 0, "createFails": 0, "metrics": {}, "machineInfo": {},
    });
    json(StatusCode::OK, &json!([node]))
}

async fn prometheus(State(world): Known) -> Reply {
    let running = world.sandboxes().iter().filter(|sandbox| sandbox.is_running()).count();
    let text = format!(
        "# TYPE simulator_sandboxes gauge\nsimulator_sandboxes{{state=\"running\"}} {running}\n\
         # TYPE simulator_requests_total counter\nsimulator_requests_total {}\n",
        world.recorder.seen()
    );
    typed(StatusCode::OK, Some("text/plain; version=0.0.4"), text.into())
}
