//! Where a request came from, and the id that ties its traces together.

use coppice_gateway::simulator::{Options, Plane};

use super::{seen, values};
use crate::support::world::key;
use crate::support::{Answer, Ask, World, exchange};

#[test]
fn every_answer_carries_a_request_id() {
    let world = World::new();
    let (id, _) = world.create("exec");
    let answers = [
        (200, world.ask("read", Ask::get("/templates"))),
        (204, Ask::get("/health").send(world.control())),
        (401, Ask::get("/templates").send(world.control())),
        (403, world.ask("read", Ask::post("/sandboxes", "{}"))),
        (404, world.ask("exec", Ask::get("/sandboxes/unknown"))),
        (405, world.ask("read", Ask::new("PROPFIND", "/templates"))),
        (400, world.ask("read", Ask::get("//templates"))),
        (200, world.ask("read", Ask::get("/auth/whoami"))),
        (400, world.ask("exec", Ask::post("/sandboxes", "no JSON"))),
        (401, world.ask_sandbox(&id, 8080, Ask::get("/any"))),
        (200, world.ask_sandbox(&id, 8080, Ask::get("/any").key(&key("exec")))),
    ];
    for (status, answer) in &answers {
        assert_eq!(answer.status, *status, "{}", answer.text());
        assert_eq!(answer.header("x-request-id").unwrap().len(), 32, "{status}");
    }
    for refused in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "nonsense\r\n\r\n",
        "TRACE / HTTP/1.1\r\n\r\n",
    ] {
        let answer = Answer::parse(&exchange(world.control(), refused.as_bytes()));
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert_eq!(id.len(), 32, "{refused:?}");
        // The log names the refusal by the same id.
        world.gateway.wait_for_log(&[&id, "refused"]);
    }
}

#[test]
fn a_sane_request_id_stays_and_others_are_replaced() {
    let world = World::new();
    let long = "x".repeat(129);
    let longest = "x".repeat(128);
    for (sent, stays) in [
        (&["abc-1"][..], true),
        (&[longest.as_str()], true),
        (&["{}:/?#\"'"], true),
        (&[long.as_str()], false),
        (&[""], false),
        (&["a b"], false),
        (&["a\tb"], false),
        (&["caf\u{e9}"], false),
        (&["one", "two"], false),
    ] {
        let ask = Ask::get("/templates");
        let ask = sent.iter().fold(ask, |ask, id| ask.header("X-Request-ID", id));
        let answer = world.ask("read", ask);
        let id = answer.header("x-request-id").unwrap();
        assert_eq!(id == sent[0], stays, "{sent:?} became {id}");
        assert_eq!(values(&seen(&world, Plane::Control), "x-request-id"), [id]);
    }
}

#[test]
fn a_trace_passes_or_starts_and_never_enters_a_sandbox_unasked() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let world = World::new();
    let (id, _) = world.create("exec");
    let sent = |ask: Ask| {
        world.simulator.clear_requests();
        let answer = ask.key(&key("exec")).send(world.control());
        let requests = world.simulator.requests();
        let traceparent = requests.last().unwrap().header("traceparent").map(str::to_owned);
        (answer.header("x-request-id").unwrap().to_owned(), traceparent)
    };
    let (_, passed) = sent(Ask::get("/templates").header("traceparent", TRACE));
    assert_eq!(passed.as_deref(), Some(TRACE));
    let (request_id, started) = sent(Ask::get("/templates"));
    assert_eq!(started, Some(format!("00-{request_id}-{}-00", &request_id[16..])));
    let into = Ask::get("/any").host(&format!("8080-{id}.{}", crate::support::world::DOMAIN));
    assert_eq!(sent(into).1, None);
}

#[test]
fn only_trusted_proxies_say_where_a_request_came_from() {
    let forwarded = |ask: Ask| {
        ask.header("X-Forwarded-For", "203.0.113.7, 198.51.100.2")
            .header("X-Forwarded-For", "2001:db8::1")
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-Host", "api.example.com")
            .header("X_Forwarded_For", "forged")
    };
    let told = |world: &World| {
        assert_eq!(world.ask("read", forwarded(Ask::get("/templates"))).status, 200);
        let request = seen(world, Plane::Control);
        let one = |name| {
            let all = values(&request, name);
            assert_eq!(all.len(), 1, "{name}: {all:?}");
            all[0].to_owned()
        };
        [one("x-forwarded-for"), one("x-forwarded-proto"), one("x-forwarded-host")]
    };
    let trusting = World::with(Options::default(), |setup| {
        setup.env("COPPICE_TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8")
    });
    let chain = "203.0.113.7, 198.51.100.2, 2001:db8::1, 127.0.0.1";
    assert_eq!(told(&trusting), [chain, "https", "api.example.com"]);

    let wary = World::with(Options::default(), |setup| {
        setup.env("COPPICE_TRUSTED_PROXIES", "10.0.0.0/8,::1/128")
    });
    assert_eq!(told(&wary), ["127.0.0.1", "http", &wary.control().to_string()]);
    // Nobody is trusted on the way into a sandbox.
    let (id, token) = trusting.create("exec");
    let ask = forwarded(Ask::get("/any")).header("X-Access-Token", token);
    assert_eq!(trusting.ask_sandbox(&id, 8080, ask).status, 200);
    let request = seen(&trusting, Plane::Data);
    assert!(!request.headers.iter().any(|(name, _)| name.contains("forwarded")), "{request:?}");
}
