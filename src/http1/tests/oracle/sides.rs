//! Two clients of one upstream, and what they see.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::super::{Stage, head, none, whole};
use super::{Exchange, for_others};

/// What a client makes of an answer.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) told: Option<Told>,
    /// Whether it waited for more when all had been said.
    pub(super) waits: bool,
    /// Whether the connection can carry another request.
    pub(super) is_reusable: bool,
}

#[derive(PartialEq)]
pub(super) struct Told {
    pub(super) head: Head,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) ends_well: bool,
}

#[derive(PartialEq, Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) reason: Option<Vec<u8>>,
    pub(super) headers: HeaderMap,
}

/// One client.
pub(super) trait Side {
    /// Asks, and sees what comes of it.
    async fn ask(&mut self, exchange: &Exchange) -> JoinHandle<Option<Told>>;

    /// The upstream's end of the connection that was asked on.
    async fn accepted(&mut self) -> TcpStream;

    /// Whether it would use its connection again, after all that has happened until now.
    async fn is_ready(&mut self) -> bool;
}

/// What a client sees, request by request, for as long as it uses its connection again.
pub(super) async fn play(side: &mut impl Side, script: &[Exchange]) -> Vec<Seen> {
    let (mut all, mut kept) = (Vec::new(), None);
    for exchange in script {
        let asked = side.ask(exchange).await;
        let mut upstream = match kept.take() {
            Some(upstream) => upstream,
            None => side.accepted().await,
        };
        head(&mut upstream).await;
        if exchange.uploads {
            upstream.read_exact(&mut [0; 5]).await.unwrap();
        }
        let (mut rest, mut pieces) = (&exchange.answer[..], exchange.pieces.iter().cycle());
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
            // Whoever refuses an answer does not read the rest of it.
            if upstream.write_all(piece).await.is_err() {
                break;
            }
            rest = more;
            tokio::task::yield_now().await;
        }
        kept = (!exchange.closes).then_some(upstream);
        news_has_spread().await;
        let waits = !asked.is_finished();
        if waits {
            kept = None;
        }
        let told = tokio::time::timeout(Duration::from_secs(20), asked).await;
        let told = told.expect("the connection has ended, and so should the answer").unwrap();
        news_has_spread().await;
        let is_reusable = side.is_ready().await;
        all.push(Seen { told, waits, is_reusable });
        if !is_reusable || kept.is_none() {
            break;
        }
    }
    all
}

/// Ready when everybody on this runtime has heard of, and acted on, all that happened on its sockets until now.
async fn news_has_spread() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..3 {
        let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let ((mut accepted, _), mut dialled) = (accepted.unwrap(), dialled.unwrap());
        dialled.write_all(b"x").await.unwrap();
        accepted.read_u8().await.unwrap();
    }
}

/// This client.
pub(super) struct Ours(Stage);

impl Ours {
    pub(super) async fn new() -> Self {
        Self(Stage::new().await)
    }
}

impl Side for Ours {
    async fn ask(&mut self, exchange: &Exchange) -> JoinHandle<Option<Told>> {
        let body = if exchange.uploads { whole("hello") } else { none() };
        let asked = self.0.ask(exchange.method.clone(), body);
        tokio::spawn(async move { Some(told(asked.await.unwrap().ok()?).await) })
    }

    async fn accepted(&mut self) -> TcpStream {
        self.0.accept().await
    }

    async fn is_ready(&mut self) -> bool {
        self.0.would_use_one_again()
    }
}

/// Hyper's.
pub(super) struct Hypers {
    upstream: Option<TcpStream>,
    sender: SendRequest<Full<Bytes>>,
}

impl Hypers {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (upstream, _) = listener.accept().await.unwrap();
        let mut builder = Builder::new();
        // As many as there may be here; what is beyond is each client's own matter.
        builder.max_headers(256);
        let (sender, connection) = builder.handshake(TokioIo::new(dialled)).await.unwrap();
        tokio::spawn(connection);
        Self { upstream: Some(upstream), sender }
    }
}

impl Side for Hypers {
    async fn ask(&mut self, exchange: &Exchange) -> JoinHandle<Option<Told>> {
        let body = if exchange.uploads { "hello" } else { "" };
        let request = Request::builder().method(exchange.method.clone()).uri("/a?b");
        let request = request.header("host", "h").body(Full::from(body)).unwrap();
        let answer = self.sender.send_request(request);
        tokio::spawn(async move {
            let mut told = told(answer.await.ok()?).await;
            for_others(&mut told.head);
            Some(told)
        })
    }

    async fn accepted(&mut self) -> TcpStream {
        self.upstream.take().unwrap()
    }

    async fn is_ready(&mut self) -> bool {
        let ready = tokio::time::timeout(Duration::from_secs(20), self.sender.ready()).await;
        ready.expect("a connection is ready or closed when its answer has ended").is_ok()
    }
}

async fn told<B: Body<Data = Bytes, Error: fmt::Debug> + Unpin>(answer: Response<B>) -> Told {
    let (parts, mut body) = answer.into_parts();
    let reason = parts.extensions.get::<ReasonPhrase>().map(|reason| reason.as_bytes().to_vec());
    let head = Head {
        status: parts.status,
        version: parts.version,
        reason: reason.filter(|reason| !reason.is_empty()),
        headers: parts.headers,
    };
    let mut told = Told { head, body: Vec::new(), trailers: None, ends_well: true };
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => told.body.extend_from_slice(&data),
            Ok(Err(frame)) => told.trailers = frame.into_trailers().ok(),
            Err(_) => told.ends_well = false,
        }
    }
    told
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { head, body, trailers, ends_well } = self;
        write!(f, "{head:?}, \"{}\", {trailers:?}, ends well: {ends_well}", body.escape_ascii())
    }
}
