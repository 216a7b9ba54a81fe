//! Asks the upstream whose a sandbox is and which tokens it wants, `GET /sandboxes/{id}`, and whether it applies filters.
//!
//! Reads that wake nothing. Anything but a clear answer is [`Unavailable`]: not knowing never means allowing.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use http::header::ACCEPT;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Upstreams;
use super::body::Outgoing;
use super::census::Page;
use super::exchange::{Bounds, exchange};
use super::pool::Pool;
use crate::credential::X_API_KEY;
use crate::directory::{Asked, Directory, Entry, Unavailable};
use crate::http1::Fields;
use crate::principal::TenantId;
use crate::sandbox::{MARKER, Marker, Sandbox, State, token_value};
use crate::target::SandboxId;

/// Longest detail answer read.
const MAX_ANSWER: usize = 1024 * 1024;
/// Longest page of a listing read.
const MAX_PAGE: usize = 16 * 1024 * 1024;

const X_NEXT_TOKEN: HeaderName = HeaderName::from_static("x-next-token");

/// Most questions that are open at once for one request.
const AT_ONCE: usize = 8;

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

/// What is logged within it is about the request of this id.
#[must_use]
pub fn span(request_id: &HeaderValue) -> tracing::Span {
    tracing::warn_span!("lookup", request_id = request_id.to_str().ok())
}

impl Asker {
    /// An asker with this worker's pool.
    #[must_use]
    pub const fn new(pool: Pool, upstreams: Arc<Upstreams>) -> Self {
        Self { pool, upstreams }
    }

    /// The sandbox, or `None` when the upstream has none of this id. An id with a `-` is also asked for without what
    /// follows, for if it is unknown as it stands: old clients append `-<clientID>`, and not every upstream cuts it.
    /// Both are asked whatever comes of the first, so that the time it takes does not tell which of them there is.
    ///
    /// # Errors
    /// [`Unavailable`], with the cause in the log.
    pub async fn ask(&self, id: &SandboxId) -> Asked {
        match id.as_str().split_once('-').map(|(short, _)| SandboxId::parse(short)) {
            Some(Ok(short)) => {
                let asked = self.ask_exactly(id, &[StatusCode::NOT_FOUND]);
                // Cut, it may be no id at all where such ids are whole.
                let absent = [StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST];
                let (exactly, cut) = tokio::join!(asked, self.ask_exactly(&short, &absent));
                match exactly? {
                    Some(found) => Ok(Some(found)),
                    None => cut,
                }
            }
            Some(Err(_)) | None => self.ask_exactly(id, &[StatusCode::NOT_FOUND]).await,
        }
    }

    async fn ask_exactly(&self, id: &SandboxId, absent: &[StatusCode]) -> Asked {
        let limit = self.upstreams.timeouts.lookup();
        match tokio::time::timeout(limit, self.fetch(id, absent)).await {
            Ok(answer) => answer,
            Err(_) => Err(unavailable("it took too long")),
        }
    }

    /// Whether the upstream has nothing to list there.
    ///
    /// # Errors
    /// [`Unavailable`], with the cause in the log.
    pub async fn lists_nothing(&self, path: String) -> Result<bool, Unavailable> {
        let limit = self.upstreams.timeouts.lookup();
        let answer = tokio::time::timeout(limit, self.get(path)).await;
        let (status, body) = answer.map_err(|_| unavailable("it took too long"))??;
        let nothing = |listed: Vec<IgnoredAny>| listed.is_empty();
        Ok(status == StatusCode::OK && serde_json::from_slice(&body).is_ok_and(nothing))
    }

    /// The status of the upstream's `GET /health`: any is better than none.
    ///
    /// # Errors
    /// [`Unavailable`], with the cause in the log.
    pub async fn health(&self) -> Result<StatusCode, Unavailable> {
        let limit = self.upstreams.timeouts.lookup();
        let answer = tokio::time::timeout(limit, self.get("/health".to_owned())).await;
        Ok(answer.map_err(|_| unavailable("it took too long"))??.0)
    }

