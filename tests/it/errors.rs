//! What a refusal looks like to each kind of client.

use serde_json::{Value, json};

use crate::support::world::DOMAIN;
use crate::support::{Answer, Ask, Wire, World};

/// One kind of refusal as a REST client, a Connect client and a gRPC client are told of it.
struct Refusal {
    status: u16,
    connect: &'static str,
    grpc: &'static str,
    ask: Box<dyn Fn(Ask) -> Answer>,
}

/// The gateway behind which nobody listens, and how it refuses.
fn refusals() -> Vec<Refusal> {
    let (world, app) = World::with_app(|setup| setup);
    drop(app);
    let (id, token) = world.create("exec");
    let (foreign, _) = world.create("other");
    let data = world.data();
    let named = |id: &str, port: u16| {
        let host = format!("{port}-{id}.{DOMAIN}");
        move |ask: Ask| ask.host(&host)
    };
    let (own, foreign) = (named(&id, 49983), named(&foreign, 49983));
    let (own_again, own_too, read, exec) =
        (named(&id, 49983), named(&id, 49983), world.key("read"), world.key("exec"));
    let mut refusals = vec![
        Refusal {
            status: 401,
            connect: "unauthenticated",
            grpc: "16",
            ask: Box::new(move |ask| own(ask).send(data)),
        },
        Refusal {
            status: 403,
            connect: "permission_denied",
            grpc: "7",
            ask: Box::new(move |ask| own_again(ask).key(&read).send(data)),
        },
        Refusal {
            status: 404,
            connect: "not_found",
            grpc: "5",
            ask: Box::new(move |ask| foreign(ask).key(&exec).send(data)),
        },
    ];
    // Lives as long as the last of them, which holds it.
    refusals.push(Refusal {
        status: 502,
        connect: "unavailable",
        grpc: "14",
        ask: Box::new(move |ask| own_too(ask).header("X-Access-Token", &token).send(world.data())),
    });
    refusals
}

fn start(content_type: &str) -> Ask {
    Ask::new("POST", "/process.Process/Start").header("Content-Type", content_type).body("")
}

#[test]
fn rest_clients_get_an_integer_code() {
    for refusal in refusals() {
        let answer = (refusal.ask)(Ask::get("/files?path=x"));
        assert_eq!(answer.status, refusal.status);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let json = answer.json();
        assert_eq!(json["code"], refusal.status, "{json}");
        assert!(json["message"].is_string() && json["error_code"].is_string(), "{json}");
        let challenge = (refusal.status == 401).then_some("Bearer");
        assert_eq!(answer.header("www-authenticate"), challenge);
        assert!(answer.header("x-request-id").is_some());
    }
}

#[test]
fn unary_connect_clients_get_a_named_code() {
    for refusal in refusals() {
        for content_type in ["application/json", "application/proto"] {
            let answer = (refusal.ask)(start(content_type));
            assert_eq!(answer.status, refusal.status);
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.json()["code"], refusal.connect, "{}", answer.text());
            assert!(answer.json()["message"].is_string());
        }
    }
}

#[test]
fn connect_streams_end_with_one_frame() {
    for refusal in refusals() {
        for content_type in ["application/connect+json", "application/connect+proto"] {
            let answer = (refusal.ask)(start(content_type));
            assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)));
            let (head, payload) = answer.body.split_at(5);
            assert_eq!(head[0], 2, "an end-stream frame");
            let length = u32::from_be_bytes(head[1..].try_into().unwrap());
            assert_eq!(length as usize, payload.len());
            let frame: Value = serde_json::from_slice(payload).unwrap();
            assert_eq!(frame["error"]["code"], refusal.connect);
            assert!(frame["error"]["message"].is_string());
        }
    }
}

#[test]
fn grpc_clients_get_trailers_only() {
    for refusal in refusals() {
        for content_type in
            ["application/grpc", "application/grpc+proto", "application/grpc-web+proto"]
        {
            let answer = (refusal.ask)(start(content_type));
            assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)));
            assert_eq!(answer.header("grpc-status"), Some(refusal.grpc));
            assert!(answer.header("grpc-message").is_some());
            assert_eq!(answer.body, b"");
        }
    }
}

#[test]
fn a_method_that_is_taken_nowhere_is_named_after_the_credential() {
    let world = World::new();
    let all = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
    for (method, path, allowed) in [
        ("POST", "/auth/whoami", "GET, HEAD"),
        ("PROPFIND", "/auth/whoami", "GET, HEAD"),
        ("PROPFIND", "/sandboxes", all),
        ("get", "/sandboxes", all),
    ] {
        assert_eq!(Ask::new(method, path).send(world.control()).status, 401, "{method} {path}");
        let answer = world.ask("read", Ask::new(method, path));
        assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
    assert!(world.simulator.requests().is_empty());
}

#[test]
fn only_a_create_that_may_have_happened_must_not_be_repeated() {
    let (world, upstream) = World::with_api();
    let hang_up_on = |ask: Ask| {
        let mut client = Wire::open(world.control());
        client.send(&ask.key(&world.key("exec")).bytes(world.control()));
        let mut upstream = Wire::over(upstream.accept().unwrap().0);
        upstream.until(b"\r\n\r\n");
        drop(upstream);
        client.answer()
    };
    let create = || Ask::post("/sandboxes", r#"{"templateID":"base"}"#);
    let created = hang_up_on(create());
    assert_eq!((created.status, created.header("should-retry")), (502, Some("false")));
    let listed = hang_up_on(Ask::get("/v2/sandboxes"));
    assert_eq!((listed.status, listed.header("should-retry")), (502, None));
    // Nothing was sent where nobody listens.
    drop(upstream);
    let refused = create().key(&world.key("exec")).send(world.control());
    assert_eq!((refused.status, refused.header("should-retry")), (502, None));
    let shape = json!({"code": 502, "error_code": "upstream_unreachable", "message": refused.json()["message"]});
    assert_eq!(refused.json(), shape);
}
