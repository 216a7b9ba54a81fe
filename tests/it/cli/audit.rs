//! `audit query` and `audit tail`: what they ask a gateway, and what they make of its answers.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::{REFUSED, gateway};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::{Program, Wire};

const EVENTS: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"events\":[\
    {\"eventID\":\"e2\",\"timestamp\":\"2026-04-27T00:18:46Z\",\"outcome\":\"denied\",\"method\":\"GET\",\"path\":\"/audit/events\",\
    \"status\":403,\"tenantID\":\"team-b\",\"message\":\"no \\u001b[31mway\"},\
    {\"eventID\":\"e1\",\"timestamp\":\"2026-04-27T00:18:45Z\",\"outcome\":\"allowed\",\"method\":\"POST\",\"path\":\"/sandboxes\",\
    \"status\":201,\"tenantID\":\"team-a\",\"sandboxID\":\"i1\"}],\"count\":2}";
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n: hello\n\n\
    id: 5\ndata: {\"eventID\":\"e2\",\"outcome\":\"denied\",\"path\":\"/twice\"}\n\n\
    id: 6\ndata: {\"eventID\":\"e3\",\"outcome\":\"allowed\",\"path\":\"/unwanted\"}\n\n\
    id: 7\ndata: {\"eventID\":\"e4\",\"outcome\":\"denied\",\"path\":\"/new\"}\n\n";

#[test]
fn audit_query_asks_for_what_its_flags_say() {
    let (url, heads) = gateway(&[EVENTS, EVENTS, REFUSED]);
    let run = |args: &[&str]| {
        let args = [&["audit", "query", "--token", "sk-canary", "--url", &url], args].concat();
        Program::new().run(&args)
    };
    let ended = run(&[
        "--tenant",
        "a&b",
        "--outcome",
        "denied",
        "--since",
        "2026-01-01T00:00:00Z",
        "--limit",
        "7",
    ]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert_eq!(
        ended.out.lines().collect::<Vec<_>>(),
        [
            "2026-04-27T00:18:46Z\tdenied\t403\tGET\t/audit/events\tteam-b\t-\t-\t-\t-\t-\tno \u{fffd}[31mway",
            "2026-04-27T00:18:45Z\tallowed\t201\tPOST\t/sandboxes\tteam-a\t-\t-\ti1\t-\t-\t-",
        ]
    );
    let ended =
        run(&["--json", "--order-asc", "--offset", "3", "--path-prefix", "/s", "--key-id", "k"]);
    let answer: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(answer["count"], 2);
    let ended = run(&[]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    assert!(ended.err.contains("answered 401 Unauthorized: no"), "{ended:?}");
    let heads = heads.join().unwrap();
    for (head, line) in heads.iter().zip([
        "get /audit/events?tenantid=a%26b&outcome=denied&since=2026-01-01t00%3a00%3a00z&limit=7 ",
        "get /audit/events?pathprefix=%2fs&keyid=k&offset=3&orderasc=true ",
        "get /audit/events ",
    ]) {
        assert!(head.starts_with(line), "{head}");
        assert!(head.contains("authorization: bearer sk-canary"), "{head}");
    }
    for args in
        [&["--limit", "0"][..], &["--limit", "501"], &["--offset", "-1"], &["--tenant", ""], &["x"]]
    {
        assert_eq!(run(args).code, 64, "{args:?}");
    }
}

#[test]
fn audit_tail_follows_and_repeats_nothing() {
    let (url, heads) = gateway(&[EVENTS, STREAM, EVENTS, REFUSED]);
    let program = Program::new().env("E2B_API_KEY", "sk-canary").env("COPPICE_URL", &url);
    let ended = program.run(&["audit", "tail", "-n", "2"]);
    let outcomes: Vec<_> = ended.out.lines().map(|line| line.split('\t').nth(1).unwrap()).collect();
    assert_eq!((ended.code, outcomes), (0, vec!["allowed", "denied"]));
    let ended = program.run(&["audit", "tail", "--follow", "--json", "--outcome", "denied"]);
    let ids: Vec<String> = ended
        .out
        .lines()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            event["eventID"].as_str().unwrap().to_owned()
        })
        .collect();
    // What a listing gives is printed as it comes; what the stream repeats of it is not.
    assert_eq!(ids, ["e1", "e2", "e4"]);
    assert_eq!(ended.code, 1);
    let heads = heads.join().unwrap();
    assert!(heads[0].starts_with("get /audit/events?limit=2 "), "{heads:#?}");
    assert!(heads[1].starts_with("get /audit/stream ") && !heads[1].contains("last-event-id"));
    assert!(heads[2].starts_with("get /audit/events?outcome=denied&limit=10 "), "{heads:#?}");
    assert!(heads[3].contains("last-event-id: 7") && heads[3].contains("x-api-key: sk-canary"));
}

#[test]
fn audit_tail_tells_of_gaps_and_goes_on() {
    const GAPS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
        event: gap\ndata: {\"reason\":\"over\\u001b[31mtaken\"}\n\n\
        id: 8\ndata: {\"eventID\":\"e8\"}\n\nevent: gap\ndata: ?\n\n";
    const SILENT: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n:\n\n";
    let (url, heads) = gateway(&[GAPS, EVENTS, SILENT, REFUSED, SILENT, EVENTS, REFUSED]);
    let run = || {
        let program = Program::new().env("E2B_API_KEY", "k").env("COPPICE_URL", &url);
        program.run(&["audit", "tail", "--follow", "--json"])
    };
    let ended = run();
    let ids = |text: &str| -> Vec<String> {
        let events = text.lines().map(serde_json::from_str::<serde_json::Value>);
        events.map(|event| event.unwrap()["eventID"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&ended.out), ["e1", "e2", "e8"]);
    let said: Vec<_> = ended.err.lines().take(2).collect();
    assert_eq!(
        said,
        [
            "events may be missing here: over\u{fffd}[31mtaken",
            "events may be missing here: unknown"
        ]
    );
    // A stream that breaks off before it told anything goes on after what was listed.
    assert_eq!(ids(&run().out), ["e1", "e2"]);
    let heads = heads.join().unwrap();
    assert!(heads[2].contains("last-event-id: 8") && heads[3].contains("last-event-id: 8"));
    assert!(heads[6].contains("last-event-id: e2"), "{heads:#?}");
}

#[test]
fn audit_tail_ends_with_its_reader() {
    const ENDLESS: usize = 100_000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let asked = || {
            let (stream, _) = listener.accept().unwrap();
            Wire::over(stream.try_clone().unwrap()).until(b"\r\n\r\n");
            stream
        };
        let mut stream = asked();
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").unwrap();
        asked().write_all(EVENTS.as_bytes()).unwrap();
        (0..ENDLESS).all(|_| stream.write_all(b"data: {\"eventID\":\"e9\"}\n\n").is_ok())
    });
    let mut tail = Command::new(env!("CARGO_BIN_EXE_coppice-gateway"));
    tail.args(["audit", "tail", "--follow", "--token", "k", "--url", &url]);
    let mut child = tail.env_clear().stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let mut status = None;
    eventually("it ends", PATIENCE, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(0));
    assert!(!server.join().unwrap(), "it read to the end");
}
