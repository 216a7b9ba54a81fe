//! Where requests end: each is told of once, then and not before, and how it ended is right, whoever ended it.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use coppice_gateway::simulator::Options;
use serde_json::{Value, json};
use tempfile::tempdir;

use super::recorded::{is_recorded, summary};
use super::{ask, event, events};
use crate::support::frames::{DATA, Frames, RST_STREAM};
use crate::support::gateway::Setup;
use crate::support::keys_file::KeysFile;
use crate::support::telemetry::{Collector, Scrape};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::key;
use crate::support::{Ask, Gateway, Wire, World};

const KEYS: &str = "team-a:k-removed:exec";
const LATER: &str = "team-a:k-later:exec";
const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nbegun";
/// An answer that has begun, and does not say where it ends.
const BEGUN: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n";

fn loquacious(setup: Setup) -> Setup {
    setup.flag("--ops-listen=127.0.0.1:0").env("COPPICE_LOG", "coppice_gateway=debug")
}

/// A gateway before an application that is the test itself, with a sandbox, and a key that can be removed.
struct Place {
    world: World,
    app: TcpListener,
    file: KeysFile,
    sandbox: String,
}

impl Place {
    fn new() -> Self {
        let file = KeysFile::new(KEYS);
        let (world, app) = World::with_app(|setup| {
            loquacious(setup).env("COPPICE_API_KEYS_FILE", file.path().to_str().unwrap())
        });
        let (sandbox, _) = world.create("exec");
        Self { world, app, file, sandbox }
    }

    fn aimed(&self, ask: Ask, id: &str) -> Ask {
        let ask = ask.key("k-removed").header("X-Request-Id", id);
        ask.header("E2b-Sandbox-Id", &self.sandbox).header("E2b-Sandbox-Port", "8080")
    }

    /// Sends a request; the client's end, and the application's, which has read the head.
    fn sent(&self, ask: &Ask) -> (Wire, Wire) {
        let mut client = Wire::open(self.world.data());
        client.send(&ask.kept_bytes(self.world.data()));
        let mut app = Wire::over(self.app.accept().unwrap().0);
        app.until(b"\r\n\r\n");
        (client, app)
    }

    /// The same, where the application has begun to answer and the client has seen it.
    fn begun(&self, ask: Ask, id: &str, answer: &[u8]) -> (Wire, Wire) {
        let (mut client, mut app) = self.sent(&self.aimed(ask, id));
        app.send(answer);
        client.until(b"begun");
        (client, app)
    }

    fn streams(&self, kind: &str) -> f64 {
        Scrape::of(&self.world.gateway, "").sum("streams", &[("kind", kind)])
    }
}

/// The one event of a request, and the one line of its end in the log: summary and end.
fn told_once(gateway: &Gateway, id: &str) -> (Value, String) {
    let seen = event(gateway.control(), id);
    let of_request = format!("\"request_id\":\"{id}\"");
    gateway.wait_for_log(&[&of_request, "\"duration_ms\""]);
    // Whatever else it could have been told by has had its time.
    assert!(is_recorded(gateway.control(), id));
    assert_eq!(events(&ask(gateway.control(), "admin", &format!("requestID={id}"))).len(), 1);
    let log = gateway.log();
    let mut lines =
        log.iter().filter(|line| line.contains(&of_request) && line.contains("\"duration_ms\""));
    let line: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(lines.next(), None);
    (seen, line["end"].as_str().unwrap().to_owned())
}

