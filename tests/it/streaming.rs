//! Bodies on their way: as they come, of any size, in flat memory, and ended when either side leaves.
//!
//! What runs in the sandbox is mostly the test itself, so that it decides what is sent when, and sees what arrives.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::DOMAIN;
use crate::support::{App, Ask, Wire, World};

/// Longest time for one side to learn that the other has left.
const NOTICE: Duration = Duration::from_secs(1);

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

#[test]
fn answers_pass_as_they_come() {
    let scene = App::new();
    for (port, request, content_type, parts) in [
        (
            49999,
            "POST /execute HTTP/1.1\r\nContent-Length: 0\r\n",
            "application/x-ndjson",
            ["{\"a\":1}\n", "{\"b\":2}\n"],
        ),
        (8080, "GET /events HTTP/1.1\r\n", "text/event-stream", ["data: 1\n\n", "data: 2\n\n"]),
        (8080, "GET / HTTP/1.1\r\n", "text/plain", ["x", "y"]),
        (
            49983,
            "POST /process.Process/Start HTTP/1.1\r\nContent-Type: application/connect+json\r\nContent-Length: 0\r\n",
            "application/connect+json",
            ["\0\0\0\0\x02{}", "\x02\0\0\0\x02{}"],
        ),
    ] {
        let mut client = scene.begin(port, request);
        let (mut app, _) = scene.accept();
        app.send(format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes());
        let head = client.head();
        assert_eq!((head.status, head.header("content-type")), (200, Some(content_type)));
        for part in parts {
            // The next part is not sent before this one is there.
            app.send(&chunk(part.as_bytes()));
            client.until(part.as_bytes());
        }
        app.send(b"0\r\n\r\n");
        client.until(b"0\r\n\r\n");
    }
}

#[test]
fn uploads_pass_as_they_come_and_may_be_answered_meanwhile() {
    let scene = App::new();
    for (port, path) in
        [(8080, "/in"), (49983, "/files?path=x"), (49983, "/process.Process/StreamInput")]
    {
        let mut client =
            scene.begin(port, &format!("POST {path} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"));
        let (mut app, _) = scene.accept();
        client.send(&chunk(b"first half"));
        app.until(b"first half");
        app.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        app.send(&chunk(b"so far so good"));
        assert_eq!(client.head().status, 200);
        client.until(b"so far so good");
        client.send(&chunk(b"second half"));
        app.until(b"second half");
        client.send(b"0\r\n\r\n");
        app.until(b"0\r\n\r\n");
        app.send(b"0\r\n\r\n");
        client.until(b"0\r\n\r\n");
    }
    // Of known length, too.
    let mut client = scene.begin(8080, "PUT /in HTTP/1.1\r\nContent-Length: 8\r\n");
    let (mut app, head) = scene.accept();
    assert!(head.contains("\r\ncontent-length: 8\r\n"), "{head}");
    client.send(b"half");
    app.until(b"half");
    client.send(b"rest");
    app.until(b"rest");
    app.send(b"HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(client.head().status, 204);
}

#[test]
fn a_client_that_leaves_ends_the_upstreams_work() {
    let scene = App::new();
    // Before there is any answer.
    for request in ["GET /slow HTTP/1.1\r\n", "POST /execute HTTP/1.1\r\nContent-Length: 2\r\n"] {
        let mut client = scene.begin(49999, request.replace("GET /slow", "GET /contexts").as_str());
        if request.starts_with("POST") {
            client.send(b"{}");
        }
        let (mut app, _) = scene.accept();
        let left = Instant::now();
        drop(client);
        app.until_closed(PATIENCE);
        assert!(left.elapsed() < NOTICE, "{request}: {:?}", left.elapsed());
    }
    // In the middle of one.
    let mut client = scene.begin(8080, "GET / HTTP/1.1\r\n");
    let (mut app, _) = scene.accept();
    app.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    client.until(b"x\r\n");
    let left = Instant::now();
    drop(client);
    app.until_closed(PATIENCE);
    assert!(left.elapsed() < NOTICE, "{:?}", left.elapsed());
    // In the middle of an upload: the application must not take half for the whole.
    let mut client = scene.begin(8080, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n");
    client.send(&chunk(b"half"));
    let (mut app, _) = scene.accept();
    app.until(b"half\r\n");
    let left = Instant::now();
    drop(client);
    assert_eq!(app.until_closed(PATIENCE), b"", "no end of the body");
    assert!(left.elapsed() < NOTICE, "{:?}", left.elapsed());
}

#[test]
fn code_is_interrupted_when_its_client_leaves() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let slow = Ask::get("/slow?ms=60000").host(&format!("8080-{id}.{DOMAIN}"));
    let mut client = Wire::open(world.data());
    client.send(&slow.header("X-Access-Token", &token).bytes(world.data()));
    eventually("the request is there", Duration::from_secs(5), || {
        world.simulator.requests().iter().any(|request| request.path_only() == "/slow")
    });
    assert_eq!(world.simulator.aborted(), 0);
    drop(client);
    eventually("it was aborted", NOTICE, || world.simulator.aborted() == 1);
}

#[test]
fn an_answer_that_breaks_off_does_not_look_whole() {
    let scene = App::new();
    for framing in
        ["Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "Content-Length: 8\r\n\r\nhalf"]
    {
        let mut client = scene.begin(8080, "GET / HTTP/1.1\r\n");
        let (mut app, _) = scene.accept();
        app.send(format!("HTTP/1.1 200 OK\r\n{framing}").as_bytes());
        client.until(b"half");
        drop(app);
        let rest = client.until_closed(PATIENCE);
        assert!(!rest.ends_with(b"0\r\n\r\n") && rest.len() < 4, "{rest:?}");
    }
}

#[test]
fn an_upstream_that_hangs_up_instead_of_answering_is_a_502() {
    let scene = App::new();
    let mut client = scene.begin(8080, "GET / HTTP/1.1\r\n");
    drop(scene.accept());
    let answer = client.answer();
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
}

#[test]
fn a_silent_stream_outlives_the_idle_timeout_and_the_connection_goes_on() {
    let limit = Duration::from_secs(1);
    let scene = App::with(|setup| setup.flag(format!("--idle-timeout={}s", limit.as_secs())));
    let mut client = scene.begin(8080, "GET / HTTP/1.1\r\n");
    let (mut app, _) = scene.accept();
    // Silent before the head, and silent within the body.
    assert!(client.is_silent_for(limit * 3 / 2));
    app.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na");
    assert_eq!(client.head().status, 200);
    client.until(b"a");
    assert!(client.is_silent_for(limit * 3 / 2));
    app.send(b"b");
    client.until(b"b");
    // Both connections serve the next request.
    client.send(scene.head(8080, "GET /next HTTP/1.1\r\n").as_bytes());
    app.until(b"GET /next HTTP/1.1\r\n");
    app.until(b"\r\n\r\n");
    app.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    // Only between requests does the limit run.
    let idle = Instant::now();
    assert_eq!(client.until_closed(PATIENCE), b"");
    assert!(idle.elapsed() >= limit / 2, "{:?}", idle.elapsed());
}

#[test]
fn codings_are_between_client_and_application() {
    let scene = App::new();
    let coded = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3];
    let mut client = scene.begin(
        49983,
        &format!("POST /files?path=x HTTP/1.1\r\nAccept-Encoding: gzip\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n", coded.len()),
    );
    client.send(&coded);
    let (mut app, head) = scene.accept();
    assert!(head.contains("\r\naccept-encoding: gzip\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-encoding: gzip\r\n"), "{head}");
    app.until(&coded);
    app.send(
        format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            coded.len()
        )
        .as_bytes(),
    );
    app.send(&coded);
    let answer = client.answer();
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.body, coded);
}

