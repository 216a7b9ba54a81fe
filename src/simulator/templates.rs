//! Templates, their builds and the snapshots that become templates.
//!
//! A build does nothing: it is `ready` the first time somebody asks after it was started.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post, put};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::control::list;
use super::locked;
use super::query::first;
use super::reply::{Answer, Payload, Reply, empty, error, json, set};
use super::state::{ENVD_VERSION, World, plain_id};
use crate::clock::UnixTime;

/// Templates that exist from the start: id and alias.
const BUILT_IN: [(&str, &str); 3] = [
    ("rki5dems9wqfm4r03t7g", "base"),
    ("nlhz8vlwyupq845jsdg9", "code-interpreter-v1"),
    ("6lk3z0uq2m1v4n8x7b5c", "desktop"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Build {
    Waiting,
    Started,
    Ready,
}

impl Build {
    fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Started => "building",
            Self::Ready => "ready",
        }
    }
}

struct Template {
    id: String,
    alias: String,
    made: UnixTime,
    built_in: bool,
    /// The sandbox it was taken from, for a snapshot.
    source: Option<String>,
    build: String,
    state: Build,
}

/// All templates, in the order they were made.
pub(super) struct Templates {
    all: Vec<Template>,
    uploads: BTreeSet<String>,
}

impl Templates {
    pub(super) fn new() -> Self {
        let made = UnixTime::now();
        let built_in = BUILT_IN.iter().map(|&(id, alias)| Template {
            id: id.to_owned(),
            alias: alias.to_owned(),
            made,
            built_in: true,
            source: None,
            build: "00000000-0000-4000-8000-000000000000".to_owned(),
            state: Build::Ready,
        });
        Self { all: built_in.collect(), uploads: BTreeSet::new() }
    }

    /// Id and alias of the template that `[namespace/]name[:tag]` means.
    pub(super) fn resolve(&self, name: &str) -> Option<(String, String)> {
        self.find(name).map(|template| (template.id.clone(), template.alias.clone()))
    }

    fn find(&self, name: &str) -> Option<&Template> {
        let plain = bare(name);
        self.all.iter().find(|template| template.id == plain || template.alias == plain)
    }

    fn find_mut(&mut self, name: &str) -> Option<&mut Template> {
        let plain = bare(name);
        self.all.iter_mut().find(|template| template.id == plain || template.alias == plain)
    }

    /// Adds a snapshot of a sandbox; a name that exists gets the new content.
    pub(super) fn snapshot(&mut self, world: &World, sandbox: &str, name: Option<&str>) -> Value {
        let id = world.fresh_id('s');
        let alias = name.map_or_else(|| id.clone(), |name| bare(name).to_owned());
        self.add(world, id, alias, Some(sandbox.to_owned()), Build::Ready)
            .map_or(Value::Null, Template::snapshot_json)
    }

    fn add(
        &mut self,
        world: &World,
        id: String,
        alias: String,
        source: Option<String>,
        state: Build,
    ) -> Option<&Template> {
        let build = uuid(&world.derive(&format!("build-{id}")));
        if let Some(position) = self.all.iter().position(|template| template.alias == alias) {
            let known = self.all.get_mut(position)?;
            (known.build, known.state) = (build, state);
            return Some(known);
        }
        let made = UnixTime::now();
        self.all.push(Template { id, alias, made, built_in: false, source, build, state });
        self.all.last()
    }
}

impl Template {
    fn json(&self) -> Value {
        json!({
            "templateID": self.id,
            "buildID": self.build,
            "cpuCount": 2,
            "memoryMB": 512,
            "diskSizeMB": 1024,
            "public": self.built_in,
            "aliases": [self.alias],
            "names": [self.alias],
            "createdAt": self.made.to_string(),
            "updatedAt": self.made.to_string(),
            "createdBy": null,
            "lastSpawnedAt": null,
            "spawnCount": 0,
            "buildCount": 1,
            "envdVersion": ENVD_VERSION,
            "buildStatus": self.state.as_str(),
        })
    }

    fn detail(&self) -> Value {
        let mut detail = self.json();
        let build = json!({
            "buildID": self.build,
            "status": self.state.as_str(),
            "createdAt": self.made.to_string(),
            "updatedAt": self.made.to_string(),
            "cpuCount": 2,
            "memoryMB": 512,
            "diskSizeMB": 1024,
            "envdVersion": ENVD_VERSION,
        });
        set(&mut detail, "builds", [build]);
        detail
    }

    fn snapshot_json(&self) -> Value {
        json!({ "snapshotID": self.id, "names": [self.alias] })
    }
}

/// A template name without namespace and tag.
fn bare(name: &str) -> &str {
    let name = name.rsplit_once('/').map_or(name, |(_, name)| name);
    name.split_once(':').map_or(name, |(name, _)| name)
}

fn uuid(digest: &str) -> String {
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

fn unknown(id: &str) -> Reply {
    error(StatusCode::NOT_FOUND, &format!("template '{id}' not found"))
}

/// The template and snapshot routes.
pub(super) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/templates", get(list))
        .route("/v2/templates", get(list))
        .route("/default-templates", get(defaults))
        .route("/v3/templates", post(request_build))
        .route("/templates/{id}", get(detail).delete(delete))
        .route("/templates/aliases/{alias}", get(alias))
        .route("/templates/{id}/files/{hash}", get(upload_link))
        .route("/templates/{id}/builds/{build}/status", get(build_status))
        .route("/v2/templates/{id}/builds/{build}", post(start_build))
        .route("/uploads/{hash}", put(upload))
        .route("/snapshots", get(snapshots))
}

