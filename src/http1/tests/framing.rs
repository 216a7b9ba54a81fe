//! Where answers end, and which are none.

use bytes::BytesMut;
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;

use super::{Stage, head, none};

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

#[test]
fn what_is_for_this_hop_alone_ends_here() {
    let names = |answer: &str| {
        let read = crate::http1::head::read(&mut BytesMut::from(answer), &Method::GET);
        let headers: HeaderMap = read.unwrap().unwrap().fields;
        let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    let answer = "HTTP/1.1 200 OK\r\nx-own: 1\r\nConnection: close, X-Own\r\nKeep-Alive: x\r\ndate: x\r\n\
        connection: x-too\r\nTE: x\r\nUpgrade: x\r\nproxy-connection: x\r\nTransfer-Encoding: chunked\r\n\
        X-Other: 1\r\nx-too: 1\r\ncontent-length: 5\r\n\r\n";
    assert_eq!(names(answer), ["date", "x-other"]);
    // A switch is told of in such fields.
    let answer = "HTTP/1.1 101 Switching\r\nconnection: upgrade, x\r\nupgrade: y\r\nx: 1\r\n\r\n";
    assert_eq!(names(answer), ["connection", "upgrade", "x"]);
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
        // Longer than anything is.
        (
            &get,
            "HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775808\r\n\r\nhi",
            true,
            Seen::Refused,
        ),
        // What is no text promises nothing, and forbids nothing else.
        (
            &get,
            "HTTP/1.0 200 OK\r\nconnection: keep-alive, \u{fc}\r\ncontent-length: 2\r\n\r\nhi",
            false,
            seen(200, "hi", false),
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\nconnection: close, \u{fc}\r\ncontent-length: 2\r\n\r\nhi",
            false,
            seen(200, "hi", false),
        ),
        // No head before the answer has a body, whatever it says.
        (
            &get,
            "HTTP/1.1 103 Early Hints\r\ncontent-length: x\r\n\r\n\
             HTTP/1.0 100 Continue\r\ntransfer-encoding: chunked\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            false,
            seen(200, "hi", true),
        ),
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
