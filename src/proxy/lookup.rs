//! Asks the upstream whose a sandbox is and which tokens it wants: `GET /sandboxes/{id}`.
//!
//! A read that wakes nothing. Anything but a clear answer is [`Unavailable`]: not knowing never means allowing.

use std::sync::Arc;

use http::header::{ACCEPT, HOST};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;

use super::Upstreams;
use super::body::Outgoing;
use super::exchange::{Bounds, exchange};
use super::pool::Pool;
use crate::credential::X_API_KEY;
use crate::directory::Unavailable;
use crate::principal::TenantId;
use crate::sandbox::{MARKER, Marker, Sandbox, State, token_value};
use crate::target::SandboxId;

/// Longest detail answer read.
const MAX_ANSWER: usize = 1024 * 1024;

/// Asks on behalf of one worker.
#[derive(Clone, Debug)]
pub struct Asker {
    pool: Pool,
    upstreams: Arc<Upstreams>,
}

/// The parts of E2B's `SandboxDetail` (and of `Sandbox`) that matter here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    #[serde(rename = "sandboxID")]
    sandbox_id: String,
    envd_access_token: Option<String>,
    traffic_access_token: Option<String>,
    state: Option<serde_json::Value>,
    end_at: Option<serde_json::Value>,
    metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Reads a sandbox's record off a detail answer or an entry of a listing, which show metadata where there is any.
/// `None` when it is no such answer.
#[must_use]
pub fn record(json: &[u8]) -> Option<Sandbox> {
    let detail: Detail = serde_json::from_slice(json).ok()?;
    let marker = detail.metadata.as_ref().and_then(|metadata| metadata.get(MARKER));
    let state = match detail.state.as_ref().and_then(serde_json::Value::as_str) {
        Some("running") => State::Running,
        Some("paused") => State::Paused,
        Some(_) | None => State::Unknown,
    };
    Some(Sandbox {
        id: SandboxId::parse(&detail.sandbox_id).ok()?,
        tenant: marker.and_then(|tenant| TenantId::parse(tenant.as_str()?).ok()),
        marker: if marker.is_some() { Marker::Present } else { Marker::Absent },
        state,
        ends: detail.end_at.as_ref().and_then(|date| date.as_str()?.parse().ok()),
        envd_token: detail.envd_access_token.as_deref().and_then(token_value),
        traffic_token: detail.traffic_access_token.as_deref().and_then(token_value),
    })
}

/// Reads a sandbox's record off an answer to a create, connect, resume or fork: it runs, and its metadata is not shown.
/// `None` when it is no such answer.
#[must_use]
pub fn started(json: &[u8]) -> Option<Sandbox> {
    Some(Sandbox { marker: Marker::Untold, state: State::Running, ..record(json)? })
}

impl Asker {
    /// An asker with this worker's pool.
    #[must_use]
    pub const fn new(pool: Pool, upstreams: Arc<Upstreams>) -> Self {
        Self { pool, upstreams }
    }

    /// The sandbox, or `None` when the upstream has none of this id. An id with a `-` that is unknown as it stands is
    /// asked for once more without what follows: old clients append `-<clientID>`, and not every upstream cuts it.
    ///
    /// # Errors
    /// [`Unavailable`], with the cause in the log.
    pub async fn ask(&self, id: &SandboxId) -> Result<Option<Sandbox>, Unavailable> {
        if let Some(found) = self.ask_exactly(id).await? {
            return Ok(Some(found));
        }
        match id.as_str().split_once('-').map(|(short, _)| SandboxId::parse(short)) {
            Some(Ok(short)) => self.ask_exactly(&short).await,
            Some(Err(_)) | None => Ok(None),
        }
    }

    async fn ask_exactly(&self, id: &SandboxId) -> Result<Option<Sandbox>, Unavailable> {
        let limit = self.upstreams.lookup_timeout;
        match tokio::time::timeout(limit, self.fetch(id)).await {
            Ok(answer) => answer,
            Err(_) => Err(unavailable("it took too long")),
        }
    }

    async fn fetch(&self, id: &SandboxId) -> Result<Option<Sandbox>, Unavailable> {
        let path = PathAndQuery::from_maybe_shared(bytes::Bytes::from(format!("/sandboxes/{id}")))
            .map_err(|_| unavailable("its id makes no path"))?;
        let uri =
            self.upstreams.control.uri(path).map_err(|_| unavailable("its id makes no URI"))?;
        let mut request = Request::new(Outgoing::Empty);
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(HOST, self.upstreams.control.host.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(key) = &self.upstreams.key {
            headers.insert(X_API_KEY, key.clone());
        }
        let answer = exchange(&self.pool, request, &Bounds::default())
            .await
            .map_err(|_| unavailable("the upstream could not be asked"))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => {
                tracing::warn!(%status, sandbox = %id, "unexpected answer to a question about a sandbox");
                return Err(Unavailable);
            }
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|_| unavailable("the answer broke off or is too long"))?
            .to_bytes();
        record(&body).map(Some).ok_or_else(|| unavailable("the answer is no sandbox"))
    }
}

fn unavailable(cause: &'static str) -> Unavailable {
    tracing::warn!(cause, "could not ask about a sandbox");
    Unavailable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_upstreams_answer() {
        let full = record(
            br#"{"sandboxID":"i1","envdAccessToken":"envd","trafficAccessToken":null,
                "metadata":{"coppice_tenant_id":"team-a","x":1},"cpuCount":2}"#,
        )
        .unwrap();
        assert_eq!(full.id.as_str(), "i1");
        assert_eq!(full.tenant, TenantId::parse("team-a").ok());
        assert_eq!(full.envd_token.unwrap(), "envd");
        assert_eq!(full.traffic_token, None);
        assert_eq!((full.marker, full.state, full.ends), (Marker::Present, State::Unknown, None));
    }

    #[test]
    fn reads_whether_it_runs_and_until_when() {
        for (members, state, ends) in [
            (r#""state":"running","endAt":"1970-01-01T00:01:00Z""#, State::Running, Some(60)),
            (r#""state":"paused","endAt":"soon""#, State::Paused, None),
            (r#""state":"frozen","endAt":7"#, State::Unknown, None),
            (r#""state":null"#, State::Unknown, None),
        ] {
            let read = record(format!(r#"{{"sandboxID":"i1",{members}}}"#).as_bytes()).unwrap();
            assert_eq!((read.state, read.ends.map(|ends| ends.0)), (state, ends), "{members}");
            assert_eq!(read.marker, Marker::Absent, "{members}");
        }
        let read = started(br#"{"sandboxID":"i1"}"#).unwrap();
        assert_eq!((read.marker, read.state), (Marker::Untold, State::Running));
    }

    #[test]
    fn an_odd_marker_names_nobody() {
        for metadata in
            ["{}", "null", r#"{"coppice_tenant_id":7}"#, r#"{"coppice_tenant_id":"a b"}"#]
        {
            let json = format!(r#"{{"sandboxID":"i1","metadata":{metadata}}}"#);
            assert_eq!(record(json.as_bytes()).unwrap().tenant, None, "{metadata}");
        }
        assert!(record(b"{}").is_none() && record(br#"{"sandboxID":"../x"}"#).is_none());
    }
}
