//! Health and readiness: what an orchestrator is told, from the start to the end of draining.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use coppice_gateway::clock::UnixTime;
use coppice_gateway::simulator::Options;

use crate::support::keys_file::KeysFile;
use crate::support::telemetry::ops;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::key;
use crate::support::{Answer, Ask, Wire, World, exchange};

fn world() -> World {
    World::with(Options::default(), |setup| setup.flag("--ops-listen=127.0.0.1:0"))
}

fn ask(world: &World, method: &str, path: &str) -> Answer {
    Ask::new(method, path).send(ops(&world.gateway))
}

#[test]
fn a_gateway_that_runs_is_alive_and_ready() {
    let world = world();
    for path in ["/healthz", "/readyz", "/healthz?verbose"] {
        eventually(path, PATIENCE, || ask(&world, "GET", path).status == 200);
        let head = ask(&world, "HEAD", path);
        assert_eq!((head.status, head.text().as_str()), (200, ""), "{path}");
    }
    assert_eq!(ask(&world, "GET", "/healthz").json()["status"], "alive");
    assert_eq!(ask(&world, "GET", "/readyz").json()["status"], "ready");
}

#[test]
fn there_is_nothing_else() {
    let world = world();
    for path in
        ["/", "/metrics/", "/health", "/auth/whoami", "/sandboxes", "/debug/pprof", "//healthz"]
    {
        let answer = Ask::get(path).key(&key("admin")).send(ops(&world.gateway));
        assert_eq!(answer.status, 404, "{path}");
    }
    for path in ["/metrics", "/healthz", "/readyz"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let answer = ask(&world, method, path);
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
        }
        // And none of it where requests for sandboxes go.
        let answer = Ask::get(path).send(world.control());
        assert_eq!(answer.status, 401, "{path}");
    }
}

#[test]
fn a_draining_gateway_is_alive_and_not_ready() {
    let world = world();
    let (sandbox, _) = world.create("exec");
    let ask_stream = Ask::get("/stream?chunks=100000&ms=50").key(&key("exec"));
    let ask_stream =
        ask_stream.header("E2b-Sandbox-Id", &sandbox).header("E2b-Sandbox-Port", "8080");
    let mut stream = Wire::open(world.data());
    assert_eq!(stream.start(&ask_stream).status, 200);
    eventually("ready", PATIENCE, || ask(&world, "GET", "/readyz").status == 200);
    world.gateway.signal("TERM");
    world.gateway.wait_for_log(&["draining"]);
    eventually("not ready", PATIENCE, || ask(&world, "GET", "/readyz").status == 503);
    let answer = ask(&world, "GET", "/readyz").json();
    assert_eq!(
        (answer["status"].as_str(), answer["reason"].as_str()),
        (Some("not ready"), Some("draining"))
    );
    assert_eq!(ask(&world, "GET", "/healthz").status, 200);
    assert_eq!(ask(&world, "GET", "/metrics").status, 200);
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.wait().code(), Some(0));
}

#[test]
fn without_a_valid_key_nobody_can_be_served() {
    let expires = UnixTime(UnixTime::now().0 + 3);
    let entry = |key: &str| {
        format!(
            r#"[{{"tenantID":"team-a","key":"{key}","scopes":["read"],"expiresAt":"{expires}"}}]"#
        )
    };
    let file = KeysFile::new(&entry("k-ends"));
    let world = World::with(Options::default(), |setup| {
        let setup = setup.without("COPPICE_API_KEYS").flag("--ops-listen=127.0.0.1:0");
        setup.env("COPPICE_API_KEYS_FILE", file.path().to_str().unwrap())
    });
    eventually("ready", PATIENCE, || ask(&world, "GET", "/readyz").status == 200);
    eventually("its key ends", PATIENCE, || ask(&world, "GET", "/readyz").status == 503);
    assert!(UnixTime::now() >= expires, "too early");
    assert_eq!(ask(&world, "GET", "/readyz").json()["reason"], "no key is valid now");
    file.reload(&world.gateway, "team-a:k-new:read");
    assert_eq!(ask(&world, "GET", "/readyz").status, 200);
    // A reload that fails leaves it as ready as it was.
    file.write("nonsense");
    world.gateway.signal("HUP");
    world.gateway.wait_for_log(&["not reloaded"]);
    assert_eq!(ask(&world, "GET", "/readyz").status, 200);
}

#[test]
fn a_unix_socket_does_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ops.sock");
    let world = World::with(Options::default(), |setup| {
        setup.flag(format!("--ops-listen=unix:{}", path.display()))
    });
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    drop(world);
}

#[test]
fn whoever_says_nothing_keeps_nobody_out() {
    let world = world();
    let address = ops(&world.gateway);
    let silent: Vec<_> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    // More than there are places: one gets its turn when the silent are shown out.
    let answer =
        exchange(address, b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    drop(silent);
}