#[test]
fn a_tunnel_ends_when_it_ends() {
    let place = Place::new();
    let gateway = &place.world.gateway;
    let count =
        || Scrape::of(gateway, "").sum("request_duration_seconds_count", &[("surface", "port")]);
    let (client, app) = place.begun(Ask::get("/any").upgrading(), "whole", SWITCH);
    let since = Instant::now();
    assert!(!is_recorded(gateway.control(), "whole"), "it is open yet");
    eventually("its requests have ended", PATIENCE, || place.streams("http") == 0.0);
    assert_eq!((place.streams("tunnel"), count()), (1.0, 0.0));
    eventually("it is open for a while", PATIENCE, || since.elapsed() > Duration::from_millis(200));
    let least = u64::try_from(since.elapsed().as_millis()).unwrap();
    client.finish();
    drop(app);
    let (event, end) = told_once(gateway, "whole");
    assert_eq!((summary(&event), &*end), ("allowed 101 port exec".to_owned(), "complete"));
    let took = event["durationMs"].as_u64().unwrap();
    assert!(took >= least, "{took} {least}");
    eventually("it is counted", PATIENCE, || count() == 1.0);
    assert_eq!((place.streams("tunnel"), place.streams("http")), (0.0, 0.0));
    // What waits for an answer is not what lasts.
    let waited =
        Scrape::of(gateway, "").sum("upstream_duration_seconds_sum", &[("surface", "port")]);
    let lasted =
        Scrape::of(gateway, "").sum("request_duration_seconds_sum", &[("surface", "port")]);
    assert!(lasted - waited > 0.19, "{waited} {lasted}");
}

#[test]
fn who_ended_a_tunnel_is_known() {
    let place = Place::new();
    let gateway = &place.world.gateway;
    let open = |id: &str| place.begun(Ask::get("/any").upgrading(), id, SWITCH);
    let (client, app) = open("by-upstream");
    drop(app);
    drop(client);
    let (client, app) = open("reset-by-client");
    client.reset();
    let (other_client, other_app) = open("reset-by-upstream");
    other_app.reset();
    let (mut revoked, kept) = open("revoked");
    place.file.reload(gateway, LATER);
    revoked.until_closed(PATIENCE);
    for (id, end) in [
        ("by-upstream", "complete"),
        ("reset-by-client", "client gone"),
        ("reset-by-upstream", "broken"),
        ("revoked", "broken"),
    ] {
        let (event, ended) = told_once(gateway, id);
        assert_eq!((summary(&event), &*ended), ("allowed 101 port exec".to_owned(), end), "{id}");
        assert_eq!(event["sandboxID"], place.sandbox);
    }
    drop((app, other_client, kept));
}

#[test]
fn who_ended_a_stream_is_known() {
    let place = Place::new();
    let gateway = &place.world.gateway;
    let post = || Ask::post("/any", "");
    let (client, kept) = place.begun(post(), "left", BEGUN);
    drop(client);
    let (_client, app) = place.begun(post(), "upstream-closed", BEGUN);
    drop(app);
    let (_client, app) = place.begun(post(), "upstream-reset", BEGUN);
    app.reset();
    let (mut client, mut app) = place.begun(post(), "whole", BEGUN);
    app.send(b"0\r\n\r\n");
    client.until(b"0\r\n\r\n");
    drop(app);

    let mut frames = Frames::connect(place.world.data());
    let authority = place.world.data().to_string();
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", &authority),
        (":path", "/any"),
        ("x-api-key", "k-removed"),
        ("x-request-id", "reset"),
        ("e2b-sandbox-id", &place.sandbox),
        ("e2b-sandbox-port", "8080"),
    ];
    frames.head(1, &fields, true);
    let mut app = Wire::over(place.app.accept().unwrap().0);
    app.until(b"\r\n\r\n");
    app.send(BEGUN);
    while frames.read().unwrap().kind != DATA {}
    // CANCEL (RFC 9113 7).
    frames.send(RST_STREAM, 0, 1, &[0, 0, 0, 8]);

    let (mut revoked, revoked_app) = place.begun(post(), "revoked", BEGUN);
    place.file.reload(gateway, LATER);
    revoked.until_closed(PATIENCE);
    for (id, end) in [
        ("left", "client gone"),
        ("upstream-closed", "broken"),
        ("upstream-reset", "broken"),
        ("whole", "complete"),
        ("reset", "client gone"),
        ("revoked", "broken"),
    ] {
        let (event, ended) = told_once(gateway, id);
        assert_eq!((summary(&event), &*ended), ("allowed 200 port exec".to_owned(), end), "{id}");
    }
    drop((kept, app, revoked_app));
}

