//! Calls in clear, over connections of the worker's own.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::combinators::MapErr;
use http_body_util::{BodyExt as _, Empty};

use super::{Failure, IDLE, cause};
use crate::callback::settings::Settings;
use crate::http1::{Answer, Connector, Fault, Http1, SendError};

/// Where the service is, and the connections to it.
pub(super) struct Plain {
    client: Http1,
    uri: Uri,
    host: HeaderValue,
}

impl Plain {
    pub(super) fn new(settings: &Settings) -> io::Result<Self> {
        let unsendable = || io::Error::other("the address of the auth callback cannot be sent");
        let uri: Uri = settings.url.expose().as_str().parse().map_err(|_| unsendable())?;
        let host = uri.authority().map(Authority::as_str).ok_or_else(unsendable)?;
        let host = HeaderValue::from_str(host).map_err(|_| unsendable())?;
        let client = Http1::new(Connector::once(settings.connect_timeout), IDLE);
        Ok(Self { client, uri, host })
    }

    /// Puts the question. Once more if it crossed with the end of a kept connection, which the service may close at any
    /// moment: it then has most likely not seen the question, and to see it twice changes nothing.
    pub(super) async fn post(&self, headers: HeaderMap) -> Result<Response<Answer>, Failure> {
        let (mut head, ()) = Request::new(()).into_parts();
        (head.method, head.uri, head.headers) = (Method::POST, self.uri.clone(), headers);
        head.headers.insert(HOST, self.host.clone());
        head.headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        let mut sent = self.client.request(&head, nothing()).await;
        if let Err(SendError::Crossed(_)) = sent {
            sent = self.client.request(&head, nothing()).await;
        }
        sent.map_err(|error| match error {
            SendError::Unanswered(Fault::HeadTooLarge) => Failure::HeadTooLarge,
            error => Failure::Transport(cause(&error)),
        })
    }
}

type Nothing = MapErr<Empty<Bytes>, fn(Infallible) -> hyper::Error>;

fn nothing() -> Nothing {
    Empty::new().map_err(|never| match never {})
}
