//! Secrets on every way through the gateway, while everything that watches it is turned on and says all it can.
//!
//! All that a test makes up begins with one [`STEM`], so that none is overlooked, and ends with the place and the number
//! of the request that it went with, so that it can be shown to have arrived where it should. What others make up (the
//! upstream's own tokens, the gateway's, signatures) is [added](Needles::add).

mod every_route;
mod failures;
mod heads;
mod into_sandboxes;
mod ways;

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use memchr::memmem::Finder;
use tempfile::TempDir;

use crate::support::gateway::Setup;
use crate::support::telemetry::{Collector, Scrape, ops};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::{Ask, Gateway, Wire};

/// What every secret of a test begins with.
const STEM: &str = "CaNaRy7fQ9xZ2kW8";
/// The same for `tracestate`, which belongs to the traces that the collector gets, and is to be found nowhere else.
const STATE: &str = "StAtE4hT9vB6mJ1p";
/// The request with which a test ends.
const LAST: &str = "the-last-one";
/// Signs sandbox tokens.
const SIGNING: &str = "CaNaRy7fQ9xZ2kW8-signing-secret-that-is-long-enough";

/// The secret of this place in the request of this number.
fn secret(place: &str, number: usize) -> String {
    format!("{STEM}-{place}-{number}.")
}

/// A key of the gateway's own: team-a's with this scope, or an exec key of team-b (`other`).
fn key(role: &str) -> String {
    format!("{STEM}-{role}-key")
}

/// What is looked for, by how it begins: there is much to be searched.
struct Needles(HashMap<[u8; 8], Vec<String>>);

impl Needles {
    fn new() -> Self {
        let mut needles = Self(HashMap::new());
        needles.add(STEM);
        needles
    }

    /// Looks for this too, in every spelling in which it would be of use to a reader.
    fn add(&mut self, secret: &str) {
        assert!(secret.len() >= 12, "too short to be told from chance: {secret}");
        let list = secret.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut spellings = vec![
            secret.to_owned(),
            secret.to_ascii_lowercase(),
            secret.to_ascii_uppercase(),
            hex.to_ascii_uppercase(),
            hex,
            list,
        ];
        for before in 0..3 {
            // What precedes it shifts Base64 by a part of a group; the first and the last group may hold neighbours.
            let shifted = format!("{}{secret}", "x".repeat(before));
            let end = shifted.len() / 3 * 4;
            spellings.push(STANDARD.encode(&shifted)[4..end].to_owned());
            spellings.push(URL_SAFE.encode(&shifted)[4..end].to_owned());
        }
        for spelling in spellings {
            let start = spelling.as_bytes()[..8].try_into().unwrap();
            self.0.entry(start).or_default().push(spelling);
        }
    }

    fn assert_none_in(&self, bytes: &[u8], place: &str) {
        for (at, start) in bytes.windows(8).enumerate() {
            let mut beginning = self.0.get(start).into_iter().flatten();
            let found = beginning.find(|text| bytes[at..].starts_with(text.as_bytes()));
            let around = &bytes[at.saturating_sub(300)..bytes.len().min(at + 200)];
            assert!(
                found.is_none(),
                "{found:?} in {place}: … {} …",
                String::from_utf8_lossy(around)
            );
        }
    }

    /// Nor what only the collector gets.
    fn assert_none_told(&self, told: &[(String, Vec<u8>)]) {
        let state = Finder::new(STATE);
        for (place, bytes) in told {
            self.assert_none_in(bytes, place);
            assert!(place == "spans, raw" || state.find(bytes).is_none(), "{STATE} in {place}");
        }
    }
}

/// Everything that watches a gateway.
struct Watch {
    folder: TempDir,
    collector: Collector,
}

impl Watch {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let collector = Collector::keeping(&folder.path().join("spans"));
        Self { folder, collector }
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// Turns all of it on, with secrets wherever a setting is one; `callback` is the auth service's address.
    fn setup(&self, setup: Setup, callback: &str) -> Setup {
        let keys =
            ["admin", "owner", "exec", "read"].map(|role| format!("team-a:{}:{role}", key(role)));
        let callback = callback.replace("http://", &format!("http://{STEM}:{STEM}@"));
        setup
            .flag("--ops-listen=127.0.0.1:0")
            .env("COPPICE_LOG", "trace")
            .env("COPPICE_API_KEYS", format!("{},team-b:{}:exec", keys.join(","), key("other")))
            .env("COPPICE_SECRET", SIGNING)
            .env("COPPICE_AUDIT_LOG", self.journal().to_str().unwrap())
            .env("COPPICE_AUDIT_LOG_CAP", "50000")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", self.collector.url())
            .env("OTEL_EXPORTER_OTLP_HEADERS", format!("x-collector-key={STEM}-collector"))
            .env("AUTH_CALLBACK_URL", format!("{callback}?key={STEM}-of-the-gateway"))
            .env("AUTH_CALLBACK_TIMEOUT", "2s")
            .env("AUTH_CALLBACK_CLIENT_BUDGET", "1000000")
            .env("AUTH_CALLBACK_BREAKER_FAILURES", "1000000")
    }

