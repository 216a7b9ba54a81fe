//! Header hygiene: nothing that a client sends can forge or delete what the gateway adds, no credential goes further
//! than the gateway, and upstreams cannot speak in its name either.

mod credentials;
mod hops;
mod origin;

use coppice_gateway::simulator::{Plane, RecordedRequest};

use crate::support::world::{DOMAIN, UPSTREAM_KEY, key};
use crate::support::{Answer, Ask, World};

/// Names that only the gateway may say, or that choose an identity, a target or a method.
const OWN: [&str; 25] = [
    "X-Coppice-Tenant",
    "X-Coppice-Principal",
    "X-Coppice-Scopes",
    "X-Coppice-Anything-Else",
    "X-Request-Id",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Uri",
    "Forwarded",
    "X-Real-IP",
    "X-Team-ID",
    "X-Admin-Token",
    "X-Supabase-Token",
    "X-Supabase-Team",
    "E2b-Sandbox-Id",
    "E2b-Sandbox-Port",
    "E2b-Traffic-Access-Token",
    "X-Access-Token",
    "X-API-Key",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-Original-URL",
];

/// Every way to write a name that some upstream may read as that name: each separator three ways, and the case turned
/// round.
fn spellings(name: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for part in name.split('-') {
        let separators: &[&str] = if all == [""] { &[""] } else { &["-", "_", "."] };
        all = all
            .iter()
            .flat_map(|before| separators.iter().map(move |one| format!("{before}{one}{part}")))
            .collect();
    }
    let turned = all.iter().enumerate().map(|(index, name)| match index % 3 {
        0 => name.to_ascii_uppercase(),
        1 => name.to_ascii_lowercase(),
        _ => name.clone(),
    });
    turned.collect()
}

/// The name as a forgiving upstream reads it.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// The values of every header that a forgiving upstream would read as `name`.
fn values<'r>(request: &'r RecordedRequest, name: &str) -> Vec<&'r str> {
    let all = request.headers.iter().filter(|(own, _)| folded(own) == folded(name));
    all.map(|(_, value)| value.as_str()).collect()
}

/// The newest request that reached the simulator on this plane.
fn seen(world: &World, plane: Plane) -> RecordedRequest {
    world.reached(plane).pop().unwrap()
}

fn assert_vouched(request: &RecordedRequest, answer: &Answer, context: &str) {
    let expected = [
        ("x-coppice-tenant", "team-a"),
        ("x-coppice-scopes", "read"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-api-key", UPSTREAM_KEY),
        ("x-request-id", answer.header("x-request-id").unwrap()),
    ];
    for (name, value) in expected {
        assert_eq!(values(request, name), [value], "{context}: {name}");
    }
    assert_eq!(values(request, "x-coppice-principal").len(), 1, "{context}");
    assert_eq!(values(request, "x-forwarded-host").len(), 1, "{context}");
}

#[test]
fn no_spelling_of_an_own_name_reaches_the_sandbox_api() {
    let world = World::new();
    for name in OWN {
        for spelling in spellings(name) {
            let exact = spelling.eq_ignore_ascii_case(name);
            if exact && matches!(name, "X-API-Key" | "X-Request-Id") {
                continue;
            }
            let answer = world.ask("read", Ask::get("/templates").header(&spelling, "forged"));
            assert_eq!(answer.status, 200, "{spelling}");
            let request = seen(&world, Plane::Control);
            assert!(!format!("{request:?}").contains("forged"), "{spelling}: {request:?}");
            assert_vouched(&request, &answer, &spelling);
        }
    }
}

#[test]
fn no_spelling_of_an_own_name_reaches_a_sandbox() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let (envd_token, traffic_token) = world.simulator.tokens_of(&id).unwrap();
    for (port, path) in [(49983, "/metrics"), (49999, "/contexts"), (8080, "/any")] {
        let user_port = port == 8080;
        let host = format!("{port}-{id}.{DOMAIN}");
        for name in OWN {
            for spelling in spellings(name) {
                let exact = spelling.eq_ignore_ascii_case(name);
                // What was sent as the credential, and an application's own tokens and ids on its own port.
                let its_own = matches!(name, "X-API-Key" | "E2b-Traffic-Access-Token")
                    || name == "X-Request-Id"
                    || (user_port && name == "X-Access-Token");
                if exact && its_own {
                    continue;
                }
                let ask = Ask::get(path).host(&host).header(&spelling, "forged");
                let ask = if name.contains("Token") || user_port {
                    ask.key(&key("exec"))
                } else {
                    ask.header("E2b-Traffic-Access-Token", &token)
                };
                let answer = ask.send(world.control());
                if exact && name.starts_with("E2b-Sandbox") {
                    assert_eq!(
                        answer.code(),
                        if name.ends_with("Id") { "target_disagreement" } else { "bad_target" }
                    );
                    continue;
                }
                assert_eq!(answer.status, 200, "{port} {spelling}: {}", answer.text());
                let request = seen(&world, Plane::Data);
                assert!(!format!("{request:?}").contains("forged"), "{spelling}: {request:?}");
                for own in OWN {
                    let expected: &[&str] = match own {
                        "E2b-Sandbox-Id" => &[&id],
                        "E2b-Sandbox-Port" => &[&port.to_string()],
                        "E2b-Traffic-Access-Token" => &[&traffic_token],
                        "X-Access-Token" if !user_port => &[&envd_token],
                        _ => &[],
                    };
                    assert_eq!(values(&request, own), expected, "{port} {spelling}: {own}");
                }
                assert_eq!(request.host, format!("{port}-{id}.{DOMAIN}"));
            }
        }
    }
}

#[test]
fn connection_cannot_delete_what_the_gateway_adds() {
    let world = World::new();
    let own = "x-coppice-tenant, x-coppice-scopes, X-COPPICE-PRINCIPAL, X-API-Key, x-request-id, X-Forwarded-For, \
               x-forwarded-proto, x-forwarded-host, Host";
    let odd = [
        vec![own.to_owned()],
        vec![own.to_ascii_uppercase()],
        own.split(", ").map(str::to_owned).collect(),
        own.split(", ").map(|name| format!("close, , {name}\t,keep-alive")).collect(),
        vec![format!(",,{}", own.replace(", ", "\t,\t"))],
    ];
    for lines in odd {
        let ask =
            lines.iter().fold(Ask::get("/templates"), |ask, line| ask.header("Connection", line));
        let answer = world.ask("read", ask.header("X-Request-Id", "mine"));
        assert_eq!(answer.status, 200, "{lines:?}");
        let request = seen(&world, Plane::Control);
        assert_vouched(&request, &answer, &format!("{lines:?}"));
        assert_eq!(answer.header("x-request-id"), Some("mine"));
        assert!(world.simulator.api_url().ends_with(&request.host));
    }
    let (id, token) = world.create("exec");
    let ask = Ask::get("/metrics")
        .header("Connection", "X-Access-Token, E2B-Sandbox-Id, E2b-Traffic-Access-Token")
        .header("connection", "e2b-sandbox-port,host")
        .header("X-Access-Token", token);
    assert_eq!(world.ask_sandbox(&id, 49983, ask).status, 200);
    let request = seen(&world, Plane::Data);
    let (envd_token, traffic_token) = world.simulator.tokens_of(&id).unwrap();
    assert_eq!(values(&request, "x-access-token"), [envd_token]);
    assert_eq!(values(&request, "e2b-traffic-access-token"), [traffic_token]);
    assert_eq!(values(&request, "e2b-sandbox-id"), [id]);
    assert_eq!(values(&request, "e2b-sandbox-port"), ["49983"]);
}
