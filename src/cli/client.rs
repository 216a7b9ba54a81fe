//! Asks a gateway over HTTP.
//!
//! Neither redirects nor proxies of the environment are followed: a token goes to the gateway that was named, or
//! nowhere.

use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

use super::output::visible;
use super::token::{Access, Header};
use super::{Exit, Failure};

/// Largest answer read, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// What `GET /auth/whoami` answers.
pub(super) fn whoami(access: &Access) -> Result<Value, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Failure::new(Exit::Failed, why.to_string()))?;
    runtime.block_on(ask(access, "auth/whoami"))
}

async fn ask(access: &Access, path: &str) -> Result<Value, Failure> {
    let fail = |why: &str| Failure::new(Exit::Failed, format!("{}: {why}", access.url));
    let url = access.url.join(path).map_err(|_| fail("cannot be extended"))?;
    let (name, value) = match access.header {
        Header::Bearer => ("authorization", format!("Bearer {}", access.token.expose())),
        Header::ApiKey => ("x-api-key", access.token.expose().to_owned()),
    };
    let mut value = HeaderValue::try_from(value).map_err(|_| fail("the token cannot be sent"))?;
    value.set_sensitive(true);
    let client = client().map_err(|error| fail(&cause(&error)))?;
    let response = client.get(url).header(name, value).send().await;
    let response = response.map_err(|error| fail(&cause(&error)))?;
    let status = response.status();
    let body = read(response).await.map_err(|why| fail(&why))?;
    let body: Option<Value> = serde_json::from_slice(&body).ok();
    match (status, body) {
        (StatusCode::OK, Some(Value::Object(answer))) => Ok(Value::Object(answer)),
        (StatusCode::OK, _) => Err(fail("does not answer like a coppice-gateway")),
        (status, body) => {
            let message =
                body.as_ref().and_then(|body| body.get("message")).and_then(Value::as_str);
            let message = message.map(|message| format!(": {}", visible(message)));
            Err(fail(&format!("answered {status}{}", message.unwrap_or_default())))
        }
    }
}

fn client() -> reqwest::Result<Client> {
    // Fails when a provider is in place already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(30))
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
