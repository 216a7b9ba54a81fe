//! A disk that stalls or is full while requests come.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use coppice_gateway::simulator::Options;

use super::{Kept, assert_numbered, beside, metric, settled, stranger};
use crate::support::load::Load;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::key;
use crate::support::{Ask, World};

/// Has a lease on the file that the next head is written to: whoever opens it waits until the lease is given back, or the
/// system takes it back, after 45 s where nobody has set another time.
const LEASE: &str = "
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('stalled', flush=True)
sys.stdin.read()
";

/// A disk that does not answer: syncing a journal's lines does not return.
struct Stall {
    child: Child,
    input: Option<ChildStdin>,
}

impl Stall {
    fn begin(journal: &Path) -> Self {
        let mut python = Command::new("python3");
        python.args(["-c", LEASE]).arg(beside(journal, ".head.new"));
        let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 8];
        child.stdout.as_mut().unwrap().read_exact(&mut said).expect("the file system has leases");
        let input = child.stdin.take();
        Self { child, input }
    }

    fn end(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn a_stalled_disk_holds_back_what_matters_and_nothing_else() {
    let kept = Kept::new();
    let world = World::with(Options::default(), |setup| {
        let setup = setup.flag(kept.flag()).flag("--audit-policy=block");
        setup.flag("--audit-sync=each").flag("--ops-listen=127.0.0.1:0")
    });
    let (sandbox, _) = world.create("exec");
    eventually("it is on the disk", PATIENCE, || kept.path.exists() && kept.synced() == 1);
    let stall = Stall::begin(&kept.path);

    // Refusals change nothing and are not held back; half of the places is theirs until they fill it.
    let (mut load, mut strangers) = (Load::open(world.control()), 0);
    while metric(&world.gateway, "audit_queue_length") < 8_192 {
        load.must(401, (0..512).map(|number| stranger(&format!("s-{}", strangers + number))));
        strangers += 512;
        assert!(strangers < 16_384);
    }
    world.simulator.clear_requests();
    let timeout = format!("/sandboxes/{sandbox}/timeout");
    let file = Ask::post("/files?path=/tmp/x", "x").header("E2b-Sandbox-Id", &sandbox);
    let held = [
        ("exec", Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#)),
        ("exec", Ask::post(&timeout, r#"{"timeout":60}"#)),
        ("exec", Ask::new("DELETE", &format!("/sandboxes/{sandbox}"))),
        ("exec", file.header("E2b-Sandbox-Port", "49983")),
        ("owner", Ask::get("/audit/events")),
        ("admin", Ask::post("/v3/templates", r#"{"name":"t"}"#)),
    ];
    let refused = held.len();
    let waits: Vec<_> = held
        .into_iter()
        .enumerate()
        .map(|(number, (role, ask))| {
            let ask = ask.key(&key(role)).header("X-Request-Id", format!("held-{number}"));
            let address = if number == 3 { world.data() } else { world.control() };
            thread::spawn(move || {
                let since = Instant::now();
                let answer = ask.send(address);
                (answer, since.elapsed())
            })
        })
        .collect();
    for wait in waits {
        let (answer, took) = wait.join().unwrap();
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.text().contains("The audit log cannot be written now"), "{answer:?}");
        assert!(took >= Duration::from_secs(2), "{took:?}");
    }
    assert_eq!(world.simulator.requests().len(), 0, "a held request went through");
    // Who only reads does not notice.
    for path in ["/templates", "/v2/sandboxes", &format!("/sandboxes/{sandbox}")] {
        assert_eq!(world.ask("read", Ask::get(path)).status, 200, "{path}");
    }
    load.must(401, [stranger("s-last")]);

    stall.end();
    settled(&world.gateway);
    assert_eq!(world.ask("exec", Ask::post(&timeout, r#"{"timeout":60}"#)).status, 204);
    settled(&world.gateway);
    assert_eq!(metric(&world.gateway, "audit_dropped_total"), 0);
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.wait().code(), Some(0));
    let (_, report) = kept.intact();
    assert_eq!(report["files"][0]["lost"], 0);
    let lines = kept.lines();
    assert_numbered(&lines);
    let with = |status: u16| lines.iter().filter(|line| line["status"] == status).count();
    assert_eq!((with(401), with(503), with(201), with(204)), (strangers + 1, refused, 1, 1));
    assert_eq!(lines.len(), strangers + 1 + refused + 2);
}

#[test]
fn a_full_disk_costs_events_that_are_counted_everywhere_alike() {
    let kept = Kept::new();
    // No file may be larger than 64 KiB; what goes beyond that is an error, and no signal.
    let script = "trap '' XFSZ; ulimit -S -f 64; exec \"$@\"";
    let world = World::with(Options::default(), |setup| {
        let setup = setup.under(&["bash", "-c", script, "bash"]);
        setup.flag(kept.flag()).flag("--ops-listen=127.0.0.1:0")
    });
    let (mut load, mut sent) = (Load::open(world.control()), 0);
    while metric(&world.gateway, "audit_dropped_total") < 500 {
        load.must(401, (0..512).map(|number| stranger(&format!("s-{}", sent + number))));
        sent += 512;
        assert!(sent < 20_000);
    }
    // Nobody is held back.
    let since = Instant::now();
    world.create("exec");
    assert!(since.elapsed() < Duration::from_secs(2));
    sent += 1;

    let mut prlimit = Command::new("prlimit");
    let raised =
        prlimit.arg(format!("--pid={}", world.gateway.id())).arg("--fsize=unlimited").status();
    assert!(raised.unwrap().success());
    world.gateway.wait_for_log(&["the audit journal keeps up again"]);
    settled(&world.gateway);
    let lost = metric(&world.gateway, "audit_dropped_total");
    load.must(401, [stranger("s-after")]);
    sent += 1;
    settled(&world.gateway);
    assert_eq!(metric(&world.gateway, "audit_dropped_total"), lost);
    assert_eq!(metric(&world.gateway, "audit_events_total"), sent);
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.wait().code(), Some(0));
    for said in ["does not keep up", "keeps up again", "cannot be written", "is written again"] {
        let lines = world.gateway.log();
        assert_eq!(lines.iter().filter(|line| line.contains(said)).count(), 1, "{said}");
    }

    let (text, report) = kept.intact();
    assert_eq!(report["files"][0]["lost"], lost);
    assert!(text.contains(&format!("records that {lost} events are missing from 20")), "{text}");
    let lines = kept.lines();
    assert_numbered(&lines);
    let gaps: Vec<_> = lines.iter().filter(|line| line.get("gap").is_some()).collect();
    assert_eq!(gaps.len(), 1);
    assert_eq!(
        (&gaps[0]["gap"], &gaps[0]["why"]),
        (&lost.into(), &"the disk did not keep up".into())
    );
    assert_eq!(lines.len() as u64 - 1 + lost, sent);
    assert_eq!(lines.last().unwrap()["requestID"], "s-after");
    assert!(fs::metadata(&kept.path).unwrap().len() > 64 << 10);
}
