//! A toy shell: enough of `bash` for examples and tests, run by nobody but itself.
//!
//! It knows `;`, `&&`, `||`, pipes (each stage runs after the one before it), `for`, groups, variables, `$(…)`,
//! redirections to files and between outputs. No process is ever started here.

mod builtin;
mod expand;
mod syntax;
mod tree;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::mpsc;

use self::tree::{Command, Destination, Redirect, Script, Simple, When};
use super::files::{Content, home};
use super::locked;
use super::process::{Channel, Process};
use super::state::Sandbox;

const SYNTAX_ERROR: i32 = 2;

/// Where a command reads.
pub(super) enum Input {
    Stream(mpsc::Receiver<Bytes>),
    Buffer(Vec<u8>),
}

/// Where a command writes one of its outputs.
#[derive(Clone)]
enum Output {
    Process(Arc<Process>, Channel),
    Buffer(Arc<Mutex<Vec<u8>>>),
}

impl Output {
    fn buffer() -> (Self, Arc<Mutex<Vec<u8>>>) {
        let buffer = Arc::default();
        (Self::Buffer(Arc::clone(&buffer)), buffer)
    }

    async fn write(&self, bytes: &[u8]) {
        match self {
            _ if bytes.is_empty() => {}
            Self::Process(process, Channel::Pty) => {
                let text =
                    bytes.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
                process.emit(Channel::Pty, &text).await;
            }
            Self::Process(process, channel) => process.emit(*channel, bytes).await,
            Self::Buffer(buffer) => locked(buffer).extend_from_slice(bytes),
        }
    }
}

/// Both outputs of a command.
#[derive(Clone)]
pub(super) struct Sink {
    out: Output,
    err: Output,
}

impl Sink {
    /// The outputs of a process: apart, or together on its terminal.
    pub(super) fn of(process: &Arc<Process>) -> Self {
        let (out, err) = if process.size().is_some() {
            (Channel::Pty, Channel::Pty)
        } else {
            (Channel::Stdout, Channel::Stderr)
        };
        let output = |channel| Output::Process(Arc::clone(process), channel);
        Self { out: output(out), err: output(err) }
    }

    async fn complain(&self, message: &str) {
        self.err.write(format!("{message}\n").as_bytes()).await;
    }
}

/// A shell and what it remembers between lines.
pub(super) struct Shell {
    sandbox: Arc<Sandbox>,
    user: String,
    cwd: String,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) input: Input,
    /// The exit code of the last command.
    pub(super) status: i32,
    /// Whether `exit` was run.
    pub(super) exited: bool,
}

impl Shell {
    pub(super) fn new(sandbox: Arc<Sandbox>, user: &str, cwd: &str) -> Self {
        let mut variables = sandbox.spec.env_vars.clone();
        for (name, value) in [
            ("HOME", home(user).as_str()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("SHELL", "/bin/bash"),
            ("USER", user),
            ("E2B_SANDBOX", "true"),
            ("E2B_SANDBOX_ID", &sandbox.id),
        ] {
            variables.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        Self {
            sandbox,
            user: user.to_owned(),
            cwd: cwd.to_owned(),
            variables,
            input: Input::Buffer(Vec::new()),
            status: 0,
            exited: false,
        }
    }

    /// What an interactive shell shows before a line.
    pub(super) fn prompt(&self) -> String {
        let home = home(&self.user);
        let place = match self.cwd.strip_prefix(&home) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("~{rest}"),
            Some(_) | None => self.cwd.clone(),
        };
        format!("{}@simulator:{place}$ ", self.user)
    }

    /// Runs a text; its exit code.
    pub(super) async fn run(&mut self, text: &str, sink: &Sink) -> i32 {
        match syntax::parse(text) {
            Ok(script) => self.script(&script, sink).await,
            Err(problem) => {
                self.status = SYNTAX_ERROR;
                sink.complain(&format!("bash: {problem} (this is a simulator's toy shell)")).await;
            }
        }
        self.status
    }

    async fn script(&mut self, script: &Script, sink: &Sink) {
        for step in &script.0 {
            let runs = match step.when {
                When::Always => true,
                When::AfterSuccess => self.status == 0,
                When::AfterFailure => self.status != 0,
            };
            if runs {
                self.pipeline(&step.stages, sink).await;
            }
            if self.exited {
                return;
            }
        }
    }

    async fn pipeline(&mut self, stages: &[Command], sink: &Sink) {
        let Some((last, before)) = stages.split_last() else { return };
        let mut stdin = None;
        for stage in before {
            let (out, buffer) = Output::buffer();
            Box::pin(self.command(stage, &Sink { out, err: sink.err.clone() })).await;
            self.exited = false;
            let piped = Input::Buffer(std::mem::take(&mut *locked(&buffer)));
            let previous = std::mem::replace(&mut self.input, piped);
            stdin.get_or_insert(previous);
        }
        Box::pin(self.command(last, sink)).await;
        if let Some(stdin) = stdin {
            self.input = stdin;
        }
    }

    async fn command(&mut self, command: &Command, sink: &Sink) {
        match command {
            Command::Simple(simple) => self.simple(simple, sink).await,
            Command::Group(script) => Box::pin(self.script(script, sink)).await,
            Command::For { variable, items, body } => {
                let mut values = Vec::new();
                for item in items {
                    values.extend(self.expand(item, sink).await);
                }
                self.status = 0;
                for value in values {
                    self.variables.insert(variable.clone(), value);
                    Box::pin(self.script(body, sink)).await;
                    if self.exited {
                        return;
                    }
                }
            }
        }
    }

    async fn simple(&mut self, simple: &Simple, sink: &Sink) {
        let mut streams = sink.clone();
        let mut files = Vec::new();
        for Redirect { stderr, to } in &simple.redirects {
            let target = match to {
                Destination::Stdout => streams.out.clone(),
                Destination::Stderr => streams.err.clone(),
                Destination::File { path, append } => {
                    let path = self.expand(path, sink).await.concat();
                    let (out, buffer) = Output::buffer();
                    files.push((self.path(&path), *append, buffer));
                    out
                }
            };
            *(if *stderr { &mut streams.err } else { &mut streams.out }) = target;
        }
        let mut words = Vec::new();
        for word in &simple.words {
            if words.is_empty()
                && let Some((name, value)) = word.assignment()
            {
                let value = self.expand(&value, sink).await.join(" ");
                self.variables.insert(name, value);
                self.status = 0;
                continue;
            }
            words.extend(self.expand(word, sink).await);
        }
        if let Some((name, arguments)) = words.split_first() {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            self.status = self.builtin(name, &arguments, &streams).await;
        }
        for (path, append, buffer) in files {
            let written = std::mem::take(&mut *locked(&buffer));
            self.save(&path, append, written, sink).await;
        }
    }

    async fn save(&mut self, path: &str, append: bool, bytes: Vec<u8>, sink: &Sink) {
        if path == "/dev/null" {
            return;
        }
        let files = &self.sandbox.files;
        let mut whole = match files.read(path) {
            Ok(Content::Whole(before)) if append => before.to_vec(),
            Ok(Content::Whole(_) | Content::Length(_)) | Err(_) => Vec::new(),
        };
        whole.extend(bytes);
        let content = Content::Whole(whole.into());
        if let Err(trouble) = files.write(path, content, &self.user, BTreeMap::new()) {
            self.status = 1;
            sink.complain(&format!("bash: {trouble}")).await;
        }
    }
}

#[cfg(test)]
mod tests;
