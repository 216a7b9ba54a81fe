//! No secret in a log, an error, an answer, a metric, a trace, `ps` or a start-up message, however it was sent and however talkative the
//! log is.
//!
//! One text stands for every secret. It goes in wherever a secret can, and is looked for in everything that comes out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::frames::{End, Frames};
use crate::support::telemetry::{Collector, Scrape};
use crate::support::upstream::gateway_before;
use crate::support::{Ask, Gateway, Program, Upstream, exchange};

const CANARY: &str = "CaNaRy.7fQ+9xZ2kW.8";
const SECRET: &str = "CaNaRy.7fQ+9xZ2kW.8 and then some more";

/// Every spelling in which the canary would still be of use to a reader.
fn spellings() -> Vec<String> {
    let hex: String = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let list = CANARY.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    let mut all = vec![CANARY.to_owned(), CANARY.replace('+', "%2B"), CANARY.replace('+', "%2b")];
    all.extend([
        hex.to_ascii_uppercase(),
        hex,
        list,
        CANARY.to_ascii_lowercase(),
        CANARY.to_ascii_uppercase(),
    ]);
    for before in 0..3 {
        // Whatever precedes it shifts Base64 by a part of a group; the first and the last group may hold neighbours.
        let coded = STANDARD.encode(format!("{}{CANARY}", "x".repeat(before)));
        all.push(coded[4..20].to_owned());
    }
    all
}

fn assert_clean(text: &str, context: &str) {
    for spelling in spellings() {
        assert!(!text.contains(&spelling), "{spelling} in {context}: {text}");
    }
}

/// Knows a sandbox whose tokens are secrets too.
fn upstream() -> Upstream {
    Upstream::start(|_, talk| {
        let body = format!(
            r#"{{"sandboxID":"i1","templateID":"base","envdAccessToken":"{CANARY}","trafficAccessToken":"{CANARY}","metadata":{{"coppice_tenant_id":"team-a"}}}}"#,
        );
        let answer = format!(
            "Content-Type: application/json\r\nSet-Cookie: s={CANARY}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        while let Some(head) = talk.request() {
            if head.contains("break-off") {
                return;
            }
            let status =
                if head.starts_with("DELETE") { "500 Internal Server Error" } else { "200 OK" };
            talk.send(format!("HTTP/1.1 {status}\r\n{answer}"));
        }
    })
}

fn gateway(upstream: &Upstream, collector: &Collector) -> Gateway {
    gateway_before(&upstream.url(), |setup| {
        setup
            .flag("--ops-listen=127.0.0.1:0")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
            .env("OTEL_EXPORTER_OTLP_HEADERS", format!("x-collector-key={CANARY}"))
            .env("COPPICE_API_KEYS", format!("team-a:{CANARY}:admin,team-b:{CANARY}b:read"))
            .env("COPPICE_UPSTREAM_API_KEY", CANARY)
            .env("COPPICE_SECRET", SECRET)
            .env("COPPICE_LOG", "trace")
    })
}

