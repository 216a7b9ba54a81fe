//! How the gateway lives with whoever runs it: service managers, reloads, goodbyes, and processes that take each other's
//! place.

mod goodbye;
mod last_words;
mod load;
mod moment;
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
        self.upgrade_with(|| {});
    }

    /// The same, while something else happens.
    fn upgrade_with(&self, meanwhile: impl FnOnce()) {
        let said = |line: &str| line.contains("\"replaced: connections go to the new process");
        let count = || self.gateway.log().iter().filter(|line| said(line)).count();
        let before = count();
        self.signal("USR2");
        meanwhile();
        eventually("one process takes the other's place", PATIENCE, || count() > before);
        let log = self.gateway.log();
        let line = log.iter().rfind(|line| said(line)).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let process = u32::try_from(line["process"].as_u64().unwrap()).unwrap();
        self.seen.lock().unwrap().push(process);
    }

    /// Those that are there, those that were started and never took the place included.
    fn alive(&self) -> BTreeSet<u32> {
        let mut all: BTreeSet<u32> = self.seen.lock().unwrap().iter().copied().collect();
        let mut parents: Vec<u32> = all.iter().copied().collect();
        while let Some(parent) = parents.pop() {
            let children = children(parent);
            parents.extend(children.into_iter().filter(|child| all.insert(*child)));
        }
        all.into_iter().filter(|process| is_alive(*process)).collect()
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

/// What a process started, as far as it is there.
fn children(process: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    all.filter(|child| stat(*child).is_some_and(|(_, parent)| parent == process)).collect()
}

/// Whether there is such a process of the gateway, other than one that has ended and was not waited for.
fn is_alive(process: u32) -> bool {
    stat(process).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// A process's state and its parent (proc_pid_stat(5)).
fn stat(process: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
