//! Browsers: preflights of configured origins are answered by the gateway, all others are requests like any other.

use coppice_gateway::simulator::Options;

use crate::support::{Answer, Ask, World};

fn preflight(path: &str, origin: &str) -> Ask {
    Ask::new("OPTIONS", path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "x-api-key, content-type")
}

fn allows(answer: &Answer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

#[test]
fn preflights_of_configured_origins_are_answered_without_a_key_and_without_upstream() {
    let world = World::with(Options::default(), |setup| {
        setup.flag("--cors-origins=https://app.example,http://localhost:5173")
    });
    for origin in ["https://app.example", "http://localhost:5173"] {
        for (path, address) in [
            ("/sandboxes", world.control()),
            ("/nowhere", world.control()),
            ("/files", world.data()),
        ] {
            let answer = preflight(path, origin).send(address);
            assert_eq!((answer.status, allows(&answer)), (204, Some(origin)), "{path}");
            let headers = answer.header("access-control-allow-headers").unwrap();
            assert!(headers.contains("x-api-key"), "{headers}");
            assert!(answer.header("access-control-allow-methods").unwrap().contains("DELETE"));
            assert!(answer.header("access-control-allow-credentials").is_none());
        }
    }
    for origin in ["https://evil.example", "https://app.example.evil.example", "null", ""] {
        let answer = preflight("/sandboxes", origin).send(world.control());
        assert_eq!((answer.status, allows(&answer)), (401, None), "{origin}");
    }
    // OPTIONS alone is no preflight.
    let plain = Ask::new("OPTIONS", "/sandboxes").header("Origin", "https://app.example");
    assert_eq!(plain.send(world.control()).status, 401);
    assert!(world.simulator.requests().is_empty());

    // The browser may read the answers to the requests that follow, refusals too.
    let page = |ask: Ask| ask.header("Origin", "https://app.example");
    let listed = world.ask("read", page(Ask::get("/sandboxes")));
    assert_eq!((listed.status, allows(&listed)), (200, Some("https://app.example")));
    let refused = page(Ask::get("/sandboxes")).send(world.control());
    assert_eq!((refused.status, allows(&refused)), (401, Some("https://app.example")));
}

#[test]
fn without_configured_origins_options_reaches_nobody() {
    let world = World::new();
    let (sandbox, _) = world.create("exec");
    world.simulator.clear_requests();
    for path in ["/sandboxes", "/health", "/nowhere", "/auth/whoami"] {
        let ask = preflight(path, "https://app.example");
        let answer = ask.send(world.control());
        assert_eq!((answer.status, allows(&answer)), (401, None), "{path}");
        let answer = world.ask("admin", ask);
        assert_eq!((answer.status, allows(&answer)), (405, None), "{path}");
    }
    for port in [49_983, 49_999] {
        let ask = preflight("/files", "https://app.example");
        assert_eq!(world.ask_sandbox(&sandbox, port, ask.clone()).status, 401, "{port}");
        let answer = world.ask_sandbox(&sandbox, port, ask.key(&world.key("exec")));
        assert_eq!(answer.status, 405, "{port}");
    }
    assert!(world.simulator.requests().is_empty());
}
