//! Nothing secret of a call is in the log, however talkative that is: no credential, nothing of the URL but its place.

use super::world_at;
use crate::support::authority::Authority;
use crate::support::callback::{Deaf, Reply, Scripted};
use crate::support::{Ask, World};

const CANARY: &str = "CaNaRy.7fQ9xZ2kW.8";

fn talkative(
    url: &str,
    change: impl Fn(crate::support::gateway::Setup) -> crate::support::gateway::Setup,
) -> World {
    world_at(url, |setup| {
        change(
            setup
                .env("AUTH_CALLBACK_TIMEOUT", "1s")
                .env("AUTH_CALLBACK_STALE_IF_ERROR", "10s")
                .env("COPPICE_LOG", "trace"),
        )
    })
}

/// Sends the canary as both kinds of credential, and has the gateway log that it is done.
fn exercise(world: &World) {
    for ask in [
        Ask::get("/sandboxes").key(CANARY),
        Ask::get("/sandboxes").bearer(CANARY),
        Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).key(CANARY),
        Ask::get(&format!("/sandboxes?key={CANARY}")).key(CANARY),
    ] {
        let answer = ask.send(world.control());
        assert!(!format!("{:?}{}", answer.headers, answer.text()).contains(CANARY), "{ask:?}");
    }
    let last = Ask::get("/templates").header("X-Request-Id", "the-last-one");
    last.send(world.control());
    world.gateway.wait_for_log(&["the-last-one"]);
}

fn assert_clean(world: &World) {
    let log = world.gateway.log();
    assert!(log.iter().any(|line| line.contains("TRACE")));
    let hex: String = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let list = CANARY.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    for line in log {
        let lower = line.to_ascii_lowercase();
        assert!(!lower.contains(&CANARY.to_ascii_lowercase()), "{line}");
        assert!(!lower.contains(&hex) && !lower.contains(&list), "{line}");
    }
}

#[test]
fn no_call_leaves_a_secret_in_the_log() {
    let service = Scripted::always(Reply::allow());
    let place = service.address();
    let url = format!("http://{CANARY}:{CANARY}@{place}/verify?tok={CANARY}");
    let world = talkative(&url, |setup| setup);
    let replies = [
        Reply::allow(),
        Reply::allow().max_age(60),
        Reply::status(401),
        Reply::status(302).with("Location", &format!("http://127.0.0.1:1/?{CANARY}")),
        Reply::allow().with("X-Auth-Scopes", "nonsense").with("X-Secret", CANARY),
        Reply::Reset,
        Reply::Bytes(format!("{CANARY}\r\n\r\n").into_bytes()),
        Reply::Silence,
    ];
    for reply in replies {
        service.now(reply);
        exercise(&world);
    }
    assert_clean(&world);
    let command = std::fs::read(format!("/proc/{}/cmdline", world.gateway.id())).unwrap();
    assert!(!String::from_utf8_lossy(&command).contains(CANARY));
}

#[test]
fn nor_does_one_that_cannot_be_made() {
    let deaf = Deaf::new();
    let url = format!("http://{CANARY}@{}/verify?tok={CANARY}", deaf.address());
    let world = talkative(&url, |setup| setup);
    exercise(&world);
    assert_clean(&world);
}

#[test]
fn nor_does_tls() {
    let authority = Authority::new();
    let service = Scripted::with_tls(authority.server("IP:127.0.0.1", true), Reply::allow());
    let (certificate, key) = authority.issue("gateway", "DNS:gateway.test");
    let url = format!("{}?tok={CANARY}", service.url());
    let files = [
        ("AUTH_CALLBACK_CA", authority.file()),
        ("AUTH_CALLBACK_CLIENT_CERT", certificate),
        ("AUTH_CALLBACK_CLIENT_KEY", key),
    ];
    let world = talkative(&url, |setup| {
        let with = |setup: crate::support::gateway::Setup,
                    (name, path): &(&str, std::path::PathBuf)| {
            setup.env(name, path.to_str().unwrap())
        };
        files.iter().fold(setup, with)
    });
    exercise(&world);
    assert!(service.count() >= 4);
    assert_clean(&world);
}
