//! Calls through TLS, with the gateway's own certificate where the service wants one.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Response};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, Url};

use super::told::Told;
use super::{Failure, IDLE, cause};
use crate::callback::settings::{Settings, provide_cryptography};

/// Where the service is, and the connections to it.
pub(super) struct Tls {
    client: Client,
    url: Url,
    /// Whether the last call was answered, so that there may be connections that were kept.
    answered: AtomicBool,
}

impl Tls {
    pub(super) fn new(settings: &Settings) -> io::Result<Self> {
        provide_cryptography();
        let builder = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .pool_idle_timeout(IDLE)
            .connect_timeout(settings.connect_timeout)
            .tls_certs_merge(settings.tls.authorities().iter().cloned());
        let builder = match settings.tls.identity() {
            Some(identity) => builder.identity(identity.clone()),
            None => builder,
        };
        let client = builder.build().map_err(|error| io::Error::other(failed(&error)))?;
        let url = settings.url.expose().clone();
        Ok(Self { client, url, answered: AtomicBool::default() })
    }

    /// Puts the question. Once more if the connection ended under it and may be an old one: see `plain`. Of a service
    /// that fails every time, only the first failure is repeated.
    pub(super) async fn post(&self, told: &Told) -> Result<Response<Body>, Failure> {
        let mut headers = told.headers();
        // The client leaves it out where there is no body, and then some servers answer 411.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
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
        sent.map(Response::from).map_err(|error| Failure::Transport(failed(&error)))
    }
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

/// What went wrong. Without an inner cause there is nothing but the address to be told.
fn failed(error: &reqwest::Error) -> String {
    error.source().map_or_else(|| "the request could not be made".to_owned(), cause)
}
