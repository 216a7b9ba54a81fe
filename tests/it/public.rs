//! What is open to everyone: exactly the public routes, and they carry nobody's credential.

use coppice_gateway::simulator::RecordedRequest;

use crate::support::{Answer, Ask, World, exchange};

/// Forwarded for everyone.
const FORWARDED: [&str; 8] = [
    "/health",
    "/health?verbose=1",
    "/ui",
    "/ui/",
    "/ui/index.html",
    "/ui/assets/deep/app.js?v=1",
    "/files/download-token/YWJj.1700000000.00ff",
    "/files/download-token/YWJj.1700000000.00ff?path=/etc/passwd",
];

/// Everything that upstreams and proxies take for a credential or an identity.
fn laden(ask: Ask, world: &World) -> Ask {
    ask.key(&world.key("admin"))
        .bearer(&world.key("exec"))
        .header("X-Access-Token", "canary")
        .header("E2B-Traffic-Access-Token", "canary")
        .header("X-Team-ID", "canary")
        .header("X-Admin-Token", "canary")
        .header("X-Supabase-Token", "canary")
        .header("X_API_Key", "canary")
        .header("X-Coppice-Tenant", "canary")
        .header("Proxy-Authorization", "Basic canary")
}

fn carries_a_credential(request: &RecordedRequest, world: &World) -> bool {
    let text = format!("{:?}", request.headers).to_ascii_lowercase();
    let names = ["authorization", "api-key", "api_key", "token", "x-coppice", "x-team", "canary"];
    let upstream_key = crate::support::world::UPSTREAM_KEY;
    names.iter().any(|name| text.contains(name))
        || [&world.key("admin"), &world.key("exec"), upstream_key]
            .iter()
            .any(|key| text.contains(*key))
}

#[test]
fn public_routes_need_no_credential_and_carry_none() {
    let world = World::new();
    for path in FORWARDED {
        for method in ["GET", "HEAD"] {
            let with_bad_key = Ask::new(method, path).key("nobodys");
            let twice = Ask::new(method, path).key("one").key("two");
            for ask in
                [Ask::new(method, path), laden(Ask::new(method, path), &world), with_bad_key, twice]
            {
                world.simulator.clear_requests();
                ask.send(world.control());
                let seen = world.simulator.requests();
                assert_eq!(seen.len(), 1, "{method} {path}");
                assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), (method, path));
                assert!(!carries_a_credential(&seen[0], &world), "{:?}", seen[0]);
            }
        }
    }
}

#[test]
fn the_gateways_own_public_routes_never_reach_upstream() {
    let world = World::new();
    for path in ["/auth/openapi.json", "/console/", "/console/app.js"] {
        let status = Ask::get(path).send(world.control()).status;
        assert!(!matches!(status, 401 | 403), "{path}: {status}");
        assert_eq!(Ask::post(path, "{}").send(world.control()).status, 401, "{path}");
    }
    assert!(world.simulator.requests().is_empty());
}

#[test]
fn what_merely_looks_public_is_not() {
    let world = World::new();
    // Clear, but somewhere else.
    for (method, path) in [
        ("POST", "/health"),
        ("PUT", "/health"),
        ("DELETE", "/health"),
        ("OPTIONS", "/health"),
        ("PROPFIND", "/health"),
        ("GET", "/health/"),
        ("GET", "/healthx"),
        ("GET", "/healthz"),
        ("GET", "/Health"),
        ("GET", "/v2/health"),
        ("GET", "/cubeapi/v1/health"),
        ("GET", "/uix"),
        ("GET", "/UI/"),
        ("POST", "/ui/"),
        ("POST", "/ui/index.html"),
        ("GET", "/files/download-token"),
        ("GET", "/files/download-token/"),
        ("GET", "/files/download-token/a/b"),
        ("POST", "/files/download-token/a"),
        ("GET", "/files/download-url"),
        ("GET", "/auth/openapi.json/"),
        ("GET", "/sandboxes?/health"),
        ("GET", "/sandboxes?path=/ui/"),
    ] {
        let answer = Ask::new(method, path).send(world.control());
        assert_eq!(answer.status, 401, "{method} {path}");
    }
    // Readable in two ways.
    for path in [
        "//health",
        "/health//",
        "/./health",
        "/health/..",
        "/health/../sandboxes",
        "/ui/../sandboxes",
        "/ui/%2e%2e/sandboxes",
        "/ui/.%2E/sandboxes",
        "/ui/%252e%252e/sandboxes",
        "/ui%2f..%2fsandboxes",
        "/ui/x%2f..%2f..%2fsandboxes",
        "/ui/..%5csandboxes",
        "/ui/..;/sandboxes",
        "/health;x",
        "/health%3bx",
        "/health%3f",
        "/health%00",
        "/%68ealth",
        "/files/download-token/a%2f..%2f..%2f..%2fsandboxes",
        "http://127.0.0.1/health",
        "http://evil.example/health",
        "/health#x",
        "/health\\x",
    ] {
        let answer = exchange(world.control(), &Ask::get(path).bytes(world.control()));
        assert_eq!(Answer::parse(&answer).status, 400, "{path}");
    }
    assert!(world.simulator.requests().is_empty());
}

