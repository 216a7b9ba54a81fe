//! The processes of a sandbox, and what connects one to its callers: input, output, signals, terminal size.
//!
//! Output waits for its slowest listener, as in envd; with nobody listening it is lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::super::connect::{Code, Fault};
use super::super::locked;
use super::super::reply::set;
use super::Config;

const FIRST_PID: u32 = 500;

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Deserialize)]
pub(in super::super) struct Size {
    #[serde(default)]
    pub(in super::super) cols: u32,
    #[serde(default)]
    pub(in super::super) rows: u32,
}

impl Default for Size {
    fn default() -> Self {
        Self { cols: 80, rows: 24 }
    }
}

/// Where output goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Channel {
    Stdout,
    Stderr,
    Pty,
}

/// The signals envd sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Signal {
    Terminate,
    Kill,
}

impl Signal {
    /// Reads `process.Signal`, by name or number.
    pub(super) fn parse(value: &Value) -> Result<Self, Fault> {
        if *value == json!("SIGNAL_SIGTERM") || *value == json!(15) {
            Ok(Self::Terminate)
        } else if *value == json!("SIGNAL_SIGKILL") || *value == json!(9) {
            Ok(Self::Kill)
        } else {
            Err(Fault::new(Code::Unimplemented, format!("invalid signal: {value}")))
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Terminate => "terminated",
            Self::Kill => "killed",
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy)]
pub(super) enum End {
    Exit(i32),
    Signal(Signal),
}

impl End {
    /// As `process.ProcessEvent.EndEvent`.
    fn json(self) -> Value {
        let (code, exited, status) = match self {
            Self::Exit(code) => (code, true, format!("exit status {code}")),
            Self::Signal(signal) => (-1, false, format!("signal: {}", signal.name())),
        };
        let mut end = json!({ "exitCode": code, "exited": exited, "status": status });
        if code != 0 {
            set(&mut end, "error", status);
        }
        end
    }
}

/// One running process.
pub(in super::super) struct Process {
    pub(in super::super) pid: u32,
    pub(super) config: Config,
    tag: Option<String>,
    stdin: Mutex<Option<mpsc::Sender<Bytes>>>,
    size: Option<watch::Sender<Size>>,
    signal: watch::Sender<Option<Signal>>,
    listeners: Mutex<Vec<mpsc::Sender<Value>>>,
}

/// The processes of one sandbox.
#[derive(Default)]
pub(in super::super) struct Processes {
    started: AtomicU32,
    running: Mutex<BTreeMap<u32, Arc<Process>>>,
}

impl Processes {
    /// A new process, and the reading end of its stdin.
    pub(super) fn add(
        &self,
        config: Config,
        tag: Option<String>,
        size: Option<Size>,
        open_stdin: bool,
    ) -> (Arc<Process>, mpsc::Receiver<Bytes>) {
        let (sender, receiver) = mpsc::channel(16);
        let process = Arc::new(Process {
            pid: FIRST_PID + self.started.fetch_add(1, Ordering::Relaxed),
            config,
            tag,
            stdin: Mutex::new(open_stdin.then_some(sender)),
            size: size.map(watch::Sender::new),
            signal: watch::Sender::new(None),
            listeners: Mutex::default(),
        });
        locked(&self.running).insert(process.pid, Arc::clone(&process));
        (process, receiver)
    }

    pub(super) fn all(&self) -> Vec<Arc<Process>> {
        locked(&self.running).values().cloned().collect()
    }

    pub(super) fn by_pid(&self, pid: u32) -> Option<Arc<Process>> {
        locked(&self.running).get(&pid).cloned()
    }

    pub(super) fn by_tag(&self, tag: &str) -> Option<Arc<Process>> {
        locked(&self.running).values().find(|process| process.tag.as_deref() == Some(tag)).cloned()
    }

    /// Takes a process off the table and tells its listeners how it ended.
    pub(super) async fn end(&self, process: &Process, end: End) {
        locked(&self.running).remove(&process.pid);
        process.close_stdin();
        process.tell(json!({ "event": { "end": end.json() } })).await;
        locked(&process.listeners).clear();
    }
}

impl Process {
    /// As `process.ProcessInfo`.
    pub(super) fn info(&self) -> Value {
        let mut info = json!({ "pid": self.pid, "config": self.config });
        if let Some(tag) = &self.tag {
            set(&mut info, "tag", tag);
        }
        info
    }

    /// The events from now on; the first is `start`.
    pub(super) fn listen(&self) -> impl Stream<Item = Value> + Unpin + use<> {
        let (sender, mut receiver) = mpsc::channel(16);
        // The channel is new and has room.
        let _ = sender.try_send(json!({ "event": { "start": { "pid": self.pid } } }));
        locked(&self.listeners).push(sender);
        stream::poll_fn(move |cx| receiver.poll_recv(cx))
    }

    async fn tell(&self, event: Value) {
        let listeners = locked(&self.listeners).clone();
        let mut somebody_left = false;
        for listener in listeners {
            somebody_left |= listener.send(event.clone()).await.is_err();
        }
        if somebody_left {
            locked(&self.listeners).retain(|listener| !listener.is_closed());
        }
    }

    /// Sends output to everybody who listens.
    pub(in super::super) async fn emit(&self, channel: Channel, bytes: &[u8]) {
        let name = match channel {
            Channel::Stdout => "stdout",
            Channel::Stderr => "stderr",
            Channel::Pty => "pty",
        };
        self.tell(json!({ "event": { "data": { name: STANDARD.encode(bytes) } } })).await;
    }

    pub(super) async fn write_stdin(&self, bytes: Bytes) -> Result<(), Fault> {
        let closed = || Fault::new(Code::FailedPrecondition, "stdin not enabled or closed");
        let sender = locked(&self.stdin).clone().ok_or_else(closed)?;
        sender.send(bytes).await.map_err(|_| closed())
    }

    pub(super) fn close_stdin(&self) {
        locked(&self.stdin).take();
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.signal.send_replace(Some(signal));
    }

    /// Resolves at the first signal.
    pub(super) async fn signalled(&self) -> Signal {
        let mut signal = self.signal.subscribe();
        match signal.wait_for(Option::is_some).await.map(|signal| *signal) {
            Ok(Some(signal)) => signal,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    pub(super) fn resize(&self, size: Size) -> Result<(), Fault> {
        let terminal = self.size.as_ref();
        let terminal = terminal
            .ok_or_else(|| Fault::new(Code::InvalidArgument, "tty not assigned to process"))?;
        terminal.send_replace(size);
        Ok(())
    }

    /// The size of its terminal, if it has one.
    pub(in super::super) fn size(&self) -> Option<Size> {
        self.size.as_ref().map(|size| *size.borrow())
    }
}
