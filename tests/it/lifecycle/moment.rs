//! The moment in which one process takes the other's place: what happens just then is neither lost nor done twice.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coppice_gateway::platform::link::Link;
use coppice_gateway::simulator::Options;

use super::Processes;
use super::replacement::Replaceable;
use super::succession::{stream, whoami};
use crate::support::upstream::{Upstream, answer};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::key;
use crate::support::{Ask, Wire, World};

/// Owners that have to travel.
const OWNERS: usize = 2_000;

/// An upstream that keeps no metadata, so that the gateway's own record says whose a sandbox is.
fn forgetful() -> Upstream {
    let next = std::sync::atomic::AtomicUsize::new(0);
    Upstream::start(move |_, talk| {
        while let Some(head) = talk.request() {
            let mut words = head.split([' ', '?']);
            let sandbox = |id: &str| {
                format!(r#"{{"sandboxID":"{id}","templateID":"base","envdVersion":"0.2.0"}}"#)
            };
            let said = match (words.next().unwrap(), words.next().unwrap()) {
                ("POST", _) => {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    answer("201 Created", &sandbox(&format!("i{number}x")))
                }
                ("GET", path) => match path.strip_prefix("/sandboxes/") {
                    Some(id) => answer("200 OK", &sandbox(id)),
                    None => answer("200 OK", "[]"),
                },
                (method, path) => panic!("nobody asked for {method} {path}"),
            };
            talk.send(said);
        }
    })
}

/// Tells everybody to end, also when something went wrong.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn creates_go_on_and_nobody_loses_what_they_made() {
    let upstream = forgetful();
    let world = World::with(Options::default(), |setup| {
        setup.without("--upstream=").flag(format!("--upstream={}", upstream.url()))
    });
    let (processes, control) = (Processes::of(&world.gateway), world.control());
    let (made, is_over) = (Mutex::new(BTreeSet::new()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let over = Over(&is_over);
        for _ in 0..4 {
            scope.spawn(|| {
                let create = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#);
                let (create, mut wire) = (create.key(&key("exec")), Wire::open(control));
                while !is_over.load(Ordering::SeqCst) {
                    let answer = wire.ask(&create);
                    assert_eq!(answer.status, 201, "{}", answer.text());
                    let id = answer.json()["sandboxID"].as_str().unwrap().to_owned();
                    made.lock().unwrap().insert(id);
                }
            });
        }
        eventually("there are owners", PATIENCE * 3, || made.lock().unwrap().len() >= OWNERS);
        for _ in 0..4 {
            processes.upgrade();
        }
        drop(over);
    });
    eventually("only the last process is left", PATIENCE, || processes.alive().len() == 1);
    let mut wire = Wire::open(control);
    for id in made.into_inner().unwrap() {
        let answer = wire.ask(&Ask::get(&format!("/sandboxes/{id}")).key(&key("exec")));
        assert_eq!(answer.status, 200, "{id} is nobody's any more");
    }
}

#[test]
fn a_reload_that_comes_meanwhile_reaches_the_new_process() {
    let keys = |names: &[&str]| {
        let keys = names.iter().map(|name| format!("\"team-a:{name}:exec\""));
        format!("[auth]\napi_keys = [{}]\n", keys.collect::<Vec<_>>().join(", "))
    };
    let place = Replaceable::new(|setup, directory| {
        let file = directory.join("gateway.toml");
        fs::write(&file, keys(&["k-stays", "k-goes"])).unwrap();
        setup
            .without("COPPICE_API_KEYS")
            .env("COPPICE_CONFIG", file.to_str().unwrap())
            .state_dir(&directory.join("state"))
    });
    let directory = place.directory.path();
    let status = |key: &str| Ask::get("/auth/whoami").key(key).send(place.world.control()).status;
    let processes = Processes::of(&place.world.gateway);
    // The new process stops at the record of owners, when it has read its settings.
    let gate = directory.join("state/ownership");
    let program = env!("CARGO_BIN_EXE_coppice-gateway");
    place.replace(&format!("mkfifo {}; exec {program} \"$@\"", gate.display()));
    processes.upgrade_with(|| {
        eventually("the new process begins", PATIENCE, || gate.exists());
        let stopped = fs::OpenOptions::new().write(true).open(&gate).unwrap();
        assert_eq!(status("k-goes"), 200);
        fs::write(directory.join("gateway.toml"), keys(&["k-stays"])).unwrap();
        place.world.gateway.reload();
        assert_eq!(status("k-goes"), 401);
        drop(stopped);
    });
    eventually("only the new process is left", PATIENCE, || processes.alive().len() == 1);
    assert_eq!((status("k-goes"), status("k-stays")), (401, 200));
}

