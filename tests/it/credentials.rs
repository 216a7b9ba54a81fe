//! How a credential may be presented, which of two is judged, and what of it travels on.

use std::collections::BTreeSet;

use coppice_gateway::simulator::Options;

use crate::support::wait::run;
use crate::support::world::{UPSTREAM_KEY, key};
use crate::support::{Answer, Ask, World, exchange};

/// A key that nobody has.
const BAD: &str = "e2b_0123456789012345678901234567890123456789";

/// Whom `/auth/whoami` takes the sender of these lines for and by which credential, or the status where it takes them
/// for nobody. `$A` is a key of team-a, `$B` one of team-b, `$X` nobody's.
fn judged(world: &World, lines: &[&str]) -> String {
    let mut ask = Ask::get("/auth/whoami");
    for line in lines {
        let line = line.replace("$A", &key("read")).replace("$B", &key("other")).replace("$X", BAD);
        let (name, value) = line.split_once(':').unwrap();
        ask = ask.header(name, value);
    }
    let answer = ask.send(world.control());
    if answer.status != 200 {
        return answer.status.to_string();
    }
    let json = answer.json();
    let text = |name: &str| json[name].as_str().unwrap().to_owned();
    format!("{} by {}", text("tenantID"), text("credential"))
}

const A_KEY: &str = "team-a by api_key";
const A_BEARER: &str = "team-a by bearer";
const B_BEARER: &str = "team-b by bearer";

#[test]
fn every_way_to_present_a_credential() {
    let world = World::new();
    let table: &[(&[&str], &str)] = &[
        (&[], "401"),
        // X-API-Key, its name in any letter case, its value trimmed.
        (&["X-API-Key:$A"], A_KEY),
        (&["x-api-key:$A"], A_KEY),
        (&["X-API-KEY:$A"], A_KEY),
        (&["X-Api-kEY: \t$A \t"], A_KEY),
        (&["X-API-Key:"], "401"),
        (&["X-API-Key: \t "], "401"),
        // Another spelling is another header.
        (&["X_API_Key:$A"], "401"),
        (&["Api-Key:$A"], "401"),
        (&["Cookie:$A"], "401"),
        // Bearer, its scheme in any letter case, spaces or tabs behind it.
        (&["Authorization:Bearer $A"], A_BEARER),
        (&["authorization:bearer $A"], A_BEARER),
        (&["AUTHORIZATION:BEARER $A"], A_BEARER),
        (&["Authorization:Bearer    $A"], A_BEARER),
        (&["Authorization:bEARER \t $A"], A_BEARER),
        (&["Authorization:  Bearer\t$A  \t"], A_BEARER),
        (&["Authorization:Bearer$A"], "401"),
        (&["Authorization:Bearer:$A"], "401"),
        (&["Authorization:$A"], "401"),
        (&["Authorization:Token $A"], "401"),
        (&["Authorization:Bearer x $A"], "401"),
        // An empty Bearer is none, and no other scheme is one.
        (&["Authorization:Bearer"], "401"),
        (&["Authorization:Bearer "], "401"),
        (&["Authorization:Bearer", "X-API-Key:$A"], A_KEY),
        (&["Authorization:bearer \t", "X-API-Key:$A"], A_KEY),
        (&["Authorization:", "X-API-Key:$A"], A_KEY),
        (&["Authorization:Basic cm9vdDo=", "X-API-Key:$A"], A_KEY),
        (&["Authorization:Basic cm9vdDo="], "401"),
        (&["Authorization:Bearer $A", "X-API-Key:"], A_BEARER),
        // Two credentials: the Bearer is judged, whatever the other one is.
        (&["X-API-Key:$A", "Authorization:Bearer $A"], A_BEARER),
        (&["X-API-Key:$A", "Authorization:Bearer $B"], B_BEARER),
        (&["Authorization:Bearer $A", "X-API-Key:$B"], A_BEARER),
        (&["X-API-Key:$A", "Authorization:Bearer $X"], "401"),
        (&["Authorization:Bearer $X", "X-API-Key:$A"], "401"),
        (&["X-API-Key:$X", "Authorization:Bearer $B"], B_BEARER),
        (&["Authorization:Bearer $B", "X-API-Key:ä"], B_BEARER),
        // Repeated, even when both lines say the same.
        (&["X-API-Key:$A", "x-api-key:$A"], "400"),
        (&["X-API-Key:$A", "X-API-Key:"], "400"),
        (&["X-API-Key:$A", "X-API-Key:$A", "Authorization:Bearer $A"], "400"),
        (&["Authorization:Bearer $A", "Authorization:Basic cm9vdDo="], "400"),
        (&["X-API-Key:$A", "Authorization:Basic a", "Authorization:Basic b"], "400"),
        // Lists, near misses, and bytes that no key has.
        (&["X-API-Key:$A, $A"], "401"),
        (&["X-API-Key:$A,$A"], "401"),
        (&["X-API-Key:$A;"], "401"),
        (&["X-API-Key:$Af"], "401"),
        (&["X-API-Key:e$A"], "401"),
        (&["X-API-Key:schlüssel"], "401"),
        (&["Authorization:Bearer $Aä", "X-API-Key:$A"], "401"),
        // These two are for the data plane.
        (&["X-Access-Token:$A"], "401"),
        (&["E2B-Traffic-Access-Token:$A"], "401"),
    ];
    for (lines, expected) in table {
        assert_eq!(judged(&world, lines), *expected, "{lines:?}");
    }
    let ours = key("read");
    let (upper, long) = (ours.to_ascii_uppercase(), "a".repeat(4096));
    let near: [&[u8]; 7] = [
        &ours.as_bytes()[..ours.len() - 1],
        &ours.as_bytes()[1..],
        upper.as_bytes(),
        long.as_bytes(),
        &[long.as_bytes(), b"a"].concat(),
        &[ours.as_bytes(), b"\xff"].concat(),
        b"\xc3\x28",
    ];
    for value in near {
        let answer = Ask::get("/auth/whoami").header("X-API-Key", value).send(world.control());
        assert_eq!(answer.status, 401, "{:?}", String::from_utf8_lossy(value));
    }
    assert!(world.simulator.requests().is_empty());
}

