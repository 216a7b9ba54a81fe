//! The gateway program as a child process: started with a given environment, its log read, its end waited for.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use super::wait::{PATIENCE, within};

/// A gateway to be started.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    wrapper: Vec<String>,
    program: Option<String>,
    flags: Vec<String>,
    environment: BTreeMap<String, String>,
}

impl Setup {
    pub(crate) fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Has these words start it, which must turn into the gateway themselves.
    pub(crate) fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(ToString::to_string).collect();
        self
    }

    /// Starts this file, which has to be the gateway's program at first.
    pub(crate) fn program(mut self, file: &Path) -> Self {
        self.program = Some(file.to_str().unwrap().to_owned());
        self
    }

    /// Takes back every flag that starts like this, or the variable of this name.
    pub(crate) fn without(mut self, start: &str) -> Self {
        self.flags.retain(|flag| !flag.starts_with(start));
        self.environment.remove(start);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Keeps its state in this directory.
    pub(crate) fn state_dir(self, directory: &Path) -> Self {
        self.flag(format!("--state-dir={}", directory.display()))
    }

    /// Starts it and waits until it listens on `listeners` addresses, and for metrics where a flag says so.
    pub(crate) fn start(self, listeners: usize) -> Gateway {
        let ops = self.flags.iter().filter(|flag| flag.starts_with("--ops-listen"));
        let listeners = listeners + ops.count();
        let gateway = Gateway::over(self.command().spawn().unwrap());
        for _ in 0..listeners {
            gateway.log.wait_for(|lines| {
                let listening = lines.iter().filter(|line| line.contains("\"listening for"));
                listening.count() >= listeners
            });
        }
        gateway
    }

    /// Runs it to its end and returns what it printed.
    pub(crate) fn run(self) -> (ExitStatus, String) {
        let output = self.command().stdout(Stdio::piped()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status, String::from_utf8(text).unwrap())
    }

    fn command(&self) -> Command {
        let own = || env!("CARGO_BIN_EXE_coppice-gateway").to_owned();
        let program = self.program.clone().unwrap_or_else(own);
        let mut words = self.wrapper.iter().chain([&program]).chain(&self.flags);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).env_clear().envs(&self.environment);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }
}

/// A running gateway; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Mutex<Child>,
    log: Log,
}

impl Gateway {
    /// Takes over a process that logs as a gateway does, to a pipe.
    pub(crate) fn over(mut child: Child) -> Self {
        let log = Log::of(child.stderr.take().unwrap());
        Self { child: Mutex::new(child), log }
    }

    /// The address of the listener for `what` (`control plane`, or `port=49983`, `port=*`), from the log.
    pub(crate) fn address(&self, what: &str) -> SocketAddr {
        let wanted = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).ok()?;
            let message = value["message"].as_str()?;
            let port = match &value["port"] {
                port if port.is_null() => String::new(),
                port => format!("port={}", port.as_str().map_or(port.to_string(), str::to_owned)),
            };
            let names_it = message.contains(what) || port == what;
            (message.starts_with("listening") && names_it)
                .then(|| value["address"].as_str()?.parse().ok())
                .flatten()
        };
        let lines = self.log.lines();
        lines
            .iter()
            .find_map(|line| wanted(line))
            .unwrap_or_else(|| panic!("no listener for {what} in {lines:#?}"))
    }

    pub(crate) fn control(&self) -> SocketAddr {
        self.address("control plane")
    }

    /// Every line logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Waits until some line holds all of `parts`.
    pub(crate) fn wait_for_log(&self, parts: &[&str]) {
        self.wait_for_logs(1, parts);
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Sends a signal by name (`TERM`, `HUP`, `KILL`).
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// Has it read its settings anew, and waits until it has.
    pub(crate) fn reload(&self) {
        const RELOADED: &str = "\"reloaded; settings";
        let before = self.log().iter().filter(|line| line.contains(RELOADED)).count();
        self.signal("HUP");
        self.wait_for_logs(before + 1, &[RELOADED]);
    }

    /// Kills it without warning.
    pub(crate) fn kill(&self) {
        self.signal("KILL");
        self.wait();
    }

    /// Waits until `count` lines hold all of `parts`.
    pub(crate) fn wait_for_logs(&self, count: usize, parts: &[&str]) {
        self.log.wait_for(|lines| {
            let found = lines.iter().filter(|line| parts.iter().all(|part| line.contains(part)));
            found.count() >= count
        });
    }

    /// Waits for its end.
    pub(crate) fn wait(&self) -> ExitStatus {
        let mut status = None;
        let ended = within(PATIENCE, || {
            status = self.child.lock().unwrap().try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "the gateway did not end: {:#?}", self.log());
        status.unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The lines so far, and whether there will be no more.
type Lines = (Vec<String>, bool);

/// Lines as they come.
#[derive(Debug)]
struct Log {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

impl Log {
    fn of(stream: impl std::io::Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new((Vec::new(), false)), Condvar::new()));
        let writer = Arc::clone(&shared);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                writer.0.lock().unwrap().0.push(line);
                writer.1.notify_all();
            }
            writer.0.lock().unwrap().1 = true;
            writer.1.notify_all();
        });
        Self { shared }
    }

    fn lines(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().0.clone()
    }

    fn wait_for(&self, done: impl Fn(&[String]) -> bool) {
        let guard = self.shared.0.lock().unwrap();
        let (guard, timeout) = self
            .shared
            .1
            .wait_timeout_while(guard, PATIENCE, |(lines, ended)| !done(lines) && !*ended)
            .unwrap();
        assert!(!timeout.timed_out() && done(&guard.0), "the log never said so: {:#?}", guard.0);
    }
}