    /// Ends the gateway, and returns whatever it told anybody but those who asked for it.
    fn end(self, gateway: &Gateway, following: JoinHandle<Vec<u8>>) -> Vec<(String, Vec<u8>)> {
        let control = gateway.control();
        let last = Ask::new("DELETE", "/sandboxes/none").key(&key("admin"));
        last.header("X-Request-Id", LAST).send(control);
        self.collector.span_of(LAST);
        let mut told = vec![("/audit/stream".to_owned(), following.join().unwrap())];
        told.extend(pages(control).into_iter().map(|page| ("/audit/events".to_owned(), page)));
        for accept in ["text/plain", "application/openmetrics-text"] {
            let scrape = Scrape::of(gateway, accept);
            assert!(scrape.sum("requests_total", &[]) > 10.0);
            told.push(("/metrics".to_owned(), scrape.text.into_bytes()));
        }
        for path in ["/healthz", "/readyz", "/nothing"] {
            let answer = Ask::get(path).key(&key("admin")).send(ops(gateway));
            let text = format!("{:?} {}", answer.headers, answer.text());
            told.push((path.to_owned(), text.into_bytes()));
        }
        let command = fs::read(format!("/proc/{}/cmdline", gateway.id())).unwrap();
        told.push(("the process list".to_owned(), command));
        gateway.signal("TERM");
        assert!(gateway.wait().success());
        for (place, file) in [
            ("the journal", self.journal()),
            ("its head", self.folder.path().join("audit.jsonl.head")),
            ("spans, raw", self.folder.path().join("spans")),
        ] {
            let bytes = fs::read(&file).unwrap();
            assert!(bytes.len() > 50, "{place} is empty");
            told.push((place.to_owned(), bytes));
        }
        let (mut spans, mut states) = (String::new(), 0);
        for mut span in self.collector.spans() {
            // The collector's own key, and what a trace brings along for it, are for it to see.
            assert_eq!(span["headers"]["x-collector-key"].take(), format!("{STEM}-collector"));
            states +=
                usize::from(span["state"].take().as_str().is_some_and(|state| !state.is_empty()));
            spans.push_str(&span.to_string());
        }
        assert!(states > 0, "no span has the state of its trace");
        told.push(("spans".to_owned(), spans.into_bytes()));
        let log = gateway.log();
        assert!(log.iter().any(|line| line.contains("TRACE")), "the log says little");
        told.push(("the log".to_owned(), log.join("\n").into_bytes()));
        told
    }
}

/// Reads the stream of audit events up to that of the last request.
fn follow(control: SocketAddr) -> JoinHandle<Vec<u8>> {
    let mut wire = Wire::open(control);
    assert_eq!(wire.start(&Ask::get("/audit/stream").key(&key("admin"))).status, 200);
    std::thread::spawn(move || {
        let (mut all, last) = (Vec::new(), Finder::new(LAST));
        while last.find(&all[all.len().saturating_sub(4_096)..]).is_none() {
            all.extend(wire.chunk().expect("the stream goes on"));
        }
        all
    })
}

/// Every page of audit events, once the last is there.
fn pages(control: SocketAddr) -> Vec<Vec<u8>> {
    let page = |query: &str| {
        let answer = Ask::get(&format!("/audit/events?{query}")).key(&key("admin")).send(control);
        assert_eq!(answer.status, 200);
        answer
    };
    eventually("the last event", PATIENCE, || {
        page(&format!("requestID={LAST}")).json()["count"] == 1
    });
    let mut pages = Vec::new();
    loop {
        let answer = page(&format!("limit=500&offset={}", pages.len() * 500));
        if answer.json()["count"] == 0 {
            return pages;
        }
        pages.push(answer.body);
    }
}

#[test]
fn the_needles_find_what_is_hidden() {
    let needles = Needles::new();
    let hex: String = STEM.bytes().map(|byte| format!("{byte:02x}")).collect();
    let basic = STANDARD.encode(format!("user:{STEM}:more"));
    for text in
        [STEM.to_owned(), hex, basic, STEM.to_ascii_lowercase(), format!("{:?}", STEM.as_bytes())]
    {
        let found = std::panic::catch_unwind(|| needles.assert_none_in(text.as_bytes(), "a text"));
        assert!(found.is_err(), "{text}");
    }
    needles.assert_none_in(b"nothing of it", "a text");
}
