//! Against an upstream that says exactly what a test tells it to, byte by byte.

mod framing;
mod oracle;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Address, Answer, Connector, Fields, Http1, SendError};

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
        let request = Request::builder().method(method).uri("/a?b").header("host", "h").body(body);
        let (head, body) = request.unwrap().into_parts();
        let (client, to) = (self.client.clone(), self.address());
        tokio::spawn(async move { client.request(&to, &head, &Fields::default(), body).await })
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
        self.client.idle.count(&self.address())
    }

    /// Whether a request would be sent on a connection that was used before.
    fn would_use_one_again(&self) -> bool {
        let (place, kept) = self.client.idle.take(&self.address());
        kept.map(|connection| self.client.idle.put(place, connection)).is_some()
    }

    fn address(&self) -> Address {
        Address::clear(self.listener.local_addr().unwrap().to_string().parse().unwrap())
    }
}

async fn head(upstream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(upstream.read_u8().await.unwrap());
    }
    String::from_utf8(read).unwrap()
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
    assert!(matches!(&failed, SendError::Crossed(_)), "{failed:?}");
    assert!(!failed.is_unsent());
}

#[tokio::test]
async fn only_a_kept_connection_that_says_nothing_has_crossed() {
    // What it said before, and what it says before it ends.
    for (before, last_words) in [(&b""[..], &b""[..]), (OK, b"HTTP/1.1 200 OK\r\n"), (OK, b"?")] {
        let stage = Stage::new().await;
        let mut asked = stage.get();
        let mut upstream = stage.accept().await;
        head(&mut upstream).await;
        if !before.is_empty() {
            upstream.write_all(before).await.unwrap();
            read(asked.await.unwrap().unwrap()).await;
            asked = stage.get();
            head(&mut upstream).await;
        }
        upstream.write_all(last_words).await.unwrap();
        drop(upstream);
        let failed = asked.await.unwrap().unwrap_err();
        assert!(matches!(&failed, SendError::Unanswered(_)), "{failed:?}");
        assert!(!failed.is_unsent());
    }
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
