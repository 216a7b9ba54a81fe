//! The auth callback from outside: what the operator's service is asked, what its answers and its failures mean to a
//! client, what is remembered of them, and who can make the gateway ask.

mod body;
mod breaker;
mod budget;
mod cache;
mod canary;
mod failures;
mod flights;
mod identity;
mod purge;
mod question;
mod redirects;
mod seed;
mod tls;
mod tokens;
mod verdicts;

use coppice_gateway::simulator::Options;
use serde_json::Value;

use crate::support::callback::{Call, Reply, Scripted};
use crate::support::gateway::Setup;
use crate::support::wait::run;
use crate::support::world::key;
use crate::support::{Answer, Ask, World};

/// What a client is told when the service says no.
const REJECTED: &str = "Authentication rejected by callback";

/// The usual arrangement, with static keys, and this service for all other credentials.
fn world(service: &Scripted) -> World {
    world_with(service, |setup| setup)
}

/// The same, changed. One address may cause any number of refusals, and no number of failures keeps the gateway from
/// asking: what limits there are is for other tests to say.
fn world_with(service: &Scripted, change: impl FnOnce(Setup) -> Setup) -> World {
    world_at(&service.url(), change)
}

/// The same for a service at this address.
fn world_at(url: &str, change: impl FnOnce(Setup) -> Setup) -> World {
    World::with(Options::default(), |setup| {
        change(
            setup
                .env("AUTH_CALLBACK_URL", url)
                .env("AUTH_CALLBACK_CLIENT_BUDGET", "1000000")
                .env("AUTH_CALLBACK_BREAKER_FAILURES", "1000000"),
        )
    })
}

/// One worker, so that what came in first is read first.
fn one_worker(setup: Setup) -> Setup {
    setup.without("--workers=").flag("--workers=1")
}

/// Returns once a gateway with one worker has read whatever was sent to it before: each of these connections is taken
/// and answered after all that was there earlier.
fn fence(world: &World) {
    for _ in 0..3 {
        let answer = world.ask("read", Ask::get("/auth/whoami"));
        assert_eq!(answer.status, 200);
    }
}

/// An answer that names somebody.
fn identity(tenant: &str, user: &str, scopes: &str) -> Reply {
    Reply::allow()
        .with("X-Auth-Tenant", tenant)
        .with("X-Auth-User", user)
        .with("X-Auth-Scopes", scopes)
}

/// Takes each credential for a user of that name, `TENANT.USER.SCOPES…`, and refuses all that are not of that form.
fn by_credential(call: &Call) -> Reply {
    let mut parts = call.credential().split('.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(tenant), Some(user), Some(scopes)) => identity(tenant, user, scopes),
        _ => Reply::status(401),
    }
}

/// What whoami says of a credential, which must be good.
fn whoami(world: &World, credential: &str) -> Value {
    let answer = Ask::get("/auth/whoami").key(credential).send(world.control());
    assert_eq!(answer.status, 200, "{credential}: {}", answer.text());
    answer.json()
}

/// The status of a listing with this credential.
fn status(world: &World, credential: &str) -> u16 {
    Ask::get("/sandboxes").key(credential).send(world.control()).status
}

/// Creates a sandbox with a credential: its id, and the token that its creator got.
fn create(world: &World, credential: &str) -> (String, String) {
    let ask = Ask::post("/v2/sandboxes", r#"{"templateID":"base","timeout":300}"#);
    let answer = ask.key(credential).send(world.control());
    assert_eq!(answer.status, 201, "{}", answer.text());
    let json = answer.json();
    let text = |name: &str| json[name].as_str().unwrap().to_owned();
    (text("sandboxID"), text("envdAccessToken"))
}

/// Asks the gateway itself for something as an operator does.
fn as_admin(world: &World, method: &str, path: &str) -> Answer {
    Ask::new(method, path).key(&key("admin")).send(world.control())
}

fn assert_rejected(answer: &Answer, context: &str) {
    let json = answer.json();
    let seen = (answer.status, &json["code"], &json["message"], &json["error_code"]);
    let expected = (401, &401.into(), &Value::from(REJECTED), &Value::from("callback_rejected"));
    assert_eq!(seen, expected, "{context}");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{context}");
}

/// Sends listings with these credentials all at once, over a few HTTP/2 connections; the statuses in their order.
fn at_once(world: &World, credentials: &[String]) -> Vec<u16> {
    use http_body_util::Empty;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let address = world.control();
    run(async {
        let mut sent = Vec::new();
        for part in credentials.chunks(100) {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let handshake =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (sender, connection) = handshake.await.unwrap();
            tokio::spawn(connection);
            for credential in part {
                let request = http::Request::get(format!("http://{address}/sandboxes"))
                    .header("x-api-key", credential)
                    .body(Empty::<bytes::Bytes>::new())
                    .unwrap();
                let mut sender = sender.clone();
                sent.push(tokio::spawn(async move {
                    sender.send_request(request).await.unwrap().status().as_u16()
                }));
            }
        }
        let mut statuses = Vec::new();
        for answer in sent {
            statuses.push(answer.await.unwrap());
        }
        statuses
    })
}

/// So many credentials that differ.
fn credentials(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name}-{number}")).collect()
}
