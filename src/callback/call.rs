//! One call to the service, from the connection to the head of the answer.
//!
//! Never redirected, never through a proxy of the environment; sent again only where it crossed with the end of a kept
//! connection. What goes wrong is told in words that hold neither the address nor a header.

use std::error::Error;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;

use super::question::Question;
use super::settings::{Settings, provide_cryptography};
use crate::credential::{Kind, X_API_KEY};

const PATH: HeaderName = HeaderName::from_static("x-request-path");
const METHOD: HeaderName = HeaderName::from_static("x-request-method");
const HOST: HeaderName = HeaderName::from_static("x-request-host");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CLIENT: HeaderName = HeaderName::from_static("x-request-ip");

/// Longest head read, in bytes of names and values.
const MAX_HEAD: usize = 64 << 10;
/// How long a connection waits to be used again. Common servers close theirs after five seconds, and no question should
/// cross with that.
const IDLE: Duration = Duration::from_secs(4);
/// Most of a body that is read so that its connection can be used again, in bytes.
const MAX_DRAIN: usize = 64 << 10;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// Bodies that are drained at once. Of any more the connection is closed.
pub(super) const DRAINS: usize = 64;

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

/// Why there is no answer. Holds neither the address nor a header.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// No head in time.
    #[error("no answer in time")]
    Timeout,
    /// Refused, reset, not to be found, not to be trusted, or not HTTP.
    #[error("{0}")]
    Transport(String),
    /// More than 64 KiB of names and values.
    #[error("the head of the answer is too large")]
    HeadTooLarge,
    /// The request has a path that no header can carry.
    #[error("the request cannot be described in headers")]
    Unsendable,
}

/// Whatever makes calls.
pub(super) trait Ask: Clone + Send + Sync + 'static {
    /// Makes one, with these headers.
    fn call(&self, headers: HeaderMap) -> impl Future<Output = Result<Head, Failure>> + Send;
}

/// One worker's own connections to the service. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct Line {
    client: Client,
    url: Url,
    drains: Arc<Semaphore>,
    /// Whether the last call was answered, so that there may be connections that were kept.
    answered: Arc<AtomicBool>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
}

impl Line {
    pub(super) fn new(settings: &Settings, drains: &Arc<Semaphore>) -> io::Result<Self> {
        let builder = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .pool_idle_timeout(IDLE)
            .connect_timeout(settings.connect_timeout);
        let url = settings.url.expose().clone();
        let builder = if url.scheme() == "https" {
            provide_cryptography();
            let builder = builder.tls_certs_merge(settings.tls.authorities().iter().cloned());
            match settings.tls.identity() {
                Some(identity) => builder.identity(identity.clone()),
                None => builder,
            }
        } else {
            // Reading the system's certificates takes longer than all else of a start, for nothing.
            builder.tls_backend_preconfigured(trusting_nobody()?)
        };
        let client = builder.build().map_err(|error| io::Error::other(cause(&error)))?;
        Ok(Self { client, url, drains: Arc::clone(drains), answered: Arc::default() })
    }

    /// Puts the question. Once more if the connection ended under it and may be an old one, which the service may close
    /// at any moment: it then has most likely not seen the question, and to see it twice changes nothing. Of a service
    /// that fails every time, only the first failure is repeated.
    async fn put(&self, headers: HeaderMap) -> Result<Response, reqwest::Error> {
        let post = |headers| self.client.post(self.url.clone()).headers(headers).send();
        let may_be_old = self.answered.load(Ordering::Relaxed);
        let again = may_be_old.then(|| headers.clone());
        let mut sent = post(headers).await;
        if let (Err(error), Some(headers)) = (&sent, again)
            && has_ended(error)
        {
            sent = post(headers).await;
        }
        self.answered.store(sent.is_ok(), Ordering::Relaxed);
        sent
    }

    /// Sees to it that the connection can be used again, without anybody waiting for that.
    fn drain(&self, response: Response) {
        // Nothing to read, or nothing that is worth it.
        if response.content_length().is_some_and(|length| length == 0 || length > MAX_DRAIN as u64)
        {
            return;
        }
        let Ok(place) = Arc::clone(&self.drains).try_acquire_owned() else { return };
        tokio::spawn(async move {
            // Whichever way it ends, dropping the answer is all there is to do.
            let _ = tokio::time::timeout(DRAIN_TIME, read_away(response)).await;
            drop(place);
        });
    }
}

fn trusting_nobody() -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

async fn read_away(mut response: Response) {
    let mut length = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        length += chunk.len();
        if length > MAX_DRAIN {
            return;
        }
    }
}

impl Ask for Line {
    async fn call(&self, headers: HeaderMap) -> Result<Head, Failure> {
        let sent = self.put(headers).await;
        let mut response = sent.map_err(|error| Failure::Transport(cause(&error)))?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let size: usize =
            headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if size > MAX_HEAD {
            return Err(Failure::HeadTooLarge);
        }
        self.drain(response);
        Ok(Head { status, headers })
    }
}

/// What the service is told.
pub(super) fn headers(question: &Question<'_>) -> Result<HeaderMap, Failure> {
    let Question { credential, method, path, host, request_id, client } = question;
    let value = |text: &[u8]| HeaderValue::from_bytes(text).map_err(|_| Failure::Unsendable);
    let text = credential.expose();
    let (name, mut secret) = match credential.kind {
        Kind::Bearer => (AUTHORIZATION, value(format!("Bearer {text}").as_bytes())?),
        Kind::ApiKey => (X_API_KEY, value(text.as_bytes())?),
    };
    secret.set_sensitive(true);
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(name, secret);
    // The client leaves it out where there is no body, and then some servers answer 411.
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.insert(PATH, value(path.as_bytes())?);
    headers.insert(METHOD, value(method.as_str().as_bytes())?);
    headers.insert(REQUEST_ID, (*request_id).clone());
    if let Some(host) = host {
        headers.insert(HOST, value(host.as_bytes())?);
    }
    if let Some(client) = client {
        headers.insert(CLIENT, value(client.to_canonical().to_string().as_bytes())?);
    }
    Ok(headers)
}

/// Whether a connection ended that had been there.
fn has_ended(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let ended = |cause: &(dyn Error + 'static)| {
        let closed = cause.downcast_ref().is_some_and(hyper::Error::is_incomplete_message);
        let broken = cause.downcast_ref().is_some_and(|error: &io::Error| {
            matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof
            )
        });
        closed || broken
    };
    !error.is_connect() && causes.into_iter().any(ended)
}

/// The innermost cause, which is what a person can act upon; the outer ones quote the whole address.
fn cause(error: &reqwest::Error) -> String {
    let Some(mut cause) = error.source() else {
        return "the request could not be made".to_owned();
    };
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
