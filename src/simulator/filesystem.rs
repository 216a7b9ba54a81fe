//! envd's `filesystem.Filesystem` service.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::connect::{Code, Fault, server_stream, unary};
use super::envd;
use super::files::{Trouble, home, normal};
use super::reply::{Reply, error};
use super::state::Sandbox;
use super::watch::Watch;

#[derive(Deserialize)]
struct OnPath {
    #[serde(default)]
    path: String,
}

#[derive(Deserialize)]
struct ListDir {
    #[serde(default)]
    path: String,
    #[serde(default)]
    depth: usize,
}

#[derive(Deserialize)]
struct Move {
    #[serde(default)]
    source: String,
    #[serde(default)]
    destination: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WatchDir {
    #[serde(default)]
    path: String,
    #[serde(default)]
    recursive: bool,
    #[serde(default)]
    include_entry: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OnWatcher {
    #[serde(default)]
    watcher_id: String,
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        let code = match trouble {
            Trouble::NotFound(_) => Code::NotFound,
            Trouble::Exists(_) => Code::AlreadyExists,
            Trouble::IsDirectory(_) | Trouble::NotDirectory(_) => Code::InvalidArgument,
            Trouble::NotKept(_) => Code::FailedPrecondition,
        };
        Self::new(code, trouble.to_string())
    }
}

/// One call's sandbox and user.
struct Caller {
    sandbox: Arc<Sandbox>,
    user: Option<String>,
}

impl Caller {
    fn new(sandbox: Arc<Sandbox>, headers: &HeaderMap) -> Self {
        Self { sandbox, user: envd::user(headers) }
    }

    fn user(&self) -> Result<&str, Fault> {
        let unknown = || Fault::new(Code::Unauthenticated, "invalid username");
        self.user.as_deref().ok_or_else(unknown)
    }

    fn path(&self, path: &str) -> Result<String, Fault> {
        let home = home(self.user()?);
        Ok(normal(path, &home, &home))
    }

    fn list(&self, request: &ListDir) -> Result<Value, Fault> {
        let entries = self.sandbox.files.list(&self.path(&request.path)?, request.depth.max(1))?;
        let entries: Vec<_> = entries.iter().map(super::files::Entry::json).collect();
        Ok(json!({ "entries": entries }))
    }

    fn watch(&self, request: &WatchDir) -> Result<Watch, Fault> {
        let directory = self.path(&request.path)?;
        if !self.sandbox.files.stat(&directory)?.directory {
            return Err(Trouble::NotDirectory(directory).into());
        }
        let WatchDir { recursive, include_entry, .. } = *request;
        Ok(Watch { directory, recursive, include_entry })
    }
}

/// Answers a method of the service.
pub(super) async fn call(
    Extension(sandbox): Extension<Arc<Sandbox>>,
    Path(method): Path<String>,
    request: Request,
) -> Reply {
    let caller = Caller::new(Arc::clone(&sandbox), request.headers());
    let files = &sandbox.files;
    match method.as_str() {
        "Stat" => {
            unary(request, async |message: OnPath| {
                let entry = files.stat(&caller.path(&message.path)?)?;
                Ok(json!({ "entry": entry.json() }))
            })
            .await
        }
        "ListDir" => unary(request, async |message: ListDir| caller.list(&message)).await,
        "MakeDir" => {
            unary(request, async |message: OnPath| {
                let entry = files.make_directory(&caller.path(&message.path)?, caller.user()?)?;
                Ok(json!({ "entry": entry.json() }))
            })
            .await
        }
        "Move" => {
            unary(request, async |message: Move| {
                let (from, to) =
                    (caller.path(&message.source)?, caller.path(&message.destination)?);
                let entry = files.rename(&from, &to, caller.user()?)?;
                Ok(json!({ "entry": entry.json() }))
            })
            .await
        }
        "Remove" => {
            unary(request, async |message: OnPath| {
                files.remove(&caller.path(&message.path)?)?;
                Ok(json!({}))
            })
            .await
        }
        "WatchDir" => watch_dir(&caller, request).await,
        "CreateWatcher" => {
            unary(request, async |message: WatchDir| {
                let id = files.watchers.create(caller.watch(&message)?);
                Ok(json!({ "watcherId": id }))
            })
            .await
        }
        "GetWatcherEvents" => {
            unary(request, async |message: OnWatcher| {
                let events = files.watchers.drain(&message.watcher_id);
                let events = events.ok_or_else(|| no_watcher(&message.watcher_id))?;
                Ok(json!({ "events": events }))
            })
            .await
        }
        "RemoveWatcher" => {
            unary(request, async |message: OnWatcher| {
                if files.watchers.remove(&message.watcher_id) {
                    Ok(json!({}))
                } else {
                    Err(no_watcher(&message.watcher_id))
                }
            })
            .await
        }
        _ => error(StatusCode::NOT_FOUND, "filesystem.Filesystem has no such method"),
    }
}

fn no_watcher(id: &str) -> Fault {
    Fault::new(Code::NotFound, format!("watcher with id {id} not found"))
}

async fn watch_dir(caller: &Caller, request: Request) -> Reply {
    server_stream(request, async |message: WatchDir, outgoing| {
        let mut events = caller.sandbox.files.watchers.watch(caller.watch(&message)?);
        let started = stream::once(std::future::ready(json!({ "start": {} })));
        let events = stream::poll_fn(move |cx| events.poll_recv(cx));
        let events = started.chain(events.map(|event| json!({ "filesystem": event })));
        tokio::spawn(outgoing.relay(json!({ "keepalive": {} }), events));
        Ok(())
    })
    .await
}
