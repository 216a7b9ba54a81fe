//! What goes over the wire, against a server that says exactly what it is told to.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderValue, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::callback::asking::tests::stage::settings;
use crate::callback::freshness::Freshness;
use crate::callback::{Callback, CallbackUrl, Question};
use crate::credential::{Credential, Kind};

/// A server that answers every request with `answer`, and hands out the heads that it read, each with the number of its
/// connection.
async fn serve(
    answer: impl Into<Vec<u8>>,
) -> (SocketAddr, mpsc::UnboundedReceiver<(usize, String)>) {
    let answer: Vec<u8> = answer.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, read) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            number += 1;
            let (answer, heads) = (answer.clone(), heads.clone());
            tokio::spawn(async move {
                while let Some(head) = head(&mut stream).await {
                    heads.send((number, head)).ok();
                    if answer.is_empty() || stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, read)
}

async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(read).ok()
}

fn line(url: &str) -> Line {
    let settings = Settings { url: CallbackUrl::parse(url).unwrap(), ..settings() };
    Callback::new(settings).unwrap().line().unwrap()
}

fn asked<T>(kind: Kind, client: Option<IpAddr>, then: impl FnOnce(&Question<'_>) -> T) -> T {
    let id = HeaderValue::from_static("r-1");
    then(&Question {
        credential: Credential::new(kind, "canary-1"),
        method: &Method::DELETE,
        path: "/sandboxes/..%2fi1",
        host: client.map(|_| "api.test:3000"),
        request_id: &id,
        client,
    })
}

fn told(kind: Kind, client: Option<IpAddr>) -> Told {
    asked(kind, client, |question| Told::of(question).unwrap())
}

async fn call(answer: impl Into<Vec<u8>>) -> Result<Head, Failure> {
    let (address, _heads) = serve(answer).await;
    line(&format!("http://{address}/verify")).call(&told(Kind::Bearer, None)).await
}

#[tokio::test]
async fn the_service_is_told_exactly_this() {
    let (address, mut heads) = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let line = line(&format!("http://user:pw@{address}/verify?tok=1"));
    let client = "::ffff:192.0.2.7".parse().ok();
    for (kind, client, credential, more) in [
        (
            Kind::Bearer,
            client,
            "authorization: Bearer canary-1",
            vec!["x-request-host: api.test:3000", "x-request-ip: 192.0.2.7"],
        ),
        (Kind::ApiKey, None, "x-api-key: canary-1", vec![]),
    ] {
        line.call(&told(kind, client)).await.unwrap();
        let (connection, head) = heads.recv().await.unwrap();
        let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
        let host = format!("host: {address}");
        let mut expected = vec![
            "POST /verify?tok=1 HTTP/1.1",
            "accept: */*",
            "content-length: 0",
            "x-request-id: r-1",
            "x-request-method: DELETE",
            "x-request-path: /sandboxes/..%2fi1",
            credential,
            &host,
        ];
        expected.extend(more);
        lines.sort_unstable();
        expected.sort_unstable();
        assert_eq!((connection, lines), (1, expected));
    }
}

#[test]
fn nothing_that_would_end_a_line_is_sent() {
    let id = HeaderValue::from_static("r");
    let ask = |credential, path, host| {
        let credential = Credential::new(Kind::ApiKey, credential);
        let (method, request_id, client) = (&Method::GET, &id, None);
        let question = Question { credential, method, path, host: Some(host), request_id, client };
        Told::of(&question).map(|_| ())
    };
    assert_eq!(ask("k", "/", "h"), Ok(()));
    for bad in ["\r\nx-request-ip: 127.0.0.1", "\n", "a\rb", "\0", "\x7f"] {
        for asked in [ask(bad, "/", "h"), ask("k", bad, "h"), ask("k", "/", bad)] {
            assert_eq!(asked, Err(Failure::Unsendable), "{bad:?}");
        }
    }
}

#[tokio::test]
async fn redirects_are_answers() {
    let (elsewhere, mut heads) = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    for status in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} X\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n"
        );
        assert_eq!(call(answer).await.unwrap().status, status);
    }
    assert!(heads.try_recv().is_err());
}

