//! Which connections an HTTP/2 upstream sees, and what it is called on them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http2 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::super::{Pool, build};
use super::*;
use crate::http1::Fields;

const LONG: Duration = Duration::from_secs(90);

/// An upstream that answers with the number of the connection and the URI of the request.
struct Upstream {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    /// Ends every connection that stands, gracefully.
    end: watch::Sender<()>,
}

async fn upstream(on: &str) -> Upstream {
    let listener = TcpListener::bind(on).await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted: Arc<AtomicUsize> = Arc::default();
    let (end, ending) = watch::channel(());
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let number = count.fetch_add(1, Ordering::Relaxed);
            let service = service_fn(move |request: Request<Incoming>| async move {
                let body = format!("{number} {}", request.uri());
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(body))))
            });
            let mut ending = ending.clone();
            ending.mark_unchanged();
            tokio::spawn(async move {
                let builder = server::Builder::new(TokioExecutor::new());
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                tokio::pin!(connection);
                tokio::select! {
                    _ended = connection.as_mut() => return,
                    _told = ending.changed() => connection.as_mut().graceful_shutdown(),
                }
                // What its client then sees is what the tests assert.
                let _ended = connection.await;
            });
        }
    });
    Upstream { address, accepted, end }
}

impl Upstream {
    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

fn pool(idle_timeout: Duration) -> Pool {
    build(&Settings { connect_timeout: Duration::from_secs(5), idle_timeout, http2: true })
}

fn address(to: SocketAddr) -> Address {
    Address::clear(to.to_string().parse().unwrap())
}

async fn ask(pool: &Pool, to: SocketAddr, host: Option<&str>) -> Result<String, SendError> {
    let mut request = Request::get("/x?y").body(Outgoing::none()).unwrap();
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host.parse().unwrap());
    }
    let (mut head, body) = request.into_parts();
    let body = pool
        .request(&address(to), &mut head, &Fields::default(), body)
        .await?
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

/// Waits until the pool knows that its connection has ended.
async fn until_closed(pool: &Pool, to: SocketAddr) {
    let connections = Arc::clone(&pool.http2.as_ref().unwrap().connections);
    let is_closed = || {
        let connections = connections.lock().unwrap();
        let (_, connection) = connections.iter().find(|(known, _)| *known == address(to)).unwrap();
        let Some(Ok(Spoken::Http2(sender))) = connection.opening.peek() else { return false };
        sender.is_closed()
    };
    while !is_closed() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn requests_under_many_names_share_a_connection() {
    let (upstream, pool) = (upstream("127.0.0.1:0").await, pool(LONG));
    let names: Vec<_> = (0..50).map(|number| format!("8080-i{number}.example")).collect();
    let asks = names.iter().map(|name| ask(&pool, upstream.address, Some(name)));
    for (name, answer) in names.iter().zip(join_all(asks).await) {
        assert_eq!(answer.unwrap(), format!("0 http://{name}/x?y"));
    }
    let unnamed = ask(&pool, upstream.address, None).await.unwrap();
    assert_eq!(unnamed, format!("0 http://{}/x?y", upstream.address));
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn one_name_at_two_addresses_is_two_places() {
    let pool = pool(LONG);
    let (one, other) = (upstream("127.0.0.1:0").await, upstream("127.0.0.1:0").await);
    for upstream in [&one, &other, &one] {
        let answer = ask(&pool, upstream.address, Some("same.example")).await.unwrap();
        assert_eq!(answer, "0 http://same.example/x?y");
    }
    assert_eq!((one.accepted(), other.accepted()), (1, 1));
}

#[tokio::test]
async fn a_connection_that_ended_is_replaced() {
    let (upstream, pool) = (upstream("127.0.0.1:0").await, pool(LONG));
    for number in 0..3 {
        let answer = ask(&pool, upstream.address, Some("a.example")).await.unwrap();
        assert_eq!(answer, format!("{number} http://a.example/x?y"));
        upstream.end.send(()).unwrap();
        until_closed(&pool, upstream.address).await;
    }
}

#[tokio::test]
async fn a_connection_that_was_idle_for_too_long_is_replaced() {
    let (upstream, pool) = (upstream("127.0.0.1:0").await, pool(Duration::ZERO));
    for number in 0..3 {
        let answer = ask(&pool, upstream.address, Some("a.example")).await.unwrap();
        assert_eq!(answer, format!("{number} http://a.example/x?y"));
    }
}

#[tokio::test]
async fn an_attempt_that_failed_is_not_remembered() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let pool = pool(LONG);
    for failed in join_all((0..3).map(|_| ask(&pool, address, None))).await {
        assert!(failed.unwrap_err().is_unsent());
    }
    let _upstream = upstream(&address.to_string()).await;
    assert_eq!(ask(&pool, address, None).await.unwrap(), format!("0 http://{address}/x?y"));
}

#[tokio::test]
async fn a_connection_is_opened_to_the_end_although_nobody_waits_any_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (pool, address) = (pool(LONG), listener.local_addr().unwrap());
    assert!(ask(&pool, address, None).now_or_never().is_none());
    let (stream, _) = listener.accept().await.unwrap();
    let mut preface = [0; 24];
    let read = tokio::time::timeout(LONG / 10, stream.peek(&mut preface));
    assert_eq!(read.await.unwrap().unwrap(), 24, "{preface:?}");
    tokio::spawn(async move {
        let service = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("the same one"))))
        });
        let builder = server::Builder::new(TokioExecutor::new());
        builder.serve_connection(TokioIo::new(stream), service).await
    });
    assert_eq!(ask(&pool, address, None).await.unwrap(), "the same one");
}

#[tokio::test]
async fn a_name_that_is_none_is_not_sent() {
    let (upstream, pool) = (upstream("127.0.0.1:0").await, pool(LONG));
    let failed = ask(&pool, upstream.address, Some("a b")).await.unwrap_err();
    assert!(matches!(failed, SendError::Connect(ConnectError::Unaddressed)), "{failed:?}");
    assert_eq!(upstream.accepted(), 0);
}
