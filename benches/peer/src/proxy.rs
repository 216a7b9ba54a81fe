//! `proxy`: the least that axum and hyper-util need to forward requests; what the gateway's own work comes on top of.
//!
//! One thread, one connection pool, no time limits, nothing stripped or added. With `--keys`, a file of SHA-256 digests
//! in hexadecimal digits, requests need one of those keys as `X-API-Key`. Upgrades become tunnels.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::UPGRADE;
use axum::http::uri::{Authority, Scheme};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::serve::ListenerExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sha2::{Digest as _, Sha256};
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;

use crate::Failure;
use crate::options::Options;

#[derive(Clone)]
struct Proxy {
    client: Client<HttpConnector, Body>,
    upstream: Authority,
    keys: Option<Arc<HashSet<[u8; 32]>>>,
}

/// Runs `proxy --listen ADDRESS --upstream HOST:PORT [--keys FILE]` until it is stopped.
///
/// # Errors
/// An address that can't be listened on, keys that can't be read.
pub fn run(options: &Options) -> Result<(), Failure> {
    let listen: SocketAddr = options.need("listen")?;
    let keys = options.maybe::<String>("keys")?.map(|path| read_keys(&path)).transpose()?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let proxy = Proxy { client, upstream: options.need("upstream")?, keys: keys.map(Arc::new) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?.tap_io(|stream| {
            // Without it answers are only later.
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, Router::new().fallback(forward).with_state(proxy)).await?;
        Ok(())
    })
}

fn read_keys(path: &str) -> Result<HashSet<[u8; 32]>, Failure> {
    let text = fs::read_to_string(path)?;
    let digest = |line: &str| -> Result<[u8; 32], Failure> {
        let mut digest = [0; 32];
        for (byte, number) in line.as_bytes().chunks(2).zip(&mut digest) {
            *number = u8::from_str_radix(std::str::from_utf8(byte)?, 16)?;
        }
        Ok(digest)
    };
    text.lines().map(digest).collect()
}

impl Proxy {
    fn knows(&self, request: &Request) -> bool {
        let Some(keys) = &self.keys else { return true };
        let key = request.headers().get("x-api-key");
        key.is_some_and(|key| keys.contains(&<[u8; 32]>::from(Sha256::digest(key.as_bytes()))))
    }

    async fn send(&self, mut request: Request) -> Result<Response, Failure> {
        let mut parts = request.uri().clone().into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.upstream.clone());
        *request.uri_mut() = Uri::from_parts(parts)?;
        if !request.headers().contains_key(UPGRADE) {
            return Ok(self.client.request(request).await?.map(Body::new));
        }
        let client = hyper::upgrade::on(&mut request);
        let mut answer = self.client.request(request).await?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let upstream = hyper::upgrade::on(&mut answer);
            tokio::spawn(async move {
                if let (Ok(client), Ok(upstream)) = (client.await, upstream.await) {
                    // Either side's end is the tunnel's.
                    let _ =
                        copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(upstream))
                            .await;
                }
            });
        }
        Ok(answer.map(Body::new))
    }
}

async fn forward(State(proxy): State<Proxy>, request: Request) -> Response {
    if !proxy.knows(&request) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match proxy.send(request).await {
        Ok(answer) => answer,
        Err(why) => (StatusCode::BAD_GATEWAY, why.to_string()).into_response(),
    }
}
