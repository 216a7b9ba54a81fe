//! The code interpreter, port 49999: contexts, and code that runs in one with its output as JSON lines.
//!
//! A client that goes away interrupts its code, as with the real one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::Path;
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::locked;
use super::python::{Printed, Python};
use super::reply::{Answer, Feed, Payload, ReaderGone, Reply, empty, feed, json, typed};
use super::state::Sandbox;
use crate::clock::UnixTime;

const DEFAULT_CWD: &str = "/home/user";

struct Context {
    language: String,
    cwd: String,
    kernel: Arc<tokio::sync::Mutex<Kernel>>,
}

#[derive(Default)]
struct Kernel {
    python: Python,
    executions: u64,
}

impl Context {
    fn new(language: &str, cwd: &str) -> Self {
        Self { language: language.to_owned(), cwd: cwd.to_owned(), kernel: Arc::default() }
    }

    fn json(&self, id: &str) -> Value {
        json!({ "id": id, "language": self.language, "cwd": self.cwd })
    }
}

/// The contexts of one sandbox; one for Python is there from the start.
pub(super) struct Contexts {
    all: Mutex<BTreeMap<String, Context>>,
    created: AtomicU64,
}

impl Default for Contexts {
    fn default() -> Self {
        let python = Context::new("python", DEFAULT_CWD);
        Self {
            all: Mutex::new(BTreeMap::from([("python".to_owned(), python)])),
            created: AtomicU64::new(0),
        }
    }
}

impl Contexts {
    /// The context to run in: the one named, else the default of a language, made when first used.
    fn choose(
        &self,
        id: Option<&str>,
        language: Option<&str>,
    ) -> Option<(String, Arc<tokio::sync::Mutex<Kernel>>)> {
        let mut all = locked(&self.all);
        let context = match id {
            Some(id) => all.get(id)?,
            None => {
                let language = language.unwrap_or("python");
                all.entry(language.to_owned())
                    .or_insert_with(|| Context::new(language, DEFAULT_CWD))
            }
        };
        Some((context.language.clone(), Arc::clone(&context.kernel)))
    }
}

type Inside = Extension<Arc<Sandbox>>;

/// The interpreter's routes; the sandbox comes as an extension of the request.
pub(super) fn router() -> Router {
    Router::new()
        .route("/health", get(async || json(StatusCode::OK, &json!("OK"))))
        .route("/execute", post(execute))
        .route("/contexts", get(list).post(create))
        .route("/contexts/{id}", delete(remove))
        .route("/contexts/{id}/restart", post(restart))
        .fallback(async || json(StatusCode::NOT_FOUND, &json!({ "detail": "Not Found" })))
}

fn unknown(id: &str) -> Reply {
    json(StatusCode::NOT_FOUND, &json!({ "detail": format!("Context {id} not found") }))
}

#[derive(Deserialize)]
struct Creation {
    language: Option<String>,
    cwd: Option<String>,
}

async fn create(Extension(sandbox): Inside, Payload(request): Payload<Creation>) -> Reply {
    let contexts = &sandbox.contexts;
    let id = format!("context-{}", contexts.created.fetch_add(1, Ordering::Relaxed));
    let language = request.language.as_deref().unwrap_or("python");
    let context = Context::new(language, request.cwd.as_deref().unwrap_or(DEFAULT_CWD));
    let answer = json(StatusCode::OK, &context.json(&id));
    locked(&contexts.all).insert(id, context);
    answer
}

async fn list(Extension(sandbox): Inside) -> Reply {
    let contexts = locked(&sandbox.contexts.all);
    json(StatusCode::OK, &contexts.iter().map(|(id, context)| context.json(id)).collect())
}

async fn remove(Extension(sandbox): Inside, Path(id): Path<String>) -> Answer {
    let removed = locked(&sandbox.contexts.all).remove(&id);
    removed.ok_or_else(|| unknown(&id))?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn restart(Extension(sandbox): Inside, Path(id): Path<String>) -> Answer {
    let mut contexts = locked(&sandbox.contexts.all);
    contexts.get_mut(&id).ok_or_else(|| unknown(&id))?.kernel = Arc::default();
    Ok(empty(StatusCode::NO_CONTENT))
}

#[derive(Deserialize)]
struct Execution {
    code: String,
    context_id: Option<String>,
    language: Option<String>,
}

async fn execute(Extension(sandbox): Inside, Payload(request): Payload<Execution>) -> Answer {
    let id = request.context_id.as_deref();
    let (language, kernel) = sandbox
        .contexts
        .choose(id, request.language.as_deref())
        .ok_or_else(|| unknown(id.unwrap_or_default()))?;
    let (feed, body) = feed();
    tokio::spawn(async move {
        let lines = Lines(feed);
        tokio::select! {
            () = lines.0.closed() => {}
            // The client may leave between two lines as well; there is nobody left to tell then.
            _ = run(&lines, &kernel, &language, &request.code) => {}
        }
    });
    Ok(typed(StatusCode::OK, Some("application/x-ndjson"), body))
}

struct Lines(Feed);

impl Lines {
    async fn send(&self, value: &Value) -> Result<(), ReaderGone> {
        self.0.data(Bytes::from(format!("{value}\n"))).await
    }

    async fn print(&self, printed: Printed) -> Result<(), ReaderGone> {
        let (kind, text) = match printed {
            Printed::Stdout(text) => ("stdout", text),
            Printed::Stderr(text) => ("stderr", text),
        };
        let timestamp = UnixTime::now().0.saturating_mul(1_000_000_000);
        self.send(&json!({ "type": kind, "text": text, "timestamp": timestamp })).await
    }
}

async fn run(
    lines: &Lines,
    kernel: &tokio::sync::Mutex<Kernel>,
    language: &str,
    code: &str,
) -> Result<(), ReaderGone> {
    let mut kernel = kernel.lock().await;
    kernel.executions += 1;
    let count = kernel.executions;
    lines.send(&json!({ "type": "number_of_executions", "execution_count": count })).await?;
    if language == "python" {
        let (output, mut printed) = mpsc::channel(16);
        let running = kernel.python.run(code, output);
        tokio::pin!(running);
        let outcome = loop {
            tokio::select! {
                biased;
                Some(printed) = printed.recv() => lines.print(printed).await?,
                outcome = &mut running => break outcome,
            }
        };
        while let Ok(printed) = printed.try_recv() {
            lines.print(printed).await?;
        }
        match outcome {
            Ok(None) => {}
            Ok(Some(text)) => {
                let result = json!({ "type": "result", "text": text, "is_main_result": true });
                lines.send(&result).await?;
            }
            Err(error) => lines.send(&error_line(&error.name, &error.value)).await?,
        }
    } else {
        let message = format!("the simulator runs a little Python, not {language}");
        lines.send(&error_line("NotImplementedError", &message)).await?;
    }
    lines.send(&json!({ "type": "end_of_execution" })).await
}

fn error_line(name: &str, value: &str) -> Value {
    let traceback = format!("Traceback (most recent call last):\n{name}: {value}");
    json!({ "type": "error", "name": name, "value": value, "traceback": traceback })
}