#[test]
fn the_order_of_two_credentials_can_be_turned_round() {
    let world =
        World::with(Options::default(), |setup| setup.env("COPPICE_AUTH_PRECEDENCE", "api-key"));
    for (lines, expected) in [
        (["Authorization:Bearer $B", "X-API-Key:$A"], A_KEY),
        (["Authorization:Bearer $X", "X-API-Key:$A"], A_KEY),
        (["Authorization:Bearer $B", "X-API-Key:$X"], "401"),
        (["Authorization:Bearer $B", "X-API-Key:"], B_BEARER),
    ] {
        assert_eq!(judged(&world, &lines), expected, "{lines:?}");
    }
}

#[test]
fn upstream_hears_of_the_one_that_was_judged_and_sees_neither() {
    let world = World::new();
    let (sandbox, _) = world.create("exec");
    let cases = [
        (Ask::get("/sandboxes").bearer(&key("admin")).key(&key("other")), "team-a", "admin"),
        (Ask::get("/sandboxes").bearer(&key("other")).key(&key("admin")), "team-b", "exec"),
        (Ask::get("/sandboxes").bearer(&key("other")).key(BAD), "team-b", "exec"),
        (Ask::get("/sandboxes").key(&key("owner")).bearer(&key("owner")), "team-a", "owner"),
    ];
    for (ask, tenant, scopes) in cases {
        world.simulator.clear_requests();
        let forged = ask
            .header("X-Coppice-Tenant", "forged")
            .header("X_Coppice_Principal", "forged")
            .header("X-Coppice-Scopes", "forged");
        assert_eq!(forged.send(world.control()).status, 200, "{forged:?}");
        let seen = &world.simulator.requests()[0];
        assert_eq!(seen.header("x-coppice-tenant"), Some(tenant), "{forged:?}");
        assert_eq!(seen.header("x-coppice-scopes"), Some(scopes), "{forged:?}");
        assert_eq!(seen.header("x-api-key"), Some(UPSTREAM_KEY), "{forged:?}");
        assert_eq!(seen.header("authorization"), None, "{forged:?}");
        let principal = seen.header("x-coppice-principal").unwrap();
        let whoami =
            world.ask(if tenant == "team-b" { "other" } else { scopes }, Ask::get("/auth/whoami"));
        assert_eq!(principal, whoami.json()["keyID"].as_str().unwrap());
        assert!(!format!("{seen:?}").contains("forged"), "{seen:?}");
    }
    // In the sandbox, where nobody is to be trusted, nothing is told at all.
    for port in [49_983, 49_999, 8080] {
        world.simulator.clear_requests();
        let ask = Ask::get("/health").bearer(&key("exec")).key(&key("other"));
        let answer = world.ask_sandbox(&sandbox, port, ask);
        assert!(answer.status < 300, "{port}: {}", answer.text());
        let seen = format!("{:?}", world.simulator.requests()[0]).to_ascii_lowercase();
        for secret in [&key("exec"), &key("other"), "bearer", "x-api-key", "x-coppice"] {
            assert!(!seen.contains(secret), "{port}: {secret} in {seen}");
        }
    }
}

