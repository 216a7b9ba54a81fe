//! Asks a gateway over HTTP.
//!
//! Neither redirects nor proxies of the environment are followed: a token goes to the gateway that was named, or
//! nowhere.

use std::future::Future;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;

use super::output::visible;
use super::token::{Access, Header};
use super::{Exit, Failure};

/// Largest answer read, in bytes: five hundred audit events with room to spare.
const MAX_ANSWER: usize = 4 << 20;

/// How long to wait before a stream that broke off is asked for again.
pub(super) const REST: Duration = Duration::from_secs(1);

/// Runs what a command waits for.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Failure::new(Exit::Failed, why.to_string()))?;
    runtime.block_on(work)
}

/// What `GET /auth/whoami` answers.
pub(super) fn whoami(access: &Access) -> Result<Value, Failure> {
    block_on(async { Client::new(access)?.ask("auth/whoami", &[]).await })
}

/// Asks one gateway with one token.
pub(super) struct Client<'a> {
    access: &'a Access,
    client: reqwest::Client,
}

impl<'a> Client<'a> {
    /// With the token that was found.
    pub(super) fn new(access: &'a Access) -> Result<Self, Failure> {
        let client = client().map_err(|error| fail(access, &cause(&error)))?;
        Ok(Self { access, client })
    }

    /// The JSON object at a path.
    pub(super) async fn ask(
        &self,
        path: &str,
        query: &[(&'static str, String)],
    ) -> Result<Value, Failure> {
        let request = self.request(path, query)?.timeout(Duration::from_secs(30));
        let response = self.send(request).await?;
        let body = read(response).await.map_err(|why| self.fail(&why))?;
        match serde_json::from_slice(&body) {
            Ok(Value::Object(answer)) => Ok(Value::Object(answer)),
            Ok(_) | Err(_) => Err(self.fail("does not answer like a coppice-gateway")),
        }
    }

    /// The stream of events at a path, from behind the one named on.
    pub(super) async fn open(&self, path: &str, last: Option<&str>) -> Result<Response, Failure> {
        let request = self.request(path, &[])?.header("accept", "text/event-stream");
        self.send(match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        })
        .await
    }

    fn request(
        &self,
        path: &str,
        query: &[(&'static str, String)],
    ) -> Result<RequestBuilder, Failure> {
        let Access { url, token, header } = self.access;
        let mut url = url.join(path).map_err(|_| self.fail("cannot be extended"))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let (name, value) = match header {
            Header::Bearer => ("authorization", format!("Bearer {}", token.expose())),
            Header::ApiKey => ("x-api-key", token.expose().to_owned()),
        };
        let value = HeaderValue::try_from(value);
        let mut value = value.map_err(|_| self.fail("the token cannot be sent"))?;
        value.set_sensitive(true);
        Ok(self.client.get(url).header(name, value))
    }

    /// An answer of status 200, or why there is none.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.fail(&cause(&error)))?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let body = read(response).await.map_err(|why| self.fail(&why))?;
        let body: Option<Value> = serde_json::from_slice(&body).ok();
        let message = body.as_ref().and_then(|body| body.get("message")).and_then(Value::as_str);
        let message = message.map(|message| format!(": {}", visible(message)));
        Err(self.fail(&format!("answered {status}{}", message.unwrap_or_default())))
    }

    fn fail(&self, why: &str) -> Failure {
        fail(self.access, why)
    }
}

fn fail(access: &Access, why: &str) -> Failure {
    Failure::new(Exit::Failed, format!("{}: {why}", access.url))
}

fn client() -> reqwest::Result<reqwest::Client> {
    // Fails when a provider is in place already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .user_agent(concat!("coppice-gateway/", env!("CARGO_PKG_VERSION")))
        .build()
}

async fn read(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| cause(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err("answered too much".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause, which is what a person can act upon.
fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
