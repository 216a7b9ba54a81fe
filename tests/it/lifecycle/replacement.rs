//! The program's file is replaced before an upgrade: by a new one, or by one that does not work, which is nobody's business.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coppice_gateway::simulator::Options;
use tempfile::TempDir;

use super::Processes;
use super::succession::{stream, whoami};
use crate::support::gateway::Setup;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::key;
use crate::support::{Ask, Program, Wire, World};

/// A gateway whose program is a copy that a test may replace.
pub(super) struct Replaceable {
    pub(super) directory: TempDir,
    pub(super) world: World,
}

impl Replaceable {
    pub(super) fn new(change: impl FnOnce(Setup, &Path) -> Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gateway");
        // A link, which is replaced as a file is.
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_coppice-gateway"), &file).unwrap();
        let world =
            World::with(Options::default(), |setup| change(setup.program(&file), directory.path()));
        Self { directory, world }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("gateway")
    }

    /// Puts a script in the place of the program.
    pub(super) fn replace(&self, script: &str) {
        let fresh = self.directory.path().join("fresh");
        std::fs::write(&fresh, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(fresh, self.file()).unwrap();
    }

    fn restore(&self) {
        std::fs::remove_file(self.file()).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_coppice-gateway"), self.file()).unwrap();
    }

    /// Waits until as many upgrades have failed. A process may take 20 seconds to begin.
    fn has_failed(&self, count: usize) {
        eventually("an upgrade has failed", Duration::from_secs(60), || {
            let log = self.world.gateway.log();
            log.iter().filter(|line| line.contains("\"not upgraded")).count() >= count
        });
    }

    /// Tries an upgrade that must fail, and sees that nothing has changed.
    fn fails(&self, endless: &mut Wire, count: usize) {
        let control = self.world.control();
        let mut kept = Wire::open(control);
        assert_eq!(kept.ask(&whoami()).status, 200);
        self.world.gateway.signal("USR2");
        self.has_failed(count);
        assert_eq!((kept.ask(&whoami()).status, whoami().send(control).status), (200, 200));
        assert!(endless.chunk().is_some());
        let create = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#);
        assert_eq!(self.world.ask("exec", create).status, 201);
    }
}

#[test]
fn an_upgrade_that_fails_changes_nothing() {
    let place = Replaceable::new(|setup, directory| {
        let file = directory.join("gateway.toml");
        std::fs::write(&file, "").unwrap();
        setup
            .env("COPPICE_CONFIG", file.to_str().unwrap())
            .state_dir(&directory.join("state"))
            .flag(format!("--audit-log={}", directory.join("audit.jsonl").display()))
            .env("COPPICE_TENANT_SANDBOX_LIMITS", "team-a=50")
    });
    let world = &place.world;
    let settings = place.directory.path().join("gateway.toml");
    let processes = Processes::of(&world.gateway);
    let (sandbox, _) = world.create("exec");
    let mut endless = stream(world, &sandbox, &key("exec"), 100_000);
    // No program, one that ends, one that says nothing of use.
    std::fs::remove_file(place.file()).unwrap();
    place.fails(&mut endless, 1);
    place.replace("exit 1");
    place.fails(&mut endless, 2);
    place.replace("cat > /dev/null");
    let since = Instant::now();
    place.fails(&mut endless, 3);
    assert!(since.elapsed() > Duration::from_secs(10), "it had no time to begin");
    // Settings that are wrong, and ones that only the end of the start shows to be.
    place.restore();
    std::fs::write(&settings, "[server]\nworkers = 0\n").unwrap();
    place.fails(&mut endless, 4);
    std::fs::write(&settings, "").unwrap();
    // The head of the journal is no file when the new process takes that up.
    let file = |name: &str| place.directory.path().join(name);
    let (head, kept) = (file("audit.jsonl.head"), file("kept"));
    place.replace(&format!(
        "mv {0} {1}; mkdir {0}; exec {2} \"$@\"",
        head.display(),
        kept.display(),
        env!("CARGO_BIN_EXE_coppice-gateway")
    ));
    world.gateway.signal("USR2");
    place.has_failed(5);
    std::fs::remove_dir(&head).unwrap();
    std::fs::rename(&kept, &head).unwrap();
    place.restore();
    assert!(endless.chunk().is_some());
    assert_eq!(processes.alive().len(), 1, "nothing is left of those that failed");
    // What was handed over came back: creates are counted, and the chain goes on.
    let create = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#);
    let create = create.header("X-Request-Id", "taken-back");
    assert_eq!(world.ask("exec", create).status, 201);
    let journal = file("audit.jsonl");
    eventually("it is on record", PATIENCE, || {
        std::fs::read_to_string(&journal).unwrap().contains("\"taken-back\"")
    });
    let verified = Program::new().run(&["audit", "verify", journal.to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{verified:?}");
    // And then one that succeeds.
    processes.upgrade();
    assert!(endless.chunk().is_some());
    assert_eq!(whoami().send(world.control()).status, 200);
}

#[test]
fn a_new_process_reads_the_settings_anew() {
    let place = Replaceable::new(|setup, directory| {
        let file = directory.join("gateway.toml");
        std::fs::write(&file, "[server]\nworkers = 1\n").unwrap();
        setup.without("--workers").env("COPPICE_CONFIG", file.to_str().unwrap())
    });
    let settings = place.directory.path().join("gateway.toml");
    let processes = Processes::of(&place.world.gateway);
    for (workers, expected) in [(3, 403), (1, 201)] {
        let limit = if expected == 403 { "[tenants]\nmax_sandboxes = 0\n" } else { "" };
        std::fs::write(&settings, format!("[server]\nworkers = {workers}\n{limit}")).unwrap();
        processes.upgrade();
        // Whichever worker and socket it meets.
        for _ in 0..20 {
            assert_eq!(whoami().send(place.world.control()).status, 200);
        }
        let create = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#);
        assert_eq!(place.world.ask("exec", create).status, expected);
    }
}
