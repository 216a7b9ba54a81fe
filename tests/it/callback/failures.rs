//! A service that does not answer, or not soundly: never an admission, never later than the deadline, never a word of
//! where it is or what went wrong.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{fence, one_worker, status, world_at, world_with};
use crate::support::authority::Authority;
use crate::support::callback::{Deaf, Full, Reply, Scripted};
use crate::support::{Ask, World};

/// More than the deadline that these tests set, and much less than anybody else's.
const LATE: Duration = Duration::from_secs(3);

fn asks() -> [Ask; 4] {
    [
        Ask::get("/sandboxes").key("key-1"),
        Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).bearer("key-2"),
        Ask::get("/nodes").key("key-3"),
        Ask::get("/auth/whoami").bearer("key-4"),
    ]
}

/// A gateway that asks the service at `address`, by a URL with secrets in it, for a second at most.
fn failing(scheme: &str, address: std::net::SocketAddr) -> World {
    let url = format!("{scheme}://user:canary@{address}/verify?tok=canary");
    world_at(&url, |setup| setup.env("AUTH_CALLBACK_TIMEOUT", "1s"))
}

/// Sends all at once and checks each; the distinct texts of the answers.
fn assert_fails(name: &str, world: &World) -> BTreeSet<String> {
    let since = Instant::now();
    let answers = std::thread::scope(|scope| {
        let sent = asks().map(|ask| scope.spawn(move || ask.send(world.control())));
        sent.map(|answer| answer.join().unwrap())
    });
    assert!(since.elapsed() < LATE, "{name}: {:?}", since.elapsed());
    let mut texts = BTreeSet::new();
    for answer in answers {
        assert_eq!((answer.status, &*answer.code()), (500, "callback_unavailable"), "{name}");
        let head = format!("{:?}", answer.headers);
        for secret in ["canary", "127.0.0.1", "verify"] {
            assert!(!head.contains(secret) && !answer.text().contains(secret), "{name}: {head}");
        }
        texts.insert(answer.text());
    }
    assert!(world.simulator.requests().is_empty(), "{name}");
    texts
}

/// Waits until the log names the service, and checks that it names it without its secrets.
fn assert_logged(name: &str, world: &World, scheme: &str, address: std::net::SocketAddr) {
    world.gateway.wait_for_log(&[&format!("{scheme}://{address}/verify")]);
    for line in world.gateway.log() {
        assert!(!line.contains("canary") && !line.contains("key-"), "{name}: {line}");
    }
}

/// Each way to fail, in a thread and with a gateway of its own, since each takes its second.
#[test]
fn no_failure_admits_anybody_or_says_why() {
    let bad = |text: &str| Reply::Bytes(text.as_bytes().to_vec());
    let modes = [
        ("black hole", Reply::Silence),
        ("reset within the head", Reply::Reset),
        ("slow drip", Reply::Drip),
        ("endless head", Reply::EndlessHead),
        ("closed at once", bad("")),
        ("closed within the head", bad("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")),
        ("garbage", Reply::Bytes(vec![0xff; 4096])),
        ("no status", bad("HTTP/1.1 OK\r\n\r\n")),
        ("HTTP/0.9", bad("200 OK, let them in")),
        ("another protocol", bad("SSH-2.0-OpenSSH_9.6\r\n\r\n")),
        ("two lengths", bad("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")),
        ("a promise", bad("HTTP/1.1 100 Continue\r\n\r\n")),
        ("another promise", bad("HTTP/1.1 103 Early Hints\r\n\r\n")),
    ];
    let texts: BTreeSet<String> = std::thread::scope(|scope| {
        let running = modes.map(|(name, reply)| {
            scope.spawn(move || {
                let service = Scripted::always(reply);
                let world = failing("http", service.address());
                let texts = assert_fails(name, &world);
                assert!(service.connections() > 0, "{name}");
                assert_logged(name, &world, "http", service.address());
                texts
            })
        });
        let refused = scope.spawn(|| {
            let deaf = Deaf::new();
            let world = failing("http", deaf.address());
            let texts = assert_fails("refused", &world);
            assert_logged("refused", &world, "http", deaf.address());
            texts
        });
        let full = scope.spawn(|| {
            let full = Full::new();
            let world = failing("http", full.address());
            assert_fails("nobody accepts", &world)
        });
        let stranger = scope.spawn(|| {
            let authority = Authority::new();
            let service =
                Scripted::with_tls(authority.server("IP:127.0.0.1", false), Reply::allow());
            let world = failing("https", service.address());
            let texts = assert_fails("nobody vouches for it", &world);
            assert_eq!(service.count(), 0);
            assert_logged("nobody vouches for it", &world, "https", service.address());
            texts
        });
        let plain = scope.spawn(|| {
            let service = Scripted::always(Reply::allow());
            let world = failing("https", service.address());
            // What it reads there is no request, and it cannot be made to look like one.
            service.now(bad("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
            assert_fails("no TLS there", &world)
        });
        let all = running.into_iter().chain([refused, full, stranger, plain]);
        all.flat_map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(texts.len(), 1, "the same words whatever it was: {texts:#?}");
}

#[test]
fn it_can_be_a_503_instead() {
    let deaf = Deaf::new();
    let url = format!("http://{}/verify", deaf.address());
    let world = world_at(&url, |setup| setup.env("AUTH_CALLBACK_UNAVAILABLE_STATUS", "503"));
    for ask in asks() {
        let answer = ask.send(world.control());
        assert_eq!((answer.status, &*answer.code()), (503, "callback_unavailable"), "{ask:?}");
        assert_eq!(answer.json()["code"], 503);
        let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!(seconds > 0);
    }
    assert!(world.simulator.requests().is_empty());
}

#[test]
fn a_connection_that_the_service_closed_is_not_used_again() {
    let service = Scripted::always(Reply::StatusAndClose(200));
    let world = world_with(&service, one_worker);
    for number in 0..20 {
        let answer = Ask::get("/sandboxes").key(&format!("key-{number}")).send(world.control());
        assert_eq!(answer.status, 200, "{number}: {}", answer.text());
        crate::support::wait::eventually("it is closed", LATE, || service.open_connections() == 0);
        fence(&world);
    }
    assert_eq!((service.count(), service.connections()), (20, 20));
}

#[test]
fn connections_are_kept() {
    let service = Scripted::always(Reply::allow());
    let world = world_with(&service, one_worker);
    for number in 0..20 {
        assert_eq!(status(&world, &format!("key-{number}")), 200);
    }
    assert_eq!(service.count(), 20);
    assert!(service.connections() < 5, "{}", service.connections());
}

#[test]
fn proxies_of_the_environment_play_no_part() {
    let service = Scripted::always(Reply::allow());
    let proxy = Scripted::always(Reply::allow());
    let world = world_with(&service, |setup| {
        let names =
            ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
        names.iter().fold(setup, |setup, name| setup.env(name, proxy.url()))
    });
    assert_eq!(status(&world, "key"), 200);
    assert_eq!((service.count(), proxy.connections()), (1, 0));
}
