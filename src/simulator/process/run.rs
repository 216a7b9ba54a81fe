//! Runs one process to its end: in the toy shell, as a toy terminal, or for real.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::super::shell::{Input, Shell, Sink};
use super::super::state::Sandbox;
use super::table::{End, Process, Signal};
use super::{local, terminal};

/// What surrounds a process.
pub(super) struct Setting {
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) user: String,
    pub(super) cwd: String,
    /// Whether commands are real.
    pub(super) local: bool,
}

/// Runs `process` until it exits, is signalled, or its sandbox ends.
pub(super) async fn run(setting: Setting, process: Arc<Process>, stdin: mpsc::Receiver<Bytes>) {
    let sandbox = Arc::clone(&setting.sandbox);
    let end = if setting.local && process.size().is_none() {
        local::run(&setting, &process, stdin).await
    } else {
        tokio::select! {
            code = simulate(&setting, &process, stdin) => End::Exit(code),
            signal = process.signalled() => End::Signal(signal),
            () = sandbox.ended.cancelled() => End::Signal(Signal::Kill),
        }
    };
    // The connections to a sandbox that ended break; nobody is told how its processes ended.
    if !sandbox.ended.is_cancelled() {
        sandbox.processes.end(&process, end).await;
    }
}

async fn simulate(setting: &Setting, process: &Arc<Process>, stdin: mpsc::Receiver<Bytes>) -> i32 {
    let mut shell = Shell::new(Arc::clone(&setting.sandbox), &setting.user, &setting.cwd);
    shell.variables.extend(process.config.envs.clone());
    if process.size().is_some() {
        return terminal::run(shell, process, stdin).await;
    }
    shell.input = Input::Stream(stdin);
    shell.run(&command_line(&process.config.cmd, &process.config.args), &Sink::of(process)).await
}

/// The text for the shell: what follows `-c`, or the command itself with its arguments quoted.
fn command_line(cmd: &str, args: &[String]) -> String {
    let is_shell = cmd.ends_with("bash") || cmd.ends_with("/sh") || cmd == "sh";
    if is_shell
        && let Some(at) = args.iter().position(|arg| arg.starts_with('-') && arg.ends_with('c'))
    {
        return args.get(at + 1).cloned().unwrap_or_default();
    }
    let quoted = args.iter().map(|arg| format!("'{}'", arg.replace('\'', r"'\''")));
    std::iter::once(cmd.to_owned()).chain(quoted).collect::<Vec<_>>().join(" ")
}