#[test]
fn basic_is_not_ours_and_reaches_upstream_as_it_was() {
    let world = World::new();
    let (sandbox, _) = world.create("exec");
    world.simulator.clear_requests();
    let basic = |ask: Ask| ask.header("Authorization", "Basic cm9vdDpwYXNz");
    let listed = basic(Ask::get("/sandboxes")).key(&key("read")).send(world.control());
    assert_eq!(listed.status, 200);
    for port in [49_983, 49_999, 8080] {
        let ask = basic(Ask::get("/health")).key(&key("exec"));
        assert!(world.ask_sandbox(&sandbox, port, ask).status < 300, "{port}");
    }
    let seen = world.simulator.requests();
    assert_eq!(seen.len(), 4);
    for request in seen {
        assert_eq!(request.header("authorization"), Some("Basic cm9vdDpwYXNz"), "{request:?}");
    }
}

#[test]
fn the_bearer_of_volume_content_passes_unless_it_is_a_key_of_ours() {
    let world = World::new();
    let ask = |bearer: &str| {
        world.simulator.clear_requests();
        let ask = Ask::get("/volumecontent/v1/file").bearer(bearer).key(&key("admin"));
        assert_eq!(ask.send(world.control()).status, 404);
        world.simulator.requests()[0].header("authorization").map(str::to_owned)
    };
    assert_eq!(ask("a-volume-token"), Some("Bearer a-volume-token".to_owned()));
    assert_eq!(ask(&key("admin")), None);
    assert_eq!(ask(&key("other")), None);
    let alone = Ask::get("/volumecontent/v1/file").bearer(&key("admin")).send(world.control());
    assert_eq!(alone.status, 401);
}

#[test]
fn a_credential_in_the_query_is_none() {
    let world = World::new();
    for name in ["api_key", "apiKey", "X-API-Key", "access_token", "token", "key"] {
        let path = format!("/sandboxes?{name}={}", key("admin"));
        assert_eq!(Ask::get(&path).send(world.control()).status, 401, "{name}");
    }
    assert!(world.simulator.requests().is_empty());
}

#[test]
fn older_and_newer_http_are_judged_alike() {
    let world = World::new();
    let old = |lines: &str| {
        let bytes = format!("GET /auth/whoami HTTP/1.0\r\n{lines}\r\n");
        Answer::parse(&exchange(world.control(), bytes.as_bytes())).status
    };
    assert_eq!(old(&format!("X-API-Key: {}\r\n", key("read"))), 200);
    assert_eq!(old(&format!("Host: h\r\nAuthorization: bearer {}\r\n", key("read"))), 200);
    assert_eq!(old(""), 401);
    assert_eq!(old(&format!("X-API-Key: {BAD}\r\n")), 401);

    let new = |lines: &[(&str, String)]| http2_status(&world, "/auth/whoami", lines);
    assert_eq!(new(&[("x-api-key", key("read"))]), 200);
    assert_eq!(new(&[("authorization", format!("Bearer {}", key("read")))]), 200);
    assert_eq!(new(&[]), 401);
    assert_eq!(new(&[("x-api-key", BAD.to_owned())]), 401);
    assert_eq!(new(&[("x-api-key", key("read")), ("x-api-key", key("read"))]), 400);
    assert_eq!(new(&[("authorization", format!("Bearer {BAD}")), ("x-api-key", key("read"))]), 401);
}