#[test]
fn who_left_unanswered_is_known_by_then() {
    let place = Place::new();
    let (client, app) = place.sent(&place.aimed(Ask::get("/any"), "left"));
    drop(client);
    let (event, end) = told_once(&place.world.gateway, "left");
    assert_eq!((summary(&event), &*end), ("error 499 port exec".to_owned(), "client gone"));
    assert_eq!(
        (&event["tenantID"], &event["sandboxID"]),
        (&json!("team-a"), &json!(place.sandbox))
    );
    drop(app);
}

#[test]
fn a_create_ends_when_it_is_seen_through() {
    let (api, flag) = listener();
    let world = World::with(Options::default(), |setup| {
        loquacious(setup).without("--upstream=").flag(flag)
    });
    let create = Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#).key(&key("exec"));
    let mut client = Wire::open(world.control());
    client.send(&create.header("X-Request-Id", "left").kept_bytes(world.control()));
    let mut upstream = Wire::over(api.accept().unwrap().0);
    upstream.until(b"\r\n\r\n");
    drop(client);
    let sum = |name: &str| Scrape::of(&world.gateway, "").sum(name, &[]);
    eventually("the client has left", PATIENCE, || sum("connections") == 0.0);
    assert!(!is_recorded(world.control(), "left"), "it goes on");
    let json =
        r#"{"sandboxID":"i1","templateID":"base","envdVersion":"0.2.0","envdAccessToken":"t"}"#;
    let head = format!("HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n", json.len());
    upstream.send(format!("{head}{json}").as_bytes());
    let (event, end) = told_once(&world.gateway, "left");
    assert_eq!((summary(&event), &*end), ("allowed 201 control exec".to_owned(), "client gone"));
    assert_eq!((&event["sandboxID"], &event["tenantID"]), (&json!("i1"), &json!("team-a")));
    eventually("nothing is under way", PATIENCE, || sum("streams") == 0.0);
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let flag = format!("--upstream=http://{}", listener.local_addr().unwrap());
    (listener, flag)
}

#[test]
fn what_the_gateway_cuts_off_reaches_journal_and_collector() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let collector = Collector::start(0);
    let (world, app) = World::with_app(|setup| {
        setup
            .flag(format!("--audit-log={}", path.to_str().unwrap()))
            .env("COPPICE_DRAIN_TIMEOUT", "100ms")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
    });
    let (sandbox, _) = world.create("exec");
    let asks = [
        ("tunnel", Ask::get("/any").upgrading(), SWITCH),
        ("stream", Ask::post("/any", ""), BEGUN),
        ("unanswered", Ask::post("/any", ""), b""),
    ];
    let open = asks.map(|(id, ask, answer)| {
        let ask = ask.key(&key("exec")).header("X-Request-Id", id);
        let ask = ask.header("E2b-Sandbox-Id", &sandbox).header("E2b-Sandbox-Port", "8080");
        let mut client = Wire::open(world.data());
        client.send(&ask.kept_bytes(world.data()));
        let mut app = Wire::over(app.accept().unwrap().0);
        app.until(b"\r\n\r\n");
        app.send(answer);
        if !answer.is_empty() {
            client.until(b"begun");
        }
        (client, app)
    });
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.wait().code(), Some(0));
    let journal = fs::read_to_string(&path).unwrap();
    for (id, expected) in [
        ("tunnel", "allowed 101 port exec"),
        ("stream", "allowed 200 port exec"),
        ("unanswered", "error 503 port exec"),
    ] {
        let mut lines = journal.lines().filter(|line| line.contains(&format!("\"{id}\"")));
        let event: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!((summary(&event), lines.next()), (expected.to_owned(), None), "{id}");
        assert_eq!(collector.span_of(id)["attributes"]["coppice.end"], "broken", "{id}");
    }
    drop(open);
}