    /// One page of a listing: the one that `next` leads to, else the first. An upstream that has no paged listing is
    /// asked for its only one.
    ///
    /// # Errors
    /// [`Unavailable`], with the cause in the log.
    pub async fn page(&self, filter: &str, next: Option<&str>) -> Result<Page, Unavailable> {
        let mut query = filter.to_owned();
        if let Some(next) = next {
            let joint = if query.is_empty() { "" } else { "&" };
            query.push_str(&format!("{joint}nextToken={}", escape(next)));
        }
        let query = if query.is_empty() { query } else { format!("?{query}") };
        let answer = self.page_at(format!("/v2/sandboxes{query}")).await?;
        let missing = matches!(answer.0, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
        let (generation, (status, headers, json)) = if missing && next.is_none() {
            (1, self.page_at(format!("/sandboxes{query}")).await?)
        } else {
            (2, answer)
        };
        let next = headers.get(X_NEXT_TOKEN).map(|token| {
            let token = token.to_str().map(str::to_owned);
            token.map_err(|_| unavailable("the next page's name is no text"))
        });
        Ok(Page {
            generation,
            status,
            json,
            next: next.transpose()?.filter(|token| !token.is_empty()),
        })
    }

    /// A page in no more time than a look at one sandbox may take, so that an upstream that hung is soon tried again.
    async fn page_at(&self, path: String) -> Result<(StatusCode, HeaderMap, Bytes), Unavailable> {
        let answer = self.answer_to(path, MAX_PAGE);
        let answer = tokio::time::timeout(self.upstreams.timeouts.lookup(), answer).await;
        answer.map_err(|_| unavailable("a page of a listing took too long"))?
    }

    async fn fetch(&self, id: &SandboxId, absent: &[StatusCode]) -> Asked {
        let (status, body) = self.get(format!("/sandboxes/{id}")).await?;
        match status {
            StatusCode::OK => {
                record(&body).map(Some).ok_or_else(|| unavailable("the answer is no sandbox"))
            }
            status if absent.contains(&status) => Ok(None),
            status => {
                tracing::warn!(%status, sandbox = %id, "unexpected answer to a question about a sandbox");
                Err(Unavailable)
            }
        }
    }

    async fn get(&self, path: String) -> Result<(StatusCode, Bytes), Unavailable> {
        let (status, _, body) = self.answer_to(path, MAX_ANSWER).await?;
        Ok((status, body))
    }

    /// Asks in the gateway's own name. Only a good answer's body is read.
    async fn answer_to(
        &self,
        path: String,
        most: usize,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Unavailable> {
        let path = PathAndQuery::from_maybe_shared(Bytes::from(path))
            .map_err(|_| unavailable("it makes no path"))?;
        let control = &self.upstreams.control;
        let uri = control.uri(path).map_err(|_| unavailable("it makes no URI"))?;
        let (mut head, ()) = Request::new(()).into_parts();
        head.uri = uri;
        let fields = Fields::host(&control.host);
        let headers = &mut head.headers;
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(key) = &self.upstreams.key {
            headers.insert(X_API_KEY, key.clone());
        }
        let (to, body, bounds) = (&control.address, Outgoing::none(), Bounds::default());
        let answer = exchange(&self.pool, to, &mut head, &fields, body, &bounds)
            .await
            .map_err(|_| unavailable("the upstream could not be asked"))?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Ok((status, HeaderMap::new(), Bytes::new()));
        }
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, most)
            .collect()
            .await
            .map_err(|_| unavailable("the answer broke off or is too long"))?
            .to_bytes();
        Ok((status, head.headers, body))
    }
}

/// What is known of each of these sandboxes, as far as the upstream has them and without their tokens, in the order of
/// their ids and each once.
///
/// # Errors
/// [`Unavailable`], with the cause in the log.
pub async fn records(
    directory: &Directory,
    asker: &Asker,
    ids: &[SandboxId],
) -> Result<Vec<Arc<Sandbox>>, Unavailable> {
    let look = |id: SandboxId| {
        let (directory, asker) = (directory.clone(), asker.clone());
        async move { directory.whose(&id, || asker.ask(&id)).await.map(Entry::known) }
    };
    each(ids, look).await
}

/// As [`records`], of those that `is_theirs` accepts; the others cost no more and no less than absent ones.
///
/// # Errors
/// As [`records`].
pub async fn records_theirs(
    directory: &Directory,
    asker: &Asker,
    ids: &[SandboxId],
    is_theirs: impl Fn(&Sandbox) -> bool + Copy,
) -> Result<Vec<Arc<Sandbox>>, Unavailable> {
    let look = |id: SandboxId| {
        let (directory, asker) = (directory.clone(), asker.clone());
        async move { directory.whose_theirs(&id, is_theirs, || asker.ask(&id)).await }
    };
    each(ids, look).await
}

async fn each<F>(
    ids: &[SandboxId],
    look: impl Fn(SandboxId) -> F,
) -> Result<Vec<Arc<Sandbox>>, Unavailable>
where
    F: Future<Output = Result<Option<Arc<Sandbox>>, Unavailable>>,
{
    let looks = stream::iter(ids.iter().cloned()).map(look).buffer_unordered(AT_ONCE);
    let found: Vec<Option<Arc<Sandbox>>> = looks.try_collect().await?;
    let mut found: Vec<_> = found.into_iter().flatten().collect();
    found.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    found.dedup_by(|a, b| a.id == b.id);
    Ok(found)
}

/// A text as a query's value carries it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
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