/// The status of an answer over HTTP/2 with prior knowledge.
fn http2_status(world: &World, path: &str, lines: &[(&str, String)]) -> u16 {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let address = world.control();
    let mut request = http::Request::get(format!("http://{address}{path}"));
    for (name, value) in lines {
        request = request.header(*name, value);
    }
    let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    run(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let handshake =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap().status().as_u16()
    })
}

/// What a client that is to learn nothing can see of an answer: all but the id and the time.
fn visible(answer: &Answer) -> (u16, BTreeSet<(String, String)>, String) {
    let varies = |name: &str| matches!(name, "x-request-id" | "date");
    let headers = answer.headers.iter().filter(|(name, _)| !varies(name)).cloned().collect();
    (answer.status, headers, answer.text())
}

#[test]
fn whoever_is_unknown_learns_nothing_of_what_there_is() {
    let world = World::new();
    let (sandbox, _) = world.create("exec");
    world.simulator.clear_requests();
    let places = [
        ("GET", "/sandboxes".to_owned()),
        ("PUT", "/sandboxes".to_owned()),
        ("GET", format!("/sandboxes/{sandbox}")),
        ("GET", "/sandboxes/inobodyknows".to_owned()),
        ("GET", "/nowhere".to_owned()),
        ("GET", "/api-keys".to_owned()),
        ("GET", "/auth/whoami".to_owned()),
        ("DELETE", "/auth/whoami".to_owned()),
        ("GET", "/auth/nowhere".to_owned()),
        ("GET", "/audit/events".to_owned()),
        ("POST", "/health".to_owned()),
        ("PROPFIND", "/".to_owned()),
        ("OPTIONS", "/sandboxes".to_owned()),
    ];
    for signed in [|ask: Ask| ask, |ask: Ask| ask.key(BAD), |ask: Ask| ask.bearer(BAD)] {
        let mut seen = BTreeSet::new();
        for (method, path) in &places {
            let ask = signed(Ask::new(method, path));
            seen.insert(visible(&ask.send(world.control())));
        }
        for id in [sandbox.as_str(), "inobodyknows"] {
            for (port, path) in
                [(49_983, "/health"), (49_983, "/init"), (49_983, "/x"), (49_999, "/x"), (80, "/x")]
            {
                seen.insert(visible(&world.ask_sandbox(id, port, signed(Ask::get(path)))));
            }
        }
        assert_eq!(seen.len(), 1, "{seen:#?}");
        let (status, headers, body) = seen.pop_first().unwrap();
        assert_eq!(status, 401);
        assert!(headers.contains(&("www-authenticate".to_owned(), "Bearer".to_owned())));
        assert!(headers.contains(&("content-type".to_owned(), "application/json".to_owned())));
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&json["code"], &json["error_code"]), (&401.into(), &"unauthenticated".into()));
        let message = json["message"].as_str().unwrap();
        for name in [
            "X-API-Key",
            "E2B_API_KEY",
            "Authorization: Bearer",
            "E2B_ACCESS_TOKEN",
            "COPPICE_TOKEN",
        ] {
            assert!(message.contains(name), "{name} in {message}");
        }
    }
    assert!(world.simulator.requests().is_empty());
}

#[test]
fn a_refused_head_request_has_no_body() {
    let world = World::new();
    for path in ["/sandboxes", "/auth/whoami", "/nowhere"] {
        let bytes = exchange(world.control(), &Ask::new("HEAD", path).bytes(world.control()));
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("HTTP/1.1 401 "), "{path}: {text}");
        assert!(text.to_ascii_lowercase().contains("www-authenticate: bearer"), "{path}: {text}");
        assert!(text.ends_with("\r\n\r\n"), "{path}: {text}");
    }
}
