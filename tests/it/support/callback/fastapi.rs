//! The auth service as the documentation prints it, under uvicorn on a free port.
//!
//! Needs what `tests/setup-clients` installs. The program is the page's text, byte by byte: a page that does not
//! work fails the tests.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::support::client::{assert_installed, clients, program};
use crate::support::wait::{PATIENCE, eventually};

/// A key that the service knows, and what it says of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) key: &'static str,
    pub(crate) tenant: &'static str,
    pub(crate) user: &'static str,
    pub(crate) scopes: &'static str,
}

/// The running service; dropping it ends it.
#[derive(Debug)]
pub(crate) struct FastApi {
    child: Child,
    address: SocketAddr,
    lines: Arc<(Mutex<Vec<String>>, Condvar)>,
    _folder: TempDir,
}

impl FastApi {
    /// Starts it with these keys and waits until it listens.
    pub(crate) fn start(keys: &[Known]) -> Self {
        assert_installed();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("verify.py"), printed()).unwrap();
        let file: Map<String, Value> = keys.iter().map(entry).collect();
        fs::write(folder.path().join("keys.json"), json!(file).to_string()).unwrap();
        let mut child = program(clients(".venv-callback").join("bin/python"))
            .args(["-B", "-m", "uvicorn", "verify:app", "--host", "127.0.0.1", "--port", "0"])
            .args(["--no-access-log", "--no-use-colors"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines: Arc<(Mutex<Vec<String>>, Condvar)> = Arc::default();
        let (stderr, shared) = (child.stderr.take().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                shared.0.lock().unwrap().push(line);
                shared.1.notify_all();
            }
        });
        let mut service =
            Self { child, address: ([127, 0, 0, 1], 0).into(), lines, _folder: folder };
        service.address = service.listening();
        service
    }

    /// Where the gateway is to ask.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/verify", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it logged of the calls so far, as `METHOD PATH by USER`.
    pub(crate) fn calls(&self) -> Vec<String> {
        let lines = self.lines.0.lock().unwrap();
        let call = |line: &String| {
            let (_, said) = line.split_once(": ")?;
            let said = said.contains(" by ").then_some(said)?;
            Some(said.split_once(": ").map_or(said, |(_id, said)| said).to_owned())
        };
        lines.iter().filter_map(call).collect()
    }

    /// Waits until it has logged so many.
    pub(crate) fn wait_for(&self, calls: usize) {
        eventually(&format!("{calls} calls"), PATIENCE, || self.calls().len() >= calls);
    }

    /// The address in what uvicorn says once it accepts connections.
    fn listening(&self) -> SocketAddr {
        let address = |lines: &Vec<String>| {
            let line = lines.iter().find(|line| line.contains("running on http://"))?;
            line.split("http://").nth(1)?.split(' ').next()?.parse().ok()
        };
        let lines = self.lines.0.lock().unwrap();
        let (lines, timeout) = self
            .lines
            .1
            .wait_timeout_while(lines, PATIENCE, |lines| address(lines).is_none())
            .unwrap();
        assert!(!timeout.timed_out(), "uvicorn does not listen: {lines:#?}");
        address(&lines).unwrap()
    }
}

impl Drop for FastApi {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn entry(known: &Known) -> (String, Value) {
    let digest = Sha256::digest(known.key);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let identity = json!({"tenant": known.tenant, "user": known.user, "scopes": known.scopes});
    (format!("sha256:{hex}"), identity)
}

/// The auth service in the documentation, which begins with its own name.
fn printed() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configure/callback.md");
    let page = fs::read_to_string(page).unwrap();
    let mut programs = page.split("```python\n").filter(|text| text.starts_with("# verify.py."));
    let (program, _) = programs.next().unwrap().split_once("```\n").unwrap();
    assert!(programs.next().is_none(), "which of them is the auth service?");
    program.to_owned()
}