/// Requests with the canary wherever a secret may stand, as good and as bad credentials.
fn asks() -> Vec<Ask> {
    let wrong = format!("{CANARY}x");
    let read = format!("{CANARY}b");
    let encoded = CANARY.replace('+', "%2B");
    let mut all = Vec::new();
    for path in [
        "/templates",
        "/auth/whoami",
        "/sandboxes/i1",
        "/nothing",
        "/health",
        "//twice",
        "/break-off",
        "/pools/break-off",
    ] {
        for key in [CANARY, &wrong, &read] {
            let basic = STANDARD.encode(format!("user:{key}"));
            let registry = STANDARD.encode(format!("_e2b_access_token:{key}"));
            all.extend([
                Ask::get(path).key(key),
                Ask::get(path).bearer(key),
                Ask::get(path).key(key).key(key),
                Ask::get(path).bearer(key).key(key),
                Ask::get(path).header("Authorization", format!("Basic {basic}")),
                Ask::get(path).header("Authorization", format!("Basic {registry}")),
                Ask::get(path).header("Authorization", key),
                Ask::get(path).header("X-Access-Token", key),
                Ask::get(path).header("E2b-Traffic-Access-Token", key),
                Ask::get(path).header("E2b-Sandbox-Id", key).header("E2b-Sandbox-Port", key),
                Ask::get(path).header("X-Admin-Token", key).header("X-Supabase-Token", key),
                Ask::get(path).header("Cookie", format!("session={key}")).key(key),
                Ask::get(&format!("{path}?api_key={encoded}&token={CANARY}")).key(key),
                Ask::new("DELETE", path).key(key),
                Ask::post(path, format!(r#"{{"templateID":"base","key":"{key}"}}"#)).key(key),
            ]);
        }
    }
    all.extend([
        Ask::post("/sandboxes", format!(r#"{{"templateID":"base","envVars":{{"K":"{CANARY}"}}}}"#))
            .key(CANARY),
        Ask::post("/sandboxes", format!(r#"{{"templateID":"base","{CANARY}""#)).key(CANARY),
        Ask::post("/sandboxes", format!(r#"{{"metadata":{{"{CANARY}":1,"{CANARY}":2}}}}"#))
            .key(CANARY),
        Ask::get(&format!("/files/download-token/{CANARY}")),
        Ask::get(&format!("/files/download-token/{encoded}/more")),
        Ask::get(&format!("//files/Download-Token/{CANARY}")),
        Ask::new("DELETE", &format!("/files/download-token/{CANARY}")).key(CANARY),
    ]);
    all
}

/// The same on the way into a sandbox.
fn data_asks() -> Vec<Ask> {
    let mut all = Vec::new();
    for port in ["49983", "49999", "8080"] {
        for path in ["/files", "/files/../x", "/init", "/contexts", "/break-off"] {
            let query = format!("{path}?path=a&signature=v1_{CANARY}&username=user");
            let at = |path: &str| {
                Ask::get(path).header("E2b-Sandbox-Id", "i1").header("E2b-Sandbox-Port", port)
            };
            let basic = STANDARD.encode(format!("user:{CANARY}"));
            all.extend([
                at(&query),
                at(path).key(CANARY),
                at(path).bearer(CANARY),
                at(path).header("X-Access-Token", CANARY),
                at(path)
                    .header("E2b-Traffic-Access-Token", CANARY)
                    .header("Authorization", format!("Basic {basic}")),
                at(path).header("X-Access-Token", format!("cpt1.{CANARY}.{CANARY}")),
                at(path).bearer(&format!("{CANARY}y")).header("Cookie", CANARY),
                Ask::get(&query),
            ]);
        }
    }
    all
}

#[test]
fn nothing_secret_is_logged_or_told() {
    let (upstream, collector, mut asked) = (upstream(), Collector::start(0), 0);
    let gateway = gateway(&upstream, &collector);
    let planes = [
        (gateway.control(), asks()),
        (gateway.address("port=*"), data_asks()),
        (gateway.control(), data_asks()),
    ];
    for (address, asks) in planes {
        for ask in asks {
            let answer = ask.send(address);
            // What the upstream itself says is not the gateway's to change.
            if answer.header("set-cookie").is_none() {
                assert_clean(
                    &format!("{:?} {}", answer.headers, answer.text()),
                    &format!("{ask:?}"),
                );
            }
            asked += 1;
        }
    }
    for (path, name) in [
        ("/templates", "x-api-key"),
        ("/templates", "authorization"),
        ("/nothing", "x-access-token"),
        ("//", "cookie"),
    ] {
        let mut frames = Frames::connect(gateway.control());
        let head = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", path),
            (name, CANARY),
        ];
        frames.head(1, &head, true);
        let _: End = frames.end_of(1);
        frames.head(3, &[&head[..], &[("x-bad", CANARY), ("connection", CANARY)]].concat(), true);
        let _: End = frames.end_of(3);
    }
    // Refused heads.
    for part in [
        "GET / HTTP/1.1\r\nX-API-Key: CANARY\r\n\r\n",
        "CANARY\r\n\r\n",
        "GET http://a/?CANARY HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CANARY\r\n\r\n",
    ] {
        let bytes = part.replace("CANARY", CANARY);
        let answer = exchange(gateway.control(), bytes.as_bytes());
        assert_clean(&String::from_utf8_lossy(&answer), part);
    }
    let last =
        Ask::get("/templates").header("X-Request-Id", "the-last-one").send(gateway.control());
    assert_eq!(last.status, 401);
    gateway.wait_for_log(&["the-last-one"]);
    // Nor in the audit trail.
    let events = Ask::get("/audit/events?limit=500").key(CANARY).send(gateway.control());
    assert_eq!((events.status, &events.json()["count"]), (200, &500.into()));
    for offset in [0, 500, 1000, 1500] {
        let page = Ask::get(&format!("/audit/events?limit=500&offset={offset}")).key(CANARY);
        assert_clean(&page.send(gateway.control()).text(), "the audit trail");
    }
    let log = gateway.log();
    assert!(
        log.len() > asked && log.iter().any(|line| line.contains("TRACE")),
        "{} lines",
        log.len()
    );
    for line in log {
        assert_clean(&line, "the log");
    }
    for accept in ["text/plain", "application/openmetrics-text"] {
        let scrape = Scrape::of(&gateway, accept);
        assert!(scrape.sum("requests_total", &[]) > 100.0);
        assert_clean(&scrape.text, "a scrape");
    }
    collector.span_of("the-last-one");
    let spans = collector.spans();
    assert!(spans.len() > 100, "{} spans", spans.len());
    for mut span in spans {
        // The collector's own key is for it alone to see.
        assert_eq!(span["headers"]["x-collector-key"].take(), CANARY);
        assert_clean(&span.to_string(), "a span");
    }
}

#[test]
fn nothing_secret_is_in_the_process_list() {
    let (upstream, collector) = (upstream(), Collector::start(0));
    let gateway = gateway(&upstream, &collector);
    let command = std::fs::read(format!("/proc/{}/cmdline", gateway.id())).unwrap();
    let command = String::from_utf8_lossy(&command).into_owned();
    assert!(command.contains("--upstream"), "{command}");
    assert_clean(&command, "the command line");
}

#[test]
fn nothing_secret_is_in_what_commands_print() {
    let good = || {
        Program::new()
            .env("COPPICE_API_KEYS", &format!("team-a:{CANARY}:admin"))
            .env("COPPICE_UPSTREAM_API_KEY", CANARY)
            .env("COPPICE_SECRET", SECRET)
            .env("COPPICE_UPSTREAM", "http://127.0.0.1:1")
            .env("COPPICE_TOKEN", CANARY)
            .env("E2B_API_KEY", CANARY)
    };
    for args in [
        &["check"][..],
        &["--help"],
        &["serve", "--help"],
        &["help"],
        &["whoami", "--help"],
        &["whoami", "--url=http://127.0.0.1:1"],
        &["routes"],
        &["man"],
        &["completions", "bash"],
        &["serve", "--nonsense"],
    ] {
        let ended = good().run(args);
        assert_clean(&format!("{}{}", ended.out, ended.err), &format!("{args:?}"));
    }
    let bad = [
        ("COPPICE_API_KEYS", format!("team a:{CANARY}:admin")),
        ("COPPICE_API_KEYS", format!("team-a:{CANARY}:nonsense")),
        ("COPPICE_API_KEYS", format!("team-a:{CANARY}:read,team-b:{CANARY}:exec")),
        ("COPPICE_API_KEYS", format!("team-a:{CANARY}")),
        ("COPPICE_API_KEYS", CANARY.to_owned()),
        ("COPPICE_API_KEYS", format!("{CANARY}:read")),
        ("COPPICE_API_KEYS", format!("team-a:{CANARY} \u{e9}:admin")),
        ("COPPICE_API_KEYS", format!("team-a:sha256:{CANARY}:admin")),
        ("COPPICE_UPSTREAM_API_KEY", format!("{CANARY} \u{e9}")),
        ("COPPICE_UPSTREAM_API_KEY_FILE", "absent".to_owned()),
        ("COPPICE_SECRET", CANARY.to_owned()),
        ("COPPICE_UPSTREAM", format!("http://user:{CANARY}@127.0.0.1:1")),
        ("COPPICE_UPSTREAM", format!("http://127.0.0.1:1/?key={CANARY}")),
        ("COPPICE_UPSTREAM", format!("ftp://user:{CANARY}@127.0.0.1:1")),
        ("COPPICE_ENVD_UPSTREAM", format!("http://user:{CANARY}@127.0.0.1:1")),
        ("COPPICE_ENVD_UPSTREAM", format!("49983=http://user:{CANARY}@127.0.0.1:1,*=nonsense")),
    ];
    for (name, value) in &bad {
        for args in [&["check"][..], &["serve"]] {
            let ended = good().env(name, value).run(args);
            assert_eq!(ended.code, 78, "{name}={value}: {}", ended.err);
            assert!(ended.err.contains(name) || ended.out.contains(name), "{name}: {}", ended.err);
            assert_clean(
                &format!("{}{}", ended.out, ended.err),
                &format!("{args:?} {name}={value}"),
            );
        }
    }
    for text in [
        format!("team-a:{CANARY}:nonsense\n"),
        format!("[{{\"tenantID\":\"t\",\"key\":\"{CANARY}\",\"{CANARY}\":1}}]"),
        format!("[{{\"key\":\"{CANARY}\""),
    ] {
        let program = good();
        let file = program.file("keys", &text);
        let ended = program.env("COPPICE_API_KEYS_FILE", file.to_str().unwrap()).run(&["check"]);
        assert_eq!(ended.code, 78, "{text}: {}", ended.err);
        assert_clean(&format!("{}{}", ended.out, ended.err), &text);
    }
}

#[test]
fn nothing_that_is_logged_can_forge_a_log_line() {
    let (upstream, collector) = (upstream(), Collector::start(0));
    let gateway = gateway(&upstream, &collector);
    let forged = r#"{"level":"INFO","message":"forged"}"#;
    let paths = [
        "/a%0d%0a%7B%22level%22",
        "/a\"}",
        "/a%1b[31m",
        "/a\\n{\"level\"",
        "/%E2%80%A8x",
        "/a'",
        "/{\"message\":\"forged\"}",
    ];
    for (number, path) in paths.into_iter().enumerate() {
        let id = format!("\"}}\\n{forged}\\{number}");
        let ask = Ask::get(path)
            .header("X-Request-Id", &id)
            .header("User-Agent", "\u{1b}[2J\" forged")
            .host("a.example");
        // The control character makes this one a refused head; without it the path is what is logged.
        assert_eq!(ask.send(gateway.control()).status, 400);
        let answer = Ask::get(path).header("X-Request-Id", &id).send(gateway.control());
        assert!(matches!(answer.status, 400 | 401), "{path}: {}", answer.status);
    }
    Ask::get("/templates").header("X-Request-Id", "the-last-one").send(gateway.control());
    gateway.wait_for_log(&["the-last-one"]);
    let mut answered = 0;
    for line in gateway.log() {
        let json: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line:?}"));
        assert_ne!(json["message"], "forged", "{line}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
        answered +=
            usize::from(json["request_id"].as_str().is_some_and(|id| id.contains("forged")));
    }
    assert!(answered >= paths.len(), "the ids are in the log, harmlessly: {answered}");
}
