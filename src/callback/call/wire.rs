//! Calls over connections of the worker's own: in clear, or through TLS with the gateway's certificate where the service wants one.

use std::error::Error as _;
use std::io;

use http::uri::PathAndQuery;
use http::{Method, Uri};

use super::told::Told;
use super::{Failure, IDLE, cause};
use crate::callback::settings::Settings;
use crate::callback::statement::Statement;
use crate::http1::{Address, ConnectError, Connector, Fault, Heard, Http1, SendError, server_name};

/// Where the service is, and the connections to it.
pub(super) struct Wire {
    client: Http1,
    address: Address,
    /// What all heads begin with.
    beginning: String,
}

impl Wire {
    pub(super) fn new(settings: &Settings) -> io::Result<Self> {
        let unsendable = || io::Error::other("the address of the auth callback cannot be sent");
        let uri: Uri = settings.url.expose().as_str().parse().map_err(|_| unsendable())?;
        let authority = uri.authority().cloned().ok_or_else(unsendable)?;
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let beginning = format!(
            "POST {path} HTTP/1.1\r\nhost: {authority}\r\naccept: */*\r\ncontent-length: 0\r\n"
        );
        let address = if settings.url.is_tls() {
            let name = server_name(&authority).ok_or_else(unsendable)?;
            Address::tls(authority, name, settings.tls.clone())
        } else {
            Address::clear(authority)
        };
        let client = Http1::new(Connector::once(settings.connect_timeout), IDLE);
        Ok(Self { client, address, beginning })
    }

    /// Puts the question. Once more if it crossed with the end of a kept connection, which the service may close at any
    /// moment: it then has most likely not seen the question, and to see it twice changes nothing.
    pub(super) async fn post(&self, told: &Told) -> Result<Heard<Statement>, Failure> {
        let head = [self.beginning.as_bytes(), told.lines(), b"\r\n"];
        let mut sent = self.client.ask(&self.address, &Method::POST, &head).await;
        if let Err(SendError::Crossed(_)) = sent {
            sent = Box::pin(self.client.ask(&self.address, &Method::POST, &head)).await;
        }
        sent.map_err(|error| failure(&error))
    }
}

fn failure(error: &SendError) -> Failure {
    if let SendError::Unanswered(Fault::HeadTooLarge) = error {
        return Failure::HeadTooLarge;
    }
    Failure::Transport(match error {
        // What is about a certificate needs a word before it.
        SendError::Connect(why) if !matches!(why, ConnectError::Unreachable(_)) => {
            why.source().map_or_else(|| why.to_string(), |inner| format!("{why}: {}", cause(inner)))
        }
        SendError::Connect(_)
        | SendError::Unsent(_)
        | SendError::Unanswered(_)
        | SendError::Crossed(_) => cause(error),
    })
}
