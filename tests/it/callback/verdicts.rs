//! 200 allows, and nothing else does.

use serde_json::json;

use super::{assert_rejected, status, world, world_with};
use crate::support::callback::{Call, Reply, Scripted};
use crate::support::{Answer, Ask, World};

const STATUSES: [u16; 19] =
    [200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 429, 500, 503];

/// Answers with the status that the credential names, and with what could pass for an identity.
fn by_number(call: &Call) -> Reply {
    Reply::status(call.credential().rsplit('-').next().unwrap().parse().unwrap())
        .with("X-Auth-Tenant", "team-x")
        .with("X-Auth-Scopes", "admin")
        .with("Location", "/verify")
        .with("Retry-After", "7")
}

/// The answers to a read, an operation and an administration, for which nothing may go further unless it is 200.
fn answers(world: &World, credential: &str) -> Vec<Answer> {
    let asks = [
        Ask::get("/sandboxes").key(credential),
        Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).bearer(credential),
        Ask::get("/nodes").key(credential),
        Ask::get("/auth/whoami").key(credential),
        Ask::get("/nowhere").key(credential),
    ];
    asks.iter().map(|ask| ask.send(world.control())).collect()
}

#[test]
fn only_200_allows() {
    let service = Scripted::start(by_number);
    let world = world(&service);
    for number in STATUSES {
        let credential = format!("key-{number}");
        world.simulator.clear_requests();
        let answers = answers(&world, &credential);
        if number == 200 {
            let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
            assert_eq!(statuses, [200, 201, 200, 200, 404]);
            continue;
        }
        for answer in answers {
            assert_rejected(&answer, &credential);
            assert_eq!(answer.header("retry-after"), None, "{credential}");
        }
        assert!(world.simulator.requests().is_empty(), "{credential}");
    }
}

#[test]
fn a_403_and_a_429_pass_where_the_settings_let_them() {
    let service = Scripted::start(by_number);
    for (setting, passed) in
        [("403", &[403][..]), ("429", &[429]), ("403,429", &[403, 429]), ("429, 403", &[403, 429])]
    {
        let world = world_with(&service, |setup| setup.env("AUTH_CALLBACK_PASS_STATUS", setting));
        for number in STATUSES.into_iter().filter(|number| *number != 200) {
            let credential = format!("key-{number}");
            let answer = Ask::get("/sandboxes").key(&credential).send(world.control());
            if !passed.contains(&number) {
                assert_rejected(&answer, &format!("{setting}: {number}"));
                continue;
            }
            let code = if number == 403 { "callback_forbidden" } else { "callback_rate_limited" };
            let json = answer.json();
            assert_eq!((answer.status, &json["code"]), (number, &number.into()), "{setting}");
            assert_eq!(answer.code(), code);
            let again = if number == 429 { Some("7") } else { None };
            assert_eq!(answer.header("retry-after"), again, "{setting}: {number}");
        }
        assert!(world.simulator.requests().is_empty());
    }
}

#[test]
fn a_rate_limit_without_a_time_is_passed_on_too() {
    let service = Scripted::always(Reply::status(429));
    let world = world_with(&service, |setup| setup.env("AUTH_CALLBACK_PASS_STATUS", "429"));
    let answer = Ask::get("/sandboxes").key("key").send(world.control());
    assert_eq!((answer.status, answer.code().as_str()), (429, "callback_rate_limited"));
}

#[test]
fn interim_answers_decide_nothing() {
    let interim = "HTTP/1.1 103 Early Hints\r\nX-Auth-Tenant: early\r\nLink: </x>\r\n\r\n";
    for (last, expected) in [("200 OK", 200), ("401 Unauthorized", 401), ("302 Found", 401)] {
        let bytes = format!("{interim}{interim}HTTP/1.1 {last}\r\nContent-Length: 0\r\n\r\n");
        let service = Scripted::always(Reply::Bytes(bytes.into_bytes()));
        let world = world(&service);
        assert_eq!(status(&world, "key"), expected, "{last}");
        let who = Ask::get("/auth/whoami").key("key").send(world.control());
        assert!(!who.text().contains("early"), "{}", who.text());
    }
}

#[test]
fn refusals_have_the_shape_that_the_client_speaks() {
    let service = Scripted::start(by_number);
    let world = world_with(&service, |setup| setup.env("AUTH_CALLBACK_PASS_STATUS", "403,429"));
    let (id, _) = world.create("exec");
    world.simulator.clear_requests();
    for (number, status, code) in [
        (401, 401, "unauthenticated"),
        (500, 401, "unauthenticated"),
        (403, 403, "permission_denied"),
        (429, 429, "resource_exhausted"),
    ] {
        let list = Ask::post("/process.Process/List", "{}").key(&format!("key-{number}"));
        let answer = world.ask_sandbox(&id, 49983, list);
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{number}");
    }
    assert!(world.simulator.requests().is_empty());
}