#[test]
fn a_reload_of_a_process_that_was_replaced_reaches_the_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let settings = directory.path().join("gateway.toml");
    fs::write(&settings, "[auth]\napi_keys = [\"team-a:k-goes:exec\"]\n").unwrap();
    let world = World::with(Options::default(), |setup| {
        setup.without("COPPICE_API_KEYS").env("COPPICE_CONFIG", settings.to_str().unwrap())
    });
    let processes = Processes::of(&world.gateway);
    let create = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).key("k-goes");
    let sandbox = create.send(world.control()).json()["sandboxID"].as_str().unwrap().to_owned();
    let mut endless = stream(&world, &sandbox, "k-goes", 100_000);
    processes.upgrade();
    fs::write(&settings, "[auth]\napi_keys = [\"team-a:k-comes:exec\"]\n").unwrap();
    world.gateway.signal("HUP");
    endless.until_closed(PATIENCE);
    let status = |key: &str| Ask::get("/auth/whoami").key(key).send(world.control()).status;
    eventually("the new process reloads", PATIENCE, || status("k-comes") == 200);
    assert_eq!(status("k-goes"), 401);
}

#[test]
fn a_new_process_takes_no_more_connections_than_it_has_places_for() {
    let directory = tempfile::tempdir().unwrap();
    let settings = directory.path().join("gateway.toml");
    fs::write(&settings, "").unwrap();
    let world = World::with(Options::default(), |setup| {
        setup.env("COPPICE_CONFIG", settings.to_str().unwrap())
    });
    let (processes, control) = (Processes::of(&world.gateway), world.control());
    let mut kept: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(control).unwrap()).collect();
    // Whether it is answered, or was closed.
    let is_answered = |stream: &mut TcpStream| {
        let _ = stream.write_all(&Ask::get("/health").kept_bytes(control));
        stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0)
    };
    assert!(kept.iter_mut().all(is_answered));
    fs::write(&settings, "[server]\nmax_connections = 2\n").unwrap();
    processes.upgrade();
    assert_eq!(kept.iter_mut().filter_map(|stream| is_answered(stream).then_some(())).count(), 2);
    drop(kept);
    assert_eq!(whoami().send(control).status, 200);
}

/// A new process whose old one is the test.
struct Successor {
    line: Link,
    child: Child,
}

impl Successor {
    /// Starts it with this listener.
    fn begin(listener: &std::net::TcpListener) -> Self {
        let (line, end) = Link::pair().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_coppice-gateway"));
        command.args(["serve", "--upstream=http://127.0.0.1:9", "--listen=127.0.0.1:0"]);
        command.env_clear().env("COPPICE_HANDOVER", "stdin").env("COPPICE_LOG", "error");
        command.env("COPPICE_API_KEYS", format!("team-a:{}:read", key("read")));
        let child = command.stdin(Stdio::from(end)).spawn().unwrap();
        let successor = Self { line, child };
        let socket = r#"{"Socket":{"purpose":"api","setting":"127.0.0.1:0","nth":0}}"#;
        let copy = OwnedFd::from(listener.try_clone().unwrap());
        successor.line.send(socket.as_bytes(), Some(copy.as_fd())).unwrap();
        successor.say("\"Sockets\"");
        assert_eq!(successor.hear(), "\"Bound\"");
        successor
    }

    fn say(&self, word: &str) {
        self.line.send(word.as_bytes(), None).unwrap();
    }

    fn hear(&self) -> String {
        let mut heard = Vec::new();
        self.line.receive(&mut heard).unwrap().expect("it has ended");
        String::from_utf8(heard).unwrap()
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_new_process_answers_nobody_before_the_old_one_has_left() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let successor = Successor::begin(&listener);
    successor.say("\"Yours\"");
    assert_eq!(successor.hear(), "\"Ready\"");
    let mut early = Wire::open(listener.local_addr().unwrap());
    early.send(&whoami().kept_bytes(listener.local_addr().unwrap()));
    assert!(early.is_silent_for(Duration::from_millis(300)));
    successor.say("\"Go\"");
    assert_eq!(early.answer().status, 200);
    // Whoever was told of before that comes after it.
    assert_eq!(whoami().send(listener.local_addr().unwrap()).status, 200);
}

#[test]
fn a_new_process_whose_old_one_is_gone_goes_on_alone() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let successor = Successor::begin(&listener);
    successor.say("\"Yours\"");
    assert_eq!(successor.hear(), "\"Ready\"");
    successor.line.close();
    assert_eq!(whoami().send(listener.local_addr().unwrap()).status, 200);
}
