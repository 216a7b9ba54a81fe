//! Connections that were quiet for so long that the gateway keeps only their socket: nobody can tell from outside.

use std::time::{Duration, Instant};

use coppice_gateway::simulator::Options;
use http::Request;

use crate::http2::{connect, parts, whole};
use crate::support::gateway::Setup;
use crate::support::wait::run;
use crate::support::world::{DOMAIN, key};
use crate::support::{App, Ask, Wire, World};

const PARKED: &str = "is parked";

/// Says when it parks a connection.
fn parking(setup: Setup) -> Setup {
    setup.env("COPPICE_LOG", "info,coppice_gateway=trace")
}

fn world() -> World {
    World::with(Options::default(), parking)
}

fn templates(world: &World) -> Vec<u8> {
    Ask::get("/templates").key(&key("read")).kept_bytes(world.control())
}

#[test]
fn requests_on_a_connection_that_was_parked_are_served_as_ever() {
    let world = world();
    let (id, token) = world.create("exec");
    let mut control = Wire::open(world.control());
    let mut data = Wire::open(world.data());
    let one = templates(&world);
    for round in 1..=2 {
        control.send(&one);
        assert_eq!(control.answer_to("GET").status, 200);
        let host = format!("8080-{id}.{DOMAIN}");
        let ask = Ask::post("/p", "body").host(&host).header("X-Access-Token", &token);
        let echo = data.ask(&ask).json();
        assert_eq!((&echo["path"], &echo["bodyLength"]), (&"/p".into(), &4.into()));
        world.gateway.wait_for_logs(2 * round, &[PARKED]);
    }
    // Several at once, the last of them in pieces.
    let (first, last) = one.split_at(one.len() / 2);
    control.send(&[&one, &one, first].concat());
    for _ in 0..2 {
        assert_eq!(control.answer_to("GET").status, 200);
    }
    for byte in last {
        control.send(&[*byte]);
    }
    assert_eq!(control.answer_to("GET").status, 200);
}

#[test]
fn what_is_wrong_with_a_request_is_told_after_parking_too() {
    let world = world();
    let mut wire = Wire::open(world.control());
    wire.send(&templates(&world));
    assert_eq!(wire.answer_to("GET").status, 200);
    world.gateway.wait_for_log(&[PARKED]);
    wire.send(b"GET /templates#x HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(wire.answer().status, 400);
    assert_eq!(wire.until_finished(), b"");
}

#[test]
fn a_parked_connection_can_become_a_tunnel() {
    let app = App::with(parking);
    let mut client = app.client();
    client.send(Ask::get("/health").kept_bytes(app.world.control()).as_slice());
    client.answer_to("GET");
    app.world.gateway.wait_for_log(&[PARKED]);
    let asking = app.head(2375, "GET /attach HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n");
    client.send((asking + "early").as_bytes());
    let (mut upstream, _) = app.accept();
    upstream.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhello",
    );
    assert_eq!(client.head().status, 101);
    assert_eq!(client.until(b"hello"), b"hello");
    assert_eq!(upstream.until(b"early"), b"early");
}

#[test]
fn http_2_is_never_parked() {
    let world = world();
    let mut other = Wire::open(world.control());
    run(async {
        let mut sender = connect(world.control()).await;
        for round in 1..=2 {
            let request = Request::get(format!("http://{}/templates", world.control()))
                .header("x-api-key", key("read"));
            let response = sender.send_request(request.body(whole("")).unwrap()).await.unwrap();
            assert_eq!(parts(response).await.0, 200);
            // Later, so that it is parked later too.
            other.send(&templates(&world));
            assert_eq!(other.answer_to("GET").status, 200);
            world.gateway.wait_for_logs(round, &[PARKED]);
        }
    });
    let parked = world.gateway.log().iter().filter(|line| line.contains(PARKED)).count();
    assert_eq!(parked, 2, "the other one, each time");
}

#[test]
fn a_parked_connection_ends_when_its_time_is_up() {
    let world = World::with(Options::default(), |setup| parking(setup).flag("--idle-timeout=1s"));
    let mut waits = Wire::open(world.control());
    waits.send(&templates(&world));
    assert_eq!(waits.answer_to("GET").status, 200);
    assert_eq!(waits.until_finished(), b"");
    world.gateway.wait_for_log(&[PARKED]);
}

#[test]
fn a_parked_connection_ends_at_once_when_the_gateway_drains() {
    let world = world();
    let mut parked = Wire::open(world.control());
    parked.send(&templates(&world));
    assert_eq!(parked.answer_to("GET").status, 200);
    world.gateway.wait_for_log(&[PARKED]);
    let since = Instant::now();
    world.gateway.signal("TERM");
    assert_eq!(parked.until_finished(), b"");
    assert_eq!(world.gateway.wait().code(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

#[test]
fn a_parked_connection_keeps_its_place() {
    let world = World::with(Options::default(), |setup| parking(setup).flag("--max-connections=1"));
    let mut first = Wire::open(world.control());
    first.send(&templates(&world));
    assert_eq!(first.answer_to("GET").status, 200);
    world.gateway.wait_for_log(&[PARKED]);
    let mut second = Wire::open(world.control());
    second.send(&templates(&world));
    assert!(second.is_silent_for(Duration::from_millis(300)));
    first.send(&templates(&world));
    assert_eq!(first.answer_to("GET").status, 200);
    drop(first);
    assert_eq!(second.answer_to("GET").status, 200);
}