#[test]
fn a_client_that_expects_to_be_asked_is() {
    let scene = App::new();
    let mut client =
        scene.begin(8080, "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n");
    client.until(b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send(b"body");
    let (mut app, head) = scene.accept();
    assert!(!head.contains("\r\nexpect:"), "{head}");
    app.until(b"body");
    app.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status, 201);
    // Nobody is asked for a body that will not be taken.
    let mut client = scene.client();
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nE2b-Sandbox-Port: 8080\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert!(client.until(b"\r\n").starts_with(b"HTTP/1.1 401 "));
}

#[test]
fn trailers_pass_both_ways_but_for_names_that_heads_lose() {
    let scene = App::new();
    let mut client = scene.begin(
        8080,
        "POST / HTTP/1.1\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n",
    );
    client.send(
        b"1\r\nx\r\n0\r\nX-Sum: 1\r\nX-Coppice-Tenant: team-b\r\nE2b_Sandbox_Id: other\r\n\r\n",
    );
    let (mut app, head) = scene.accept();
    assert!(head.contains("\r\nte: trailers\r\n"), "{head}");
    let body = String::from_utf8(app.until(b"\r\n\r\n")).unwrap().to_ascii_lowercase();
    assert!(body.contains("x-sum: 1"), "{body}");
    assert!(!body.contains("coppice") && !body.contains("sandbox"), "{body}");
    app.send(b"HTTP/1.1 200 OK\r\nTrailer: X-Check\r\nTransfer-Encoding: chunked\r\n\r\n1\r\ny\r\n0\r\nX-Check: 2\r\n\r\n");
    assert_eq!(client.head().status, 200);
    let body = String::from_utf8(client.until(b"\r\n\r\n")).unwrap().to_ascii_lowercase();
    assert!(body.ends_with("0\r\nx-check: 2\r\n\r\n"), "{body}");
}

/// A figure of the gateway's memory in KiB.
fn memory(world: &World, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.gateway.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_gibibyte_each_way_takes_no_memory() {
    const SIZE: u64 = 1 << 30;
    let scene = App::new();
    let before = memory(&scene.world, "VmRSS:");
    let zeros = vec![0_u8; 256 * 1024];
    let pour = |wire: &mut Wire| {
        for _ in 0..SIZE / zeros.len() as u64 {
            wire.send(&zeros);
        }
    };
    thread::scope(|scope| {
        let mut down = scene.begin(8080, "GET / HTTP/1.1\r\n");
        let (mut app, _) = scene.accept();
        app.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes());
        scope.spawn(move || pour(&mut app));
        scope.spawn(move || {
            assert_eq!(down.head().status, 200);
            down.discard(SIZE);
        });
        let mut up = scene
            .begin(49983, &format!("POST /files?path=x HTTP/1.1\r\nContent-Length: {SIZE}\r\n"));
        let (mut app, _) = scene.accept();
        scope.spawn(move || {
            pour(&mut up);
            assert_eq!(up.answer().status, 200);
        });
        scope.spawn(move || {
            app.discard(SIZE);
            app.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        });
    });
    let grown = memory(&scene.world, "VmHWM:").saturating_sub(before);
    assert!(grown < 40 * 1024, "{grown} KiB");
}