async fn list(State(world): State<Arc<World>>) -> Reply {
    let templates = locked(&world.templates);
    let own = templates.all.iter().filter(|template| template.source.is_none());
    json(StatusCode::OK, &own.map(Template::json).collect())
}

async fn defaults(State(world): State<Arc<World>>) -> Reply {
    let templates = locked(&world.templates);
    let built_in = templates.all.iter().filter(|template| template.built_in);
    json(StatusCode::OK, &built_in.map(Template::json).collect())
}

async fn snapshots(State(world): State<Arc<World>>, uri: http::Uri) -> Answer {
    let limit = list::limit(&uri)?;
    let start = first(&uri, "nextToken").map(|token| list::cursor(&token)).transpose()?;
    let start = start.and_then(|start| usize::try_from(start).ok()).unwrap_or_default();
    let wanted = first(&uri, "sandboxID").filter(|_| !world.options.ignore_filters);
    let wanted = wanted.as_deref().map(plain_id);
    let templates = locked(&world.templates);
    let taken = templates.all.iter().filter_map(|template| {
        let source = template.source.as_deref()?;
        let mut snapshot = template.snapshot_json();
        if world.options.snapshot_origins {
            set(&mut snapshot, "originSandboxID", source);
        }
        wanted.is_none_or(|wanted| wanted == source).then_some(snapshot)
    });
    let mut rest = taken.skip(start);
    let page = rest.by_ref().take(limit).collect();
    let mut reply = json(StatusCode::OK, &page);
    list::go_on(&mut reply, rest.next().and((start + limit).try_into().ok()));
    Ok(reply)
}

async fn detail(State(world): State<Arc<World>>, Path(id): Path<String>) -> Answer {
    let templates = locked(&world.templates);
    let template = templates.find(&id).ok_or_else(|| unknown(&id))?;
    Ok(json(StatusCode::OK, &template.detail()))
}

async fn alias(State(world): State<Arc<World>>, Path(alias): Path<String>) -> Answer {
    let templates = locked(&world.templates);
    let template = templates.find(&alias).ok_or_else(|| unknown(&alias))?;
    Ok(json(StatusCode::OK, &json!({ "templateID": template.id, "public": template.built_in })))
}

async fn delete(State(world): State<Arc<World>>, Path(id): Path<String>) -> Answer {
    let mut templates = locked(&world.templates);
    let known = templates.find(&id).ok_or_else(|| unknown(&id))?.id.clone();
    templates.all.retain(|template| template.id != known);
    Ok(empty(StatusCode::NO_CONTENT))
}

#[derive(Deserialize)]
struct BuildRequest {
    name: Option<String>,
    alias: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
}

async fn request_build(
    State(world): State<Arc<World>>,
    Payload(request): Payload<BuildRequest>,
) -> Answer {
    let name = request.name.or(request.alias);
    let name = name.ok_or_else(|| error(StatusCode::BAD_REQUEST, "Missing template name"))?;
    let mut templates = locked(&world.templates);
    let (id, alias) = (world.fresh_id('t'), bare(&name).to_owned());
    let template = templates
        .add(&world, id, alias, None, Build::Waiting)
        .ok_or_else(|| error(StatusCode::INTERNAL_SERVER_ERROR, "The template was not kept"))?;
    let answer = json!({
        "templateID": template.id,
        "buildID": template.build,
        "public": template.built_in,
        "aliases": [template.alias],
        "names": [template.alias],
        "tags": request.tags,
    });
    Ok(json(StatusCode::ACCEPTED, &answer))
}

async fn start_build(
    State(world): State<Arc<World>>,
    Path((id, build)): Path<(String, String)>,
    Payload(_): Payload<BTreeMap<String, Value>>,
) -> Answer {
    let mut templates = locked(&world.templates);
    let template = templates.find_mut(&id).ok_or_else(|| unknown(&id))?;
    if template.build != build {
        return Err(error(StatusCode::NOT_FOUND, &format!("build '{build}' not found")).into());
    }
    template.state = Build::Started;
    Ok(empty(StatusCode::ACCEPTED))
}

async fn build_status(
    State(world): State<Arc<World>>,
    Path((id, build)): Path<(String, String)>,
) -> Answer {
    let mut templates = locked(&world.templates);
    let template = templates.find_mut(&id).ok_or_else(|| unknown(&id))?;
    if template.state == Build::Started {
        template.state = Build::Ready;
    }
    let answer = json!({
        "templateID": template.id,
        "buildID": build,
        "status": template.state.as_str(),
        "logs": [],
        "logEntries": [],
    });
    Ok(json(StatusCode::OK, &answer))
}

/// Says whether a layer's files are here, and if not, an absolute URL of this simulator to put them to.
async fn upload_link(
    State(world): State<Arc<World>>,
    Path((id, hash)): Path<(String, String)>,
) -> Answer {
    let templates = locked(&world.templates);
    templates.find(&id).ok_or_else(|| unknown(&id))?;
    let present = templates.uploads.contains(&hash);
    let mut answer = json!({ "present": present });
    if !present {
        set(&mut answer, "url", format!("http://{}/uploads/{hash}", world.api));
    }
    Ok(json(StatusCode::CREATED, &answer))
}

async fn upload(
    State(world): State<Arc<World>>,
    Path(hash): Path<String>,
    body: axum::body::Body,
) -> Answer {
    super::transfer::digest(body).await?;
    locked(&world.templates).uploads.insert(hash);
    Ok(empty(StatusCode::OK))
}
