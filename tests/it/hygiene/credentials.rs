//! Credentials end at the gateway: what is left of them in what an upstream or a sandbox sees.

use coppice_gateway::simulator::Plane;

use super::{seen, values};
use crate::support::world::{UPSTREAM_KEY, key};
use crate::support::{Ask, World};

#[test]
fn the_clients_credential_ends_at_the_gateway() {
    let world = World::new();
    let key = key("exec");
    let asks = [
        Ask::get("/templates").key(&key),
        Ask::get("/templates").bearer(&key),
        Ask::get("/templates").header("Authorization", format!("bEaReR \t {key} ")),
        Ask::get("/templates").bearer(&key).key(&key),
        Ask::get("/templates").bearer(&key).key("e2b_other"),
        Ask::get("/templates").key(&key).header("x_api_key", &key).header("X.API.Key", &key),
        Ask::get("/templates").key(&key).header("Proxy-Authorization", format!("Bearer {key}")),
        Ask::get("/templates").key(&key).header("Authorization", "Bearer "),
        // Public, so nothing at all goes upstream.
        Ask::get("/health").bearer(&key),
        Ask::get("/health").key(&key),
        Ask::get("/ui").key(&key).header("Authorization", "Basic e2b"),
    ];
    for ask in asks {
        world.simulator.clear_requests();
        ask.send(world.control());
        let request = seen(&world, Plane::Control);
        assert!(!format!("{request:?}").contains(&key), "{ask:?}: {request:?}");
        assert_eq!(request.header("authorization"), None, "{ask:?}");
        let expected: &[&str] = if request.path == "/templates" { &[UPSTREAM_KEY] } else { &[] };
        assert_eq!(values(&request, "x-api-key"), expected, "{ask:?}");
    }
    // A volume token passes in Authorization, a key of this gateway does not, although it is not what was judged.
    let admin = crate::support::world::key("admin");
    for (bearer, passes) in [("volume-token", true), (admin.as_str(), false), (key.as_str(), false)]
    {
        let ask = Ask::get("/volumecontent/v1/dir").key(&admin).bearer(bearer);
        world.simulator.clear_requests();
        ask.send(world.control());
        let request = seen(&world, Plane::Control);
        assert_eq!(request.header("authorization").is_some(), passes, "{bearer}");
    }
}

#[test]
fn what_a_sandbox_sees_of_credentials() {
    let world = World::new();
    let (id, token) = world.create("exec");
    let (envd_token, traffic_token) = world.simulator.tokens_of(&id).unwrap();
    let key = key("exec");
    let basic = "Basic dXNlcjo=";
    let app = "Bearer the-application's-own";
    // Port, what is sent, and what arrives as Authorization and X-Access-Token.
    type Lines<'a> = &'a [(&'a str, &'a str)];
    let gateway_bearer = format!("Bearer {key}");
    let token_bearer = format!("Bearer {token}");
    let envd = Some(envd_token.as_str());
    let cases: &[(u16, Lines<'_>, Option<&str>, Option<&str>)] = &[
        (49983, &[("X-API-Key", &key)], None, envd),
        (49983, &[("Authorization", &gateway_bearer)], None, envd),
        (49983, &[("X-Access-Token", &token), ("Authorization", basic)], Some(basic), envd),
        (49983, &[("X-API-Key", &key), ("Authorization", basic)], Some(basic), envd),
        (49983, &[("E2b-Traffic-Access-Token", &token)], None, envd),
        (49999, &[("X-Access-Token", &token)], None, envd),
        (49999, &[("X-API-Key", &key), ("X-Access-Token", "stale")], None, envd),
        (8080, &[("X-API-Key", &key)], None, None),
        (8080, &[("Authorization", &gateway_bearer)], None, None),
        (8080, &[("X-Access-Token", &token)], None, None),
        (8080, &[("E2b-Traffic-Access-Token", &token), ("X-Access-Token", &token)], None, None),
        (8080, &[("X-Access-Token", &token), ("Authorization", app)], Some(app), None),
        (8080, &[("X-Access-Token", &token), ("Authorization", basic)], Some(basic), None),
        (8080, &[("X-API-Key", &key), ("Authorization", basic)], Some(basic), None),
        (8080, &[("X-Access-Token", &token), ("Authorization", &gateway_bearer)], None, None),
        (8080, &[("X-Access-Token", &token), ("Authorization", &token_bearer)], None, None),
        (8080, &[("X-Access-Token", &token), ("X-API-Key", &key)], None, None),
        (8080, &[("X-Access-Token", &token), ("X-API-Key", "e2b_unknown")], None, None),
        (
            8080,
            &[("E2b-Traffic-Access-Token", &token), ("X-Access-Token", "the-application's-own")],
            None,
            Some("the-application's-own"),
        ),
    ];
    for (port, lines, authorization, access_token) in cases {
        let path = match port {
            49983 => "/metrics",
            49999 => "/contexts",
            _ => "/any",
        };
        let ask = lines.iter().fold(Ask::get(path), |ask, (name, value)| ask.header(name, value));
        let answer = world.ask_sandbox(&id, *port, ask);
        assert_eq!(answer.status, 200, "{port} {lines:?}: {}", answer.text());
        let request = seen(&world, Plane::Data);
        let arrived = (request.header("authorization"), request.header("x-access-token"));
        assert_eq!(arrived, (*authorization, *access_token), "{port} {lines:?}");
        assert_eq!(values(&request, "e2b-traffic-access-token"), [&traffic_token], "{lines:?}");
        let text = format!("{request:?}");
        for secret in [key.as_str(), token.as_str(), UPSTREAM_KEY, "team-a", "e2b_unknown"] {
            assert!(!text.contains(secret), "{secret} at {port} {lines:?}: {text}");
        }
        assert!(!request.headers.iter().any(|(name, _)| name.contains("forwarded")), "{text}");
    }
}
