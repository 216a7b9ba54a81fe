//! Real commands on this machine, without any isolation, for those who asked for it.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::run::Setting;
use super::table::{Channel, End, Process, Signal};

const CHUNK: usize = 32 * 1024;
const NOT_FOUND: i32 = 127;

/// Runs the command of `process` in its own process group.
pub(super) async fn run(
    setting: &Setting,
    process: &Arc<Process>,
    stdin: mpsc::Receiver<Bytes>,
) -> End {
    let mut child = match spawn(setting, process) {
        Ok(child) => child,
        Err(error) => {
            process.emit(Channel::Stderr, format!("{error}\n").as_bytes()).await;
            return End::Exit(NOT_FOUND);
        }
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let input = child.stdin.take();
    let output = async {
        tokio::join!(copy(out, process, Channel::Stdout), copy(err, process, Channel::Stderr));
    };
    let feeding = feed(input, stdin);
    tokio::pin!(output, feeding);
    let mut fed = false;
    let signal = loop {
        tokio::select! {
            () = &mut output => break None,
            () = &mut feeding, if !fed => fed = true,
            signal = process.signalled() => break Some(signal),
            () = setting.sandbox.ended.cancelled() => break Some(Signal::Kill),
        }
    };
    if let Some(signal) = signal {
        kill_group(&mut child, signal).await;
    }
    match child.wait().await.ok().and_then(|status| status.code()) {
        Some(code) => End::Exit(code),
        None => End::Signal(signal.unwrap_or(Signal::Kill)),
    }
}

fn spawn(setting: &Setting, process: &Process) -> std::io::Result<Child> {
    let mut command = Command::new(&process.config.cmd);
    command
        .args(&process.config.args)
        .envs(&setting.sandbox.spec.env_vars)
        .envs(&process.config.envs)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    // A sandbox's home need not exist here.
    if Path::new(&setting.cwd).is_dir() {
        command.current_dir(&setting.cwd);
    }
    command.spawn()
}

async fn copy(from: Option<impl AsyncRead + Unpin>, process: &Process, channel: Channel) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        process.emit(channel, buffer.get(..count).unwrap_or_default()).await;
    }
}

async fn feed(to: Option<tokio::process::ChildStdin>, mut stdin: mpsc::Receiver<Bytes>) {
    let Some(mut to) = to else { return };
    while let Some(bytes) = stdin.recv().await {
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Signals the whole group by way of `kill`, since what the shell started has to end too.
async fn kill_group(child: &mut Child, signal: Signal) {
    let Some(pid) = child.id() else { return };
    let name = match signal {
        Signal::Terminate => "-TERM",
        Signal::Kill => "-KILL",
    };
    let sent = Command::new("kill").args([name, "--", &format!("-{pid}")]).status().await;
    if !sent.is_ok_and(|status| status.success())
        && let Err(error) = child.start_kill()
    {
        tracing::debug!(%error, "simulator: process could not be killed");
    }
}
