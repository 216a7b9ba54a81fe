//! Against an upstream that says exactly what a test tells it to, byte by byte.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Answer, Connector, Http1, SendError};

/// A client, and an upstream that accepts by hand.
struct Stage {
    client: Http1,
    listener: TcpListener,
}

type Sent = UnsyncBoxBody<Bytes, hyper::Error>;

fn none() -> Sent {
    whole("")
}

fn whole(text: impl Into<Bytes>) -> Sent {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

type Asked = tokio::task::JoinHandle<Result<Response<Answer>, SendError>>;

impl Stage {
    async fn new() -> Self {
        Self::with_idle_timeout(Duration::from_secs(50)).await
    }

    async fn with_idle_timeout(idle_timeout: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connector = Connector::new(Duration::from_secs(5));
        Self { client: Http1::new(connector, idle_timeout), listener }
    }

    fn ask(&self, method: Method, body: Sent) -> Asked {
        let uri = format!("http://{}/a?b", self.listener.local_addr().unwrap());
        let request = Request::builder().method(method).uri(uri).header("host", "h").body(body);
        let (head, body) = request.unwrap().into_parts();
        let client = self.client.clone();
        tokio::spawn(async move { client.request(&head, body).await })
    }

    fn get(&self) -> Asked {
        self.ask(Method::GET, none())
    }

    /// Ready when the runtime has heard of all that happened on its sockets until now.
    async fn news_has_spread(&self) {
        let address = self.listener.local_addr().unwrap();
        let (dialled, mut accepted) = tokio::join!(TcpStream::connect(address), self.accept());
        dialled.unwrap().write_all(b"x").await.unwrap();
        accepted.read_u8().await.unwrap();
    }

    async fn accept(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    fn waiting(&self) -> usize {
        let authority = self.listener.local_addr().unwrap().to_string().parse().unwrap();
        self.client.idle.count(&authority)
    }
}

async fn head(upstream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(upstream.read_u8().await.unwrap());
    }
    String::from_utf8(read).unwrap()
}

/// What a client makes of an answer, and whether the connection is kept.
#[derive(PartialEq, Eq, Debug)]
enum Seen {
    Whole(u16, String, bool),
    /// The head was good, the body was not.
    Broken(u16),
    Refused,
}

/// Sends `answer` in pieces of `piece` bytes and closes behind it if `close`.
async fn answered(method: Method, answer: &[u8], piece: usize, close: bool) -> Seen {
    let stage = Stage::new().await;
    let asked = stage.ask(method, none());
    let mut upstream = stage.accept().await;
    head(&mut upstream).await;
    for part in answer.chunks(piece) {
        // Whoever refuses an answer does not read the rest of it.
        if upstream.write_all(part).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let upstream = (!close).then_some(upstream);
    let what = match asked.await.unwrap() {
        Err(_) => Seen::Refused,
        Ok(answer) => {
            let status = answer.status().as_u16();
            match answer.into_body().collect().await {
                Err(_) => Seen::Broken(status),
                Ok(body) => {
                    let trailers = body.trailers().map(|trailers| format!("{trailers:?}"));
                    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                    let text = text + &trailers.unwrap_or_default();
                    Seen::Whole(status, text, stage.waiting() == 1)
                }
            }
        }
    };
    drop(upstream);
    what
}

fn seen(status: u16, text: &str, kept: bool) -> Seen {
    Seen::Whole(status, text.into(), kept)
}

#[tokio::test]
async fn answers_end_where_their_heads_say() {
    let get = Method::GET;
    for (method, answer, close, expected) in [
        (&get, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", false, seen(200, "hi", true)),
        (&get, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false, seen(200, "", true)),
        (&get, "HTTP/1.1 204 No Content\r\n\r\n", false, seen(204, "", true)),
        (
            &get,
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
            false,
            seen(304, "", true),
        ),
        (&Method::HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", false, seen(200, "", true)),
        (
            &Method::HEAD,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            false,
            seen(200, "", true),
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n1 ;x\r\n!\r\n0\r\n\r\n",
            false,
            seen(200, "hi!", true),
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-a: 1\r\n\r\n",
            false,
            seen(200, "hi{\"x-a\": \"1\"}", true),
        ),
        // With the connection, and not without it.
        (&get, "HTTP/1.1 200 OK\r\n\r\nhi", true, seen(200, "hi", false)),
        (&get, "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", false, seen(200, "hi", false)),
        (
            &get,
            "HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 2\r\n\r\nhi",
            false,
            seen(200, "hi", true),
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 2\r\n\r\nhi",
            false,
            seen(200, "hi", false),
        ),
        // What precedes the answer, and what follows it.
        (
            &get,
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
            false,
            seen(200, "x", true),
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n",
            false,
            seen(200, "hi", false),
        ),
        // Two statements about the length.
        (
            &get,
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nhi",
            false,
            seen(200, "hi", true),
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            false,
            seen(200, "hi", false),
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi",
            true,
            Seen::Refused,
        ),
        (&get, "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nhi", true, Seen::Refused),
        (&get, "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nhi", true, Seen::Refused),
        (&get, "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\nhi", true, Seen::Refused),
        (
            &get,
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nhi",
            true,
            Seen::Refused,
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            true,
            Seen::Refused,
        ),
        (
            &get,
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            true,
            Seen::Refused,
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            true,
            Seen::Refused,
        ),
        // No HTTP/1.1 at all.
        (&get, "HTTP/2.0 200 OK\r\n\r\n", true, Seen::Refused),
        (&get, "HTTP/1.1 99 No\r\n\r\n", true, Seen::Refused),
        (&get, "HTTP/1.1 200 OK\r\n a: b\r\n\r\n", true, Seen::Refused),
        (&get, "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", true, Seen::Refused),
        (&get, "HTTP/1.1 200 OK\r\na b\r\n\r\n", true, Seen::Refused),
        (&get, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", true, Seen::Refused),
        (&get, "", true, Seen::Refused),
        // Bodies that end too early, or never should have begun.
        (&get, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi", true, Seen::Broken(200)),
        (
            &get,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n",
            true,
            Seen::Broken(200),
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhiX",
            true,
            Seen::Broken(200),
        ),
        (&get, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx", true, Seen::Broken(200)),
    ] {
        for piece in [1, 7, usize::MAX] {
            let got = answered(method.clone(), answer.as_bytes(), piece, close).await;
            assert_eq!(got, expected, "{method} {answer:?} by {piece}");
        }
    }
}

#[tokio::test]
async fn a_head_without_end_is_given_up() {
    let endless = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(200 * 1024));
    assert_eq!(answered(Method::GET, endless.as_bytes(), 9000, false).await, Seen::Refused);
    let lines = |count: usize| {
        let lines: String = (0..count).map(|n| format!("x-{n}: 1\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{lines}content-length: 0\r\n\r\n")
    };
    let many = answered(Method::GET, lines(255).as_bytes(), usize::MAX, false).await;
    assert_eq!(many, seen(200, "", true));
    let too_many = answered(Method::GET, lines(256).as_bytes(), usize::MAX, true).await;
    assert_eq!(too_many, Seen::Refused);
}

#[tokio::test]
async fn requests_say_how_long_they_are() {
    for (method, body, expected) in [
        (Method::GET, none(), "GET /a?b HTTP/1.1\r\nhost: h\r\n\r\n"),
        (Method::DELETE, none(), "DELETE /a?b HTTP/1.1\r\nhost: h\r\n\r\n"),
        (Method::POST, none(), "POST /a?b HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n"),
        (
            Method::POST,
            whole("hello"),
            "POST /a?b HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\n",
        ),
        (Method::GET, whole(""), "GET /a?b HTTP/1.1\r\nhost: h\r\n\r\n"),
    ] {
        let stage = Stage::new().await;
        let asked = stage.ask(method, body);
        let mut upstream = stage.accept().await;
        assert_eq!(head(&mut upstream).await, expected);
        if expected.contains(": 5") {
            let mut body = [0; 5];
            upstream.read_exact(&mut body).await.unwrap();
            assert_eq!(&body, b"hello");
        }
        upstream.write_all(b"HTTP/1.1 204 x\r\n\r\n").await.unwrap();
        assert_eq!(asked.await.unwrap().unwrap().status(), StatusCode::NO_CONTENT);
        assert_eq!(stage.waiting(), 1);
    }
}

#[tokio::test]
async fn an_unusual_reason_is_passed_on() {
    let stage = Stage::new().await;
    let asked = stage.get();
    let mut upstream = stage.accept().await;
    head(&mut upstream).await;
    upstream.write_all(b"HTTP/1.1 404 Sandbox Gone\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let answer = asked.await.unwrap().unwrap();
    let reason = answer.extensions().get::<hyper::ext::ReasonPhrase>().unwrap();
    assert_eq!(reason.as_bytes(), b"Sandbox Gone");
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

async fn read(answer: Response<Answer>) -> Bytes {
    answer.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_connection_is_used_again_and_only_for_one_request_at_a_time() {
    let stage = Stage::new().await;
    let asked = stage.get();
    let mut first = stage.accept().await;
    head(&mut first).await;
    first.write_all(OK).await.unwrap();
    let answer = asked.await.unwrap().unwrap();
    // Its answer has not been read: the next request gets another connection.
    let asked = stage.get();
    let mut second = stage.accept().await;
    head(&mut second).await;
    second.write_all(OK).await.unwrap();
    assert_eq!(read(asked.await.unwrap().unwrap()).await, "hi");
    assert_eq!(read(answer).await, "hi");
    assert_eq!(stage.waiting(), 2);
    // The one that was used last goes first.
    let asked = stage.get();
    head(&mut first).await;
    first.write_all(OK).await.unwrap();
    assert_eq!(read(asked.await.unwrap().unwrap()).await, "hi");
}

#[tokio::test]
async fn a_connection_that_ended_meanwhile_is_not_used() {
    for last_words in [&b""[..], b"HTTP/1.1 408 Request Timeout\r\n\r\n"] {
        let stage = Stage::new().await;
        let asked = stage.get();
        let mut upstream = stage.accept().await;
        head(&mut upstream).await;
        upstream.write_all(OK).await.unwrap();
        assert_eq!(read(asked.await.unwrap().unwrap()).await, "hi");
        assert_eq!(stage.waiting(), 1);
        upstream.write_all(last_words).await.unwrap();
        drop(upstream);
        stage.news_has_spread().await;
        let asked = stage.ask(Method::POST, whole("once"));
        let mut next = stage.accept().await;
        head(&mut next).await;
        next.write_all(OK).await.unwrap();
        assert_eq!(read(asked.await.unwrap().unwrap()).await, "hi");
    }
}

#[tokio::test]
async fn what_may_have_been_acted_on_is_not_sent_again() {
    let stage = Stage::new().await;
    let asked = stage.get();
    let mut upstream = stage.accept().await;
    head(&mut upstream).await;
    upstream.write_all(OK).await.unwrap();
    read(asked.await.unwrap().unwrap()).await;
    let asked = stage.get();
    head(&mut upstream).await;
    drop(upstream);
    let failed = asked.await.unwrap().unwrap_err();
    assert!(matches!(&failed, SendError::Unanswered(_)));
    assert!(!failed.is_unsent());
}

#[tokio::test(start_paused = true)]
async fn waiting_connections_are_closed_in_time() {
    let stage = Stage::with_idle_timeout(Duration::from_secs(10)).await;
    let asked = stage.get();
    let mut upstream = stage.accept().await;
    head(&mut upstream).await;
    upstream.write_all(OK).await.unwrap();
    read(asked.await.unwrap().unwrap()).await;
    tokio::time::sleep(Duration::from_millis(8_500)).await;
    assert_eq!(stage.waiting(), 1);
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    assert_eq!(stage.waiting(), 0);
    assert_eq!(upstream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn giving_up_closes_the_connection() {
    let stage = Stage::new().await;
    let asked = stage.get();
    let mut upstream = stage.accept().await;
    head(&mut upstream).await;
    asked.abort();
    assert_eq!(upstream.read(&mut [0]).await.unwrap(), 0);

    let asked = stage.get();
    let mut upstream = stage.accept().await;
    head(&mut upstream).await;
    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi").await.unwrap();
    drop(asked.await.unwrap().unwrap());
    assert_eq!(upstream.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(stage.waiting(), 0);
}

#[tokio::test]
async fn an_early_answer_ends_no_upload_and_keeps_no_connection() {
    let stage = Stage::new().await;
    let size = 32 << 20;
    let asked = stage.ask(Method::PUT, whole(vec![b'x'; size]));
    let mut upstream = stage.accept().await;
    head(&mut upstream).await;
    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nh").await.unwrap();
    let answer = asked.await.unwrap().unwrap();
    // Nobody reads the answer, and yet all of the request arrives.
    let mut received = vec![0; size];
    upstream.read_exact(&mut received).await.unwrap();
    // The end of the request is not the end of the connection.
    stage.news_has_spread().await;
    let heard = upstream.try_read(&mut [0]);
    assert_eq!(heard.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    upstream.write_all(b"i").await.unwrap();
    assert_eq!(read(answer).await, "hi");
    assert_eq!(stage.waiting(), 0);
    assert_eq!(upstream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn an_upstream_that_reads_no_further_is_heard() {
    let stage = Stage::new().await;
    let asked = stage.ask(Method::PUT, whole(vec![b'x'; 32 << 20]));
    let mut upstream = stage.accept().await;
    head(&mut upstream).await;
    upstream.write_all(b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
    let answer = asked.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(read(answer).await, "no");
}

#[tokio::test]
async fn a_switch_hands_over_the_connection_with_what_was_said() {
    let stage = Stage::new().await;
    let asked = stage.get();
    let mut upstream = stage.accept().await;
    head(&mut upstream).await;
    upstream
        .write_all(b"HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: tcp\r\n\r\nfirst")
        .await
        .unwrap();
    let answer = asked.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    let (mut stream, said) = answer.into_body().into_switched().unwrap().into_stream().unwrap();
    assert!(b"first".starts_with(&said));
    let mut rest = vec![0; 5 - said.len()];
    stream.read_exact(&mut rest).await.unwrap();
    stream.write_all(b"back").await.unwrap();
    let mut back = [0; 4];
    upstream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"back");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However an answer is cut into chunks, and the chunks into packets, its content is the same.
    #[test]
    fn chunks_come_out_as_they_went_in(
        chunks in proptest::collection::vec("[a-z\r\n]{1,40}", 0..8),
        piece in 1_usize..64,
    ) {
        let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for chunk in &chunks {
            answer.extend_from_slice(format!("{:X}\r\n{chunk}\r\n", chunk.len()).as_bytes());
        }
        answer.extend_from_slice(b"0\r\n\r\n");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let got = runtime.block_on(answered(Method::GET, &answer, piece, false));
        prop_assert_eq!(got, seen(200, &chunks.concat(), true));
    }

    /// Whatever an upstream says, it is understood or refused.
    #[test]
    fn nothing_that_is_said_is_fatal(said in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut answer = b"HTTP/1.1 200 OK\r\n".to_vec();
        answer.extend_from_slice(&said);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(answered(Method::GET, &answer, usize::MAX, true));
    }
}