/// Whom an answer names.
fn tenant(head: Head) -> String {
    head.said.described.identity(&settings().default).unwrap().tenant.to_string()
}

#[tokio::test]
async fn an_answer_that_says_something_and_takes_it_back_is_worthless() {
    let said = |listed: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nX-AUTH-Tenant: a\r\nx-auth-user: u\r\nx-auth-scopes: read\r\n\
             x-auth-max-sandboxes: 1\r\nx-auth-expires: 2027-01-01T00:00:00Z\r\n\
             cache-control: max-age=9\r\nconnection: {listed}\r\ncontent-length: 0\r\n\r\n"
        )
    };
    for listed in ["close", "x-other, Retry-After"] {
        assert_eq!(tenant(call(said(listed)).await.unwrap()), "a");
    }
    // To go on without it would give all scopes, no limit and no end to whom they were not given.
    for part in ["Tenant", "user", "SCOPES", "max-sandboxes", "expires"] {
        let head = call(said(&format!("close, X-Auth-{part}"))).await.unwrap();
        let refused = head.said.described.identity(&settings().default);
        assert!(refused.is_err(), "{part}");
    }
    let head = call(said("cache-control")).await.unwrap();
    assert_eq!(head.said.freshness, Freshness::Never);
    // What was never said cannot be taken back.
    let answer =
        "HTTP/1.1 200 OK\r\nconnection: x-auth-tenant, cache-control\r\ncontent-length: 0\r\n\r\n";
    let head = call(answer).await.unwrap();
    assert_eq!(head.said.freshness, Freshness::Unsaid);
    assert_eq!(tenant(head), "callback");
}

#[tokio::test]
async fn what_comes_before_the_answer_is_not_the_answer() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nx-auth-tenant: a\r\n\r\n\
                  HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n";
    let head = call(answer).await.unwrap();
    assert_eq!(head.status, StatusCode::FORBIDDEN);
    assert_eq!(tenant(head), "callback");
    let switched = call("HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").await;
    assert_ne!(switched.map(|head| head.status), Ok(StatusCode::OK));
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.status == other.status
    }
}

#[tokio::test]
async fn what_is_no_answer_is_a_failure_without_the_address() {
    let large =
        format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "a".repeat(65_536));
    let larger = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(600_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(1000));
    for answer in [large, larger] {
        assert_eq!(call(answer).await, Err(Failure::HeadTooLarge));
    }
    for answer in ["", "SSH-2.0-x\r\n", "HTTP/1.1 2000 OK\r\n\r\n", &many] {
        let failure = call(answer).await.unwrap_err();
        assert!(matches!(failure, Failure::Transport(_)), "{answer:.20} {failure:?}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for url in [
        format!("http://canary:canary@{closed}/canary?canary"),
        "http://canary.invalid/canary?canary".to_owned(),
        format!("https://{}/canary", serve("HTTP/1.1 200 OK\r\n\r\n").await.0),
    ] {
        let failure = line(&url).call(&told(Kind::Bearer, None)).await.unwrap_err();
        let shown = format!("{failure} {failure:?}");
        assert!(!shown.contains("canary") && !shown.contains("127.0.0.1"), "{shown}");
        assert!(matches!(failure, Failure::Transport(_)), "{shown}");
    }
}

/// A server that answers the first question on each of the first connections, and ends all at the next, with a reset or
/// without. Hands out the number of each question's connection.
async fn forgetful(good: usize, resets: bool) -> (SocketAddr, mpsc::UnboundedReceiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (numbers, read) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for number in 1.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            if number <= good && head(&mut stream).await.is_some() {
                numbers.send(number).ok();
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
            if head(&mut stream).await.is_some() {
                numbers.send(number).ok();
            }
            if resets {
                let at_once = Some(std::time::Duration::ZERO);
                socket2::SockRef::from(&stream).set_linger(at_once).unwrap();
            }
        }
    });
    (address, read)
}

