//! How a gateway ends: what runs may finish, nothing new begins, and there is a limit to patience.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use coppice_gateway::simulator::Options;

use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::key;
use crate::support::{Ask, Wire, World};

/// A stream that has begun.
fn stream(world: &World, path: &str) -> Wire {
    let (sandbox, _) = world.create("exec");
    let ask = Ask::get(path).key(&key("exec")).header("E2b-Sandbox-Id", &sandbox);
    let mut wire = Wire::open(world.data());
    assert_eq!(wire.start(&ask.header("E2b-Sandbox-Port", "8080")).status, 200);
    assert_eq!(wire.chunk().unwrap(), b"chunk 0\n");
    wire
}

#[test]
fn streams_finish_and_nothing_new_begins() {
    let world = World::new();
    let (control, data) = (world.control(), world.data());
    let mut idle = Wire::open(control);
    assert_eq!(idle.ask(&Ask::get("/health")).status, 204);
    let mut running = stream(&world, "/stream?chunks=40&ms=50");
    world.gateway.signal("TERM");
    world.gateway.wait_for_log(&["draining"]);
    for address in [control, data] {
        let refused = || TcpStream::connect(address).is_err();
        eventually(&format!("{address} takes no connections"), PATIENCE, refused);
    }
    // A connection that waits for a next request is closed, the stream runs to its own end.
    assert_eq!(idle.until_closed(PATIENCE), b"");
    let mut chunks = 1;
    while running.chunk().is_some() {
        chunks += 1;
    }
    assert_eq!(chunks, 40);
    assert_eq!(world.gateway.wait().code(), Some(0));
    assert!(world.gateway.log().iter().any(|line| line.contains("\"drained\"")));
}

#[test]
fn an_idle_gateway_ends_at_once() {
    for signal in ["TERM", "INT"] {
        let world = World::new();
        let _open = Wire::open(world.control());
        let since = Instant::now();
        world.gateway.signal(signal);
        assert_eq!(world.gateway.wait().code(), Some(0), "{signal}");
        assert!(since.elapsed() < Duration::from_secs(5), "{signal}: {:?}", since.elapsed());
    }
}

#[test]
fn the_deadline_ends_what_does_not_end() {
    let world =
        World::with(Options::default(), |setup| setup.env("COPPICE_DRAIN_TIMEOUT", "300ms"));
    let mut endless = stream(&world, "/stream?chunks=100000&ms=50");
    let since = Instant::now();
    world.gateway.signal("TERM");
    endless.until_closed(PATIENCE);
    assert!(since.elapsed() >= Duration::from_millis(300), "cut off early: {:?}", since.elapsed());
    assert_eq!(world.gateway.wait().code(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert!(world.gateway.log().iter().any(|line| line.contains("closed what was still open")));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    // The limit is thirty seconds here.
    let world = World::new();
    let mut endless = stream(&world, "/stream?chunks=100000&ms=50");
    let since = Instant::now();
    world.gateway.signal("TERM");
    world.gateway.wait_for_log(&["draining"]);
    assert!(endless.chunk().is_some());
    world.gateway.signal("TERM");
    endless.until_closed(PATIENCE);
    assert_eq!(world.gateway.wait().code(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

#[test]
fn a_tunnel_is_a_stream_too() {
    let world =
        World::with(Options::default(), |setup| setup.env("COPPICE_DRAIN_TIMEOUT", "300ms"));
    let (sandbox, _) = world.create("exec");
    let ask = Ask::get("/ws")
        .key(&key("exec"))
        .header("E2b-Sandbox-Id", &sandbox)
        .header("E2b-Sandbox-Port", "8080")
        .upgrading();
    let mut wire = Wire::open(world.data());
    assert_eq!(wire.start(&ask).status, 101);
    let since = Instant::now();
    world.gateway.signal("TERM");
    wire.until_closed(PATIENCE);
    assert!(since.elapsed() >= Duration::from_millis(300), "cut off early: {:?}", since.elapsed());
    assert_eq!(world.gateway.wait().code(), Some(0));
}