#[test]
fn nothing_is_public_in_a_sandbox() {
    let world = World::new();
    let (sandbox, _) = world.create("exec");
    world.simulator.clear_requests();
    for port in [49_983, 49_999, 8080] {
        for path in ["/health", "/ui/", "/files/download-token/x", "/auth/openapi.json"] {
            let answer = world.ask_sandbox(&sandbox, port, Ask::get(path));
            assert_eq!(answer.status, 401, "{port} {path}");
            let host = format!("{port}-{sandbox}.{}", crate::support::world::DOMAIN);
            let answer = Ask::get(path).host(&host).send(world.control());
            assert_eq!(answer.status, 401, "{host} {path}");
        }
    }
    // One port for both planes: the headers of a sandbox make it the sandbox's /health.
    let ask = Ask::get("/health").header("E2b-Sandbox-Id", &sandbox);
    let ask = ask.header("E2b-Sandbox-Port", "49983");
    assert_eq!(ask.send(world.control()).status, 401);
    assert!(world.simulator.requests().is_empty());
}

#[test]
fn no_header_and_no_query_makes_a_route_public() {
    let world = World::new();
    for ask in [
        Ask::get("/sandboxes").header("User-Agent", "kube-probe/1.30"),
        Ask::get("/sandboxes").header("X-Original-URL", "/health"),
        Ask::get("/sandboxes").header("X-Rewrite-URL", "/health"),
        Ask::get("/sandboxes").header("X-Forwarded-For", "127.0.0.1"),
        Ask::get("/sandboxes").header("Referer", "/ui/"),
        Ask::get("/sandboxes").header("X-Auth-Tenant", "team-a"),
        Ask::get("/sandboxes").header("X-Coppice-Tenant", "team-a"),
        Ask::get("/sandboxes?signature=v1_x&path=/ui"),
        Ask::post("/health", "").header("X-HTTP-Method-Override", "GET"),
        Ask::get("/sandboxes").host("health"),
    ] {
        assert_eq!(ask.send(world.control()).status, 401, "{ask:?}");
    }
    assert!(world.simulator.requests().is_empty());
}

#[test]
fn an_upgrade_is_never_public_and_takes_exec() {
    let world = World::new();
    let (sandbox, _) = world.create("exec");
    world.simulator.clear_requests();
    let public = ["/health", "/ui/", "/files/download-token/x"].map(str::to_owned);
    let read = ["/sandboxes".to_owned(), format!("/sandboxes/{sandbox}/logs")];
    for protocol in ["websocket", "WebSocket", "tcp", "websocket, tcp"] {
        for method in ["GET", "POST"] {
            let ask = |path: &str| {
                Ask::new(method, path)
                    .header("Connection", "Upgrade")
                    .header("Upgrade", protocol)
                    .header("Sec-WebSocket-Version", "13")
                    .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            };
            for path in &public {
                let answer = ask(path).send(world.control());
                assert_eq!(answer.status, 401, "{method} {path} {protocol}");
            }
            for path in public.iter().chain(&read) {
                let answer = world.ask("read", ask(path));
                assert_eq!(answer.status, 403, "{method} {path} {protocol}");
            }
        }
    }
    assert!(world.simulator.requests().is_empty());
    // Cleartext HTTP/2 by upgrade is dropped, and leaves a request like any other.
    let h2c = Ask::get("/health").header("Connection", "Upgrade, HTTP2-Settings");
    let h2c = h2c.header("Upgrade", "h2c").header("HTTP2-Settings", "AAMAAABkAAQAAP__");
    assert_eq!(h2c.send(world.control()).status, 204);
    assert_eq!(world.simulator.requests()[0].header("upgrade"), None);
}
