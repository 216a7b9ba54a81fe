//! HTTP/1.1 from the client's side: whoever sends a request moves its bytes, so that an exchange costs no task, no channel
//! and no wake-up but the socket's.
//!
//! A connection carries one request at a time and belongs to it, head and body, until its answer has ended. It is used again only where
//! both ends are beyond doubt about where the next message starts: the request was sent as a whole, the answer's framing said
//! where it ends, nothing was said behind it, and nobody asked for the connection to be closed. Nothing is sent twice, unless its
//! kept connection turned out dead before a byte of it was written.

mod address;
mod answer;
mod connect;
mod connection;
mod head;
mod idle;
mod keep;
mod request;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod upload;

use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body;

pub use self::address::Address;
pub use self::answer::Answer;
use self::answer::Sending;
pub use self::connect::{ConnectError, Connector};
use self::connection::Connection;
use self::head::Head;
use self::idle::{Idle, Place};
pub use self::keep::Keep;
pub use self::request::{Fields, Value};
pub use self::stream::Stream;
pub use self::tls::{
    Authorities, BadCertificate, BadIdentity, Identity, Offer, Proof, ServerName, Tls, server_name,
};
use self::upload::{Upload, Writer};

/// What went wrong on a connection.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The network did.
    #[error("the connection broke off")]
    Io(#[source] io::Error),
    /// The other end closed it.
    #[error("the connection was closed before the end of the answer")]
    Ended,
    /// The answer is no HTTP/1.1.
    #[error("the answer is malformed: {0}")]
    Malformed(&'static str),
    /// The head of the answer is larger than anybody's should be.
    #[error("the head of the answer is too large")]
    HeadTooLarge,
    /// The request's own body broke off.
    #[error("the request body broke off")]
    Body(#[source] hyper::Error),
    /// The request's own body is not as long as its head says.
    #[error("the request body has another length than its head says")]
    Length,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// There is no connection.
    #[error("could not connect")]
    Connect(#[from] ConnectError),
    /// It went wrong before anything was sent.
    #[error("could not be sent")]
    Unsent(#[source] Fault),
    /// It went wrong after something was.
    #[error("was not answered")]
    Unanswered(#[source] Fault),
    /// Something was sent on a kept connection, which ended before a byte of the answer: most likely the other end has closed it
    /// without having seen the request.
    #[error("crossed with the end of its connection")]
    Crossed(#[source] Fault),
}

impl SendError {
    /// Whether nothing of the request was sent.
    #[must_use]
    pub const fn is_unsent(&self) -> bool {
        !matches!(self, Self::Unanswered(_) | Self::Crossed(_))
    }

    /// Whether the request's own body is to blame, and not the upstream.
    #[must_use]
    pub const fn is_of_the_body(&self) -> bool {
        matches!(self, Self::Unsent(cause) | Self::Unanswered(cause) if matches!(cause, Fault::Body(_) | Fault::Length))
    }
}

/// A connection that has switched protocols.
#[derive(Debug)]
pub struct Switched(Box<Connection>);

impl Switched {
    /// The connection, and what the upstream already said in the new protocol.
    ///
    /// # Errors
    /// The request was not sent to its end.
    pub fn into_stream(self) -> io::Result<(Stream, Bytes)> {
        self.0.into_stream()
    }
}

/// An answer to a question, with what was kept of its fields.
#[derive(Debug)]
pub struct Heard<K> {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub fields: K,
    /// Its body.
    pub body: Answer,
}

/// A worker's connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Http1 {
    connector: Connector,
    idle: Arc<Idle>,
}

impl Http1 {
    /// No connections yet. Each is closed when nobody has used it for `idle_timeout`.
    #[must_use]
    pub fn new(connector: Connector, idle_timeout: Duration) -> Self {
        Self { connector, idle: Arc::new(Idle::new(idle_timeout)) }
    }

    /// Opens a connection and closes it again.
    ///
    /// # Errors
    /// It could not be opened.
    pub async fn reach(&self, to: &Address) -> Result<(), ConnectError> {
        self.connector.connect(to, Offer::Http1).await.map(drop)
    }

    /// Sends a request. Of its URI, path and query count.
    ///
    /// # Errors
    /// There is no answer.
    pub fn request<'a, B>(
        &'a self,
        to: &'a Address,
        head: &'a Parts,
        fields: &'a Fields<'_>,
        body: B,
    ) -> impl Future<Output = Result<Response<Answer>, SendError>> + Send + 'a
    where
        B: Body<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
    {
        let upload = Upload::new(head, body);
        let length = upload.length();
        let begin = move |writer: &mut Writer| writer.begin(head, fields, length);
        self.exchange(to, &head.method, upload, begin, response)
    }

    /// Sends a request without a body. `head`, in pieces, is all of its head, from the first line to
    /// the empty one, and says `method`.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask<K: Keep>(
        &self,
        to: &Address,
        method: &Method,
        head: &[&[u8]],
    ) -> Result<Heard<K>, SendError> {
        let heard = |head: Head<K>, body| Heard { status: head.status, fields: head.fields, body };
        self.exchange(to, method, Upload::nothing(), |writer| writer.begin_as(head), heard).await
    }

    async fn exchange<B, K, T>(
        &self,
        to: &Address,
        method: &Method,
        mut upload: Upload<B>,
        begin: impl FnOnce(&mut Writer),
        answered: impl FnOnce(Head<K>, Answer) -> T,
    ) -> Result<T, SendError>
    where
        B: Body<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
        K: Keep,
    {
        let (place, kept) = self.idle.take(to);
        let (mut connection, mut is_kept) = match kept {
            Some(connection) => (connection, true),
            // Rare, and larger than all else here.
            None => (Box::pin(self.connect(to)).await?, false),
        };
        connection.writer().map(begin);
        loop {
            let polled = poll_fn(|cx| connection.poll_answer(cx, &mut upload, method));
            match polled.await {
                Ok(head) => {
                    let body = self.body(&head, connection, upload, place);
                    return Ok(answered(head, body));
                }
                Err(Fault::Io(_)) if is_kept && !connection.has_begun() => {
                    let mut next = Box::pin(self.connect(to)).await?;
                    if let (Some(next), Some(last)) = (next.writer(), connection.writer()) {
                        next.take_over(last);
                    }
                    (connection, is_kept) = (next, false);
                }
                Err(cause) if is_kept && connection.has_crossed(&cause) => {
                    return Err(SendError::Crossed(cause));
                }
                Err(cause) if connection.has_begun() => return Err(SendError::Unanswered(cause)),
                Err(cause) => return Err(SendError::Unsent(cause)),
            }
        }
    }

    async fn connect(&self, to: &Address) -> Result<Box<Connection>, SendError> {
        let stream = self.connector.connect(to, Offer::Http1).await?;
        Ok(Box::new(Connection::new(stream)))
    }

    fn body<B, K>(
        &self,
        head: &Head<K>,
        mut connection: Box<Connection>,
        mut upload: Upload<B>,
        place: Place,
    ) -> Answer
    where
        B: Body<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
    {
        // An answer may come before all of the request was sent. Its reader may want nothing of it before that.
        let sending = connection.take_busy_writer(&upload).map(|mut writer| {
            let sending = async move {
                let sent = poll_fn(|cx| writer.poll_send(cx, &mut upload)).await;
                if sent.is_ok() {
                    // To say that nothing more will come is not to say that nobody listens, but many take it for that.
                    writer.into_half().forget();
                }
            };
            Sending(tokio::spawn(sending).abort_handle())
        });
        let is_kept = head.persistent && sending.is_none();
        let home = is_kept.then(|| (Arc::clone(&self.idle), place));
        Answer::new(connection, head.framing, home, sending)
    }
}

fn response(head: Head<HeaderMap>, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.version_mut() = head.version;
    *response.headers_mut() = head.fields;
    if let Some(reason) = head.reason {
        response.extensions_mut().insert(reason);
    }
    response
}