#[tokio::test]
async fn a_question_that_crosses_with_the_end_of_its_connection_is_put_again() {
    for resets in [false, true] {
        let (address, mut numbers) = forgetful(3, resets).await;
        let line = line(&format!("http://{address}/"));
        for _ in 0..3 {
            let answer = line.call(&told(Kind::Bearer, None)).await.unwrap();
            assert_eq!(answer.status, StatusCode::OK);
            // The pool takes the connection back in a task of its own.
            tokio::task::yield_now().await;
        }
        // Old and new connection both failed; from then on once is enough.
        for _ in 0..3 {
            let failed = line.call(&told(Kind::Bearer, None)).await;
            assert!(matches!(failed, Err(Failure::Transport(_))), "{failed:?}");
        }
        numbers.close();
        let mut seen = Vec::new();
        while let Some(number) = numbers.recv().await {
            seen.push(number);
        }
        assert_eq!(seen, [1, 1, 2, 2, 3, 3, 4, 5, 6]);
    }
}

#[tokio::test]
async fn small_bodies_are_drained_and_their_connections_used_again() {
    let body = "a".repeat(1000);
    let (address, mut heads) =
        serve(format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{body}")).await;
    let settings =
        Settings { url: CallbackUrl::parse(&format!("http://{address}/")).unwrap(), ..settings() };
    let callback = Callback::new(settings).unwrap();
    let line = callback.line().unwrap();
    let every = u32::try_from(DRAINS).unwrap();
    for _ in 0..3 {
        line.call(&told(Kind::ApiKey, None)).await.unwrap();
        // All places are free again once it is drained.
        drop(callback.drains.acquire_many(every).await.unwrap());
        // The pool takes the connection back in a task of its own.
        tokio::task::yield_now().await;
        assert_eq!(heads.recv().await.unwrap().0, 1);
    }
}

#[tokio::test]
async fn an_endless_body_costs_its_connection_and_nobody_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        let chunk = format!("1000\r\n{}\r\n", "a".repeat(0x1000));
        let mut sent = 0_usize;
        while stream.write_all(chunk.as_bytes()).await.is_ok() {
            sent += 0x1000;
        }
        sent
    });
    let answer = line(&format!("http://{address}/")).call(&told(Kind::Bearer, None)).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    // It ends at all, after what fits into the buffers in between.
    assert!(served.await.unwrap() < 64 << 20);
}

#[tokio::test]
async fn a_probe_says_what_it_saw() {
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", StatusCode::OK),
        ("HTTP/1.1 302 X\r\ncontent-length: 0\r\n\r\n", StatusCode::FOUND),
    ] {
        let (address, _heads) = serve(answer).await;
        let url = CallbackUrl::parse(&format!("http://{address}/")).unwrap();
        let callback = Callback::new(Settings { url, ..settings() }).unwrap();
        let line = callback.line().unwrap();
        let id = HeaderValue::from_static("r");
        let question = Question {
            credential: Credential::new(Kind::Bearer, "canary"),
            method: &Method::GET,
            path: "/",
            host: None,
            request_id: &id,
            client: None,
        };
        assert_eq!(callback.probe(&line, &question).await, Ok(status));
    }
}

#[test]
fn nothing_prints_a_secret() {
    let settings = Settings {
        url: CallbackUrl::parse("http://canary:canary@127.0.0.1:1/?canary").unwrap(),
        ..settings()
    };
    let callback = Callback::new(settings).unwrap();
    let shown = format!("{callback:?} {:?} {:?}", callback.line(), told(Kind::Bearer, None));
    assert!(!shown.contains("canary"), "{shown}");
}
