//! What passes through TLS and unix sockets: both planes, in either HTTP, tunnels, and whatever stock clients do.

use coppice_gateway::simulator::Plane;

use super::{Trusted, simulator, world};
use crate::support::client::{WRONG_KEY, javascript, python, succeed};
use crate::support::nginx::{Nginx, Seen};
use crate::support::world::DOMAIN;
use crate::support::{Ask, Wire, World};

/// Goes through both planes, and returns the last request that came to a sandbox.
fn use_both_planes(world: &World) {
    let (id, token) = world.create("exec");
    assert_eq!(world.ask("exec", Ask::get(&format!("/sandboxes/{id}"))).status, 200);
    for (port, ask) in [
        (49983, Ask::post("/process.Process/List", "{}")),
        (49999, Ask::post("/execute", r#"{"code":"print(1)"}"#)),
        (8080, Ask::post("/x", "body")),
    ] {
        let answer = world.ask_sandbox(&id, port, ask.header("X-Access-Token", &token));
        assert_eq!(answer.status, 200, "{port}: {}", answer.text());
        let got = world.simulator.requests().pop().unwrap();
        assert_eq!((got.plane, got.host), (Plane::Data, format!("{port}-{id}.{DOMAIN}")));
    }
    assert_eq!(world.ask("exec", Ask::new("DELETE", &format!("/sandboxes/{id}"))).status, 204);
}

/// Opens a WebSocket into a sandbox and has a message come back.
fn use_a_websocket(world: &World) {
    let (id, token) = world.create("exec");
    let mut wire = Wire::open(world.data());
    let ask = Ask::get("/ws").host(&format!("8080-{id}.{DOMAIN}")).upgrading();
    assert_eq!(wire.start(&ask.header("X-Access-Token", &token)).status, 101);
    for text in ["hi", "again"] {
        // A masked text frame, under the mask 0.
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        wire.send(&frame);
        wire.until(text.as_bytes());
    }
}

fn seen(world: &World) -> Vec<Seen> {
    world.simulator.requests().iter().map(Seen::of).collect()
}

#[test]
fn both_planes_pass_through_tls_on_connections_that_are_kept() {
    let trusted = Trusted::new("", "", |setup| setup);
    use_both_planes(&trusted.world);
    let seen = seen(&trusted.world);
    assert!(
        seen.iter().all(|seen| (&*seen.tls, &*seen.http) == ("TLSv1.3", "HTTP/1.1")),
        "{seen:?}"
    );
    let mut connections: Vec<_> = seen.iter().map(|seen| seen.connection).collect();
    connections.sort_unstable();
    connections.dedup();
    assert!(connections.len() < seen.len() / 2, "{seen:?}");
    // The sandbox API gets the name in its URL, as it does in clear.
    let control = trusted.world.reached(Plane::Control).pop().unwrap();
    assert!(control.host.starts_with("127.0.0.1:"), "{control:?}");
    use_a_websocket(&trusted.world);
}

#[test]
fn http2_is_spoken_through_tls_where_it_is_agreed_upon() {
    for (listen, expected) in [("http2", "HTTP/2.0"), ("", "HTTP/1.1")] {
        let trusted = Trusted::new(listen, "", |setup| setup.flag("--upstream-http2=on"));
        use_both_planes(&trusted.world);
        let seen = seen(&trusted.world);
        assert!(
            seen.iter().all(|seen| (&*seen.tls, &*seen.http) == ("TLSv1.3", expected)),
            "{seen:?}"
        );
        trusted.world.simulator.clear_requests();
        use_a_websocket(&trusted.world);
        let tunnel = trusted.world.reached(Plane::Data).pop().unwrap();
        assert_eq!(Seen::of(&tunnel).http, "HTTP/1.1");
    }
}

#[test]
fn older_tls_is_still_spoken() {
    let trusted = Trusted::new("", "ssl_protocols TLSv1.2;", |setup| setup);
    use_both_planes(&trusted.world);
    assert!(seen(&trusted.world).iter().all(|seen| seen.tls == "TLSv1.2"));
}

#[test]
fn sockets_in_the_file_system_are_upstreams_too() {
    let simulator = simulator();
    let nginx = Nginx::sockets(&simulator);
    let world = world(simulator, &nginx.api, &nginx.envd, |setup| setup);
    use_both_planes(&world);
    assert!(world.reached(Plane::Control).iter().all(|request| request.host == "localhost"));
    assert!(seen(&world).iter().all(|seen| seen.tls.is_empty()));
    use_a_websocket(&world);
    drop(nginx);
    assert_eq!(super::listed(&world), 502);
    world.gateway.wait_for_log(&["it cannot be reached: ", "api.sock"]);
}

#[test]
fn stock_clients_work_before_an_upstream_behind_tls() {
    for (mut script, http2) in [
        (python(".venv", "python/sync/lifecycle.py"), "off"),
        (javascript("new", "large.mjs"), "off"),
        (javascript("new", "large.mjs"), "on"),
    ] {
        let trusted =
            Trusted::new("http2", "", |setup| setup.flag(format!("--upstream-http2={http2}")));
        let world = &trusted.world;
        script
            .env("E2B_API_KEY", world.key("exec"))
            .env("READ_KEY", world.key("read"))
            .env("WRONG_KEY", WRONG_KEY)
            .env("E2B_API_URL", world.api_url())
            .env("E2B_SANDBOX_URL", world.sandbox_url());
        succeed(script, &world.gateway);
    }
}
