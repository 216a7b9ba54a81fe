//! envd's `process.Process` service.
//!
//! A process outlives the connection that started it; it ends by itself, by a signal, at the deadline its starter gave,
//! or with its sandbox.

mod local;
mod run;
mod table;
mod terminal;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) use self::table::{Channel, Process, Processes, Signal, Size};
use super::connect::{Code, Fault, Incoming, Nothing, Over, client_stream, server_stream, unary};
use super::envd;
use super::files::{home, normal};
use super::reply::{Reply, error};
use super::state::{Sandbox, World};

/// `process.ProcessConfig`.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) cmd: String,
    #[serde(default)]
    pub(super) args: Vec<String>,
    #[serde(default)]
    pub(super) envs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cwd: Option<String>,
}

#[derive(Deserialize)]
struct Pty {
    size: Option<Size>,
}

#[derive(Deserialize)]
struct Start {
    process: Config,
    pty: Option<Pty>,
    tag: Option<String>,
    stdin: Option<bool>,
}

#[derive(Default, Deserialize)]
struct Selector {
    pid: Option<u32>,
    tag: Option<String>,
}

/// Requests that name a process and nothing else.
#[derive(Deserialize)]
struct Select {
    #[serde(default)]
    process: Selector,
}

#[derive(Deserialize)]
struct Update {
    #[serde(default)]
    process: Selector,
    pty: Option<Pty>,
}

#[derive(Deserialize)]
struct SendInput {
    #[serde(default)]
    process: Selector,
    input: Option<Input>,
}

#[derive(Deserialize)]
struct Input {
    stdin: Option<String>,
    pty: Option<String>,
}

#[derive(Deserialize)]
struct SendSignal {
    #[serde(default)]
    process: Selector,
    signal: Value,
}

/// A message of `StreamInput`: first `start`, then `data`.
#[derive(Deserialize)]
struct StreamInput {
    start: Option<Select>,
    data: Option<StreamData>,
}

#[derive(Deserialize)]
struct StreamData {
    input: Option<Input>,
}

/// Answers a method of the service.
pub(super) async fn call(
    State(world): State<Arc<World>>,
    Extension(sandbox): Extension<Arc<Sandbox>>,
    Path(method): Path<String>,
    request: Request,
) -> Reply {
    let processes = &sandbox.processes;
    match method.as_str() {
        "List" => {
            unary(request, async |_: Nothing| {
                let all = processes.all();
                let all: Vec<_> = all.iter().map(|process| process.info()).collect();
                Ok(json!({ "processes": all }))
            })
            .await
        }
        "Start" => start(&world, &sandbox, request).await,
        "Connect" => {
            server_stream(request, async |message: Select, outgoing| {
                let process = find(&sandbox, &message.process)?;
                tokio::spawn(outgoing.relay(keepalive(), process.listen()));
                Ok(())
            })
            .await
        }
        "Update" => {
            unary(request, async |message: Update| {
                let process = find(&sandbox, &message.process)?;
                if let Some(size) = message.pty.and_then(|pty| pty.size) {
                    process.resize(size)?;
                }
                Ok(json!({}))
            })
            .await
        }
        "SendInput" => {
            unary(request, async |message: SendInput| {
                let process = find(&sandbox, &message.process)?;
                input(&process, message.input).await?;
                Ok(json!({}))
            })
            .await
        }
        "StreamInput" => {
            client_stream(request, async |incoming| stream_input(&sandbox, incoming).await).await
        }
        "SendSignal" => {
            unary(request, async |message: SendSignal| {
                let process = find(&sandbox, &message.process)?;
                process.signal(Signal::parse(&message.signal)?);
                Ok(json!({}))
            })
            .await
        }
        "CloseStdin" => {
            unary(request, async |message: Select| {
                find(&sandbox, &message.process)?.close_stdin();
                Ok(json!({}))
            })
            .await
        }
        _ => error(StatusCode::NOT_FOUND, "process.Process has no such method"),
    }
}

fn keepalive() -> Value {
    json!({ "event": { "keepalive": {} } })
}

fn find(sandbox: &Sandbox, selector: &Selector) -> Result<Arc<Process>, Fault> {
    let found = match (selector.pid, &selector.tag) {
        (Some(pid), _) => sandbox.processes.by_pid(pid),
        (None, Some(tag)) => sandbox.processes.by_tag(tag),
        (None, None) => {
            return Err(Fault::new(Code::InvalidArgument, "the selector names no process"));
        }
    };
    found.ok_or_else(|| {
        let name = selector.pid.map_or_else(
            || format!("tag {}", selector.tag.as_deref().unwrap_or_default()),
            |pid| format!("pid {pid}"),
        );
        Fault::new(Code::NotFound, format!("process with {name} not found"))
    })
}

async fn start(world: &World, sandbox: &Arc<Sandbox>, request: Request) -> Reply {
    let user = envd::user(request.headers());
    let local = world.options.local_processes;
    server_stream(request, async |message: Start, outgoing| {
        let user = user.ok_or_else(|| Fault::new(Code::Unauthenticated, "invalid username"))?;
        let home = home(&user);
        let cwd = normal(message.process.cwd.as_deref().unwrap_or_default(), &home, &home);
        if !local && !sandbox.files.stat(&cwd).is_ok_and(|entry| entry.directory) {
            let text = format!("cwd '{cwd}' does not exist");
            return Err(Fault::new(Code::InvalidArgument, text));
        }
        let size = message.pty.map(|pty| pty.size.unwrap_or_default());
        let open_stdin = message.stdin.unwrap_or(true) || size.is_some();
        let (process, stdin) =
            sandbox.processes.add(message.process, message.tag, size, open_stdin);
        let events = process.listen();
        let setting = run::Setting { sandbox: Arc::clone(sandbox), user, cwd, local };
        tokio::spawn(run::run(setting, Arc::clone(&process), stdin));
        tokio::spawn(async move {
            if outgoing.relay(keepalive(), events).await == Over::Deadline {
                process.signal(Signal::Kill);
            }
        });
        Ok(())
    })
    .await
}

async fn input(process: &Process, input: Option<Input>) -> Result<(), Fault> {
    let Some(text) = input.and_then(|input| input.stdin.or(input.pty)) else {
        return Err(Fault::new(Code::InvalidArgument, "the input is empty"));
    };
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| Fault::new(Code::InvalidArgument, "the input is not base64"))?;
    process.write_stdin(Bytes::from(bytes)).await
}

async fn stream_input(sandbox: &Sandbox, mut incoming: Incoming) -> Result<Value, Fault> {
    let mut target = None;
    while let Some(message) = incoming.next::<StreamInput>().await? {
        if let Some(start) = message.start {
            target = Some(find(sandbox, &start.process)?);
        }
        if let Some(data) = message.data {
            let process = target.as_ref().ok_or_else(|| {
                Fault::new(Code::InvalidArgument, "the stream has to begin with start")
            })?;
            input(process, data.input).await?;
        }
    }
    Ok(json!({}))
}
