//! How the gateway lives with whoever runs it: service managers, reloads, goodbyes, and processes that take each other's
//! place.

mod goodbye;
mod load;
mod reloading;
mod replacement;
mod secured;
mod service_manager;
mod succession;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;

use crate::support::Gateway;
use crate::support::wait::{PATIENCE, eventually};

/// The processes of one gateway, which take each other's place. What is left of them ends with this.
struct Processes<'a> {
    gateway: &'a Gateway,
    /// In the order of their beginning.
    seen: Mutex<Vec<u32>>,
}

impl<'a> Processes<'a> {
    fn of(gateway: &'a Gateway) -> Self {
        Self { gateway, seen: Mutex::new(vec![gateway.id()]) }
    }

    /// The one that is in place.
    fn current(&self) -> u32 {
        *self.seen.lock().unwrap().last().unwrap()
    }

    /// Sends a signal to the one that is in place.
    fn signal(&self, name: &str) {
        signal(self.current(), name);
    }

    /// Has the next one take the place, and waits until it has.
    fn upgrade(&self) {
        let said = |line: &str| line.contains("\"replaced: connections go to the new process");
        let count = || self.gateway.log().iter().filter(|line| said(line)).count();
        let before = count();
        self.signal("USR2");
        eventually("one process takes the other's place", PATIENCE, || count() > before);
        let log = self.gateway.log();
        let line = log.iter().rfind(|line| said(line)).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let process = u32::try_from(line["process"].as_u64().unwrap()).unwrap();
        self.seen.lock().unwrap().push(process);
    }

    /// Those that are there.
    fn alive(&self) -> BTreeSet<u32> {
        self.seen.lock().unwrap().iter().copied().filter(|process| is_alive(*process)).collect()
    }
}

impl Drop for Processes<'_> {
    fn drop(&mut self) {
        let seen =
            std::mem::take(&mut *self.seen.lock().unwrap_or_else(|broken| broken.into_inner()));
        // The first one is its own parent's to end.
        for process in seen.into_iter().skip(1).filter(|process| is_alive(*process)) {
            signal(process, "KILL");
        }
    }
}

fn signal(process: u32, name: &str) {
    let _ = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status();
}

/// Whether there is such a process of the gateway, other than one that has ended and was not waited for.
fn is_alive(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}
