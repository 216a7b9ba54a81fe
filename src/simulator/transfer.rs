//! `/files`: uploads and downloads, streamed.
//!
//! `GET /files?path=/dev/zeros/<n>` streams n zero bytes. An upload's answer has `size` and `sha256` beside envd's
//! fields, so that a test can check any size of upload; gzip is not understood.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Request};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::envd::known_user;
use super::files::{Content, Files, KEPT_CONTENT, Trouble, home, normal};
use super::query::first;
use super::reply::{Answer, Refusal, Reply, error, json, typed};
use super::state::{Sandbox, hex};

const ZEROS: &str = "/dev/zeros/";
const CHUNK: u64 = 64 * 1024;
static ZERO_CHUNK: [u8; 64 * 1024] = [0; 64 * 1024];

fn user(uri: &Uri) -> Result<String, Refusal> {
    let name = first(uri, "username").unwrap_or_default();
    let known = known_user(&name).ok_or_else(|| {
        error(StatusCode::UNAUTHORIZED, &format!("error looking up user '{name}'"))
    })?;
    Ok(known.to_owned())
}

fn refuse(trouble: &Trouble) -> Reply {
    let status = match trouble {
        Trouble::NotFound(_) => StatusCode::NOT_FOUND,
        Trouble::NotKept(_) => StatusCode::GONE,
        Trouble::Exists(_) | Trouble::IsDirectory(_) | Trouble::NotDirectory(_) => {
            StatusCode::BAD_REQUEST
        }
    };
    error(status, &trouble.to_string())
}

pub(super) async fn download(
    Extension(sandbox): Extension<Arc<Sandbox>>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let user = user(&uri)?;
    let path = first(&uri, "path").unwrap_or_default();
    let path = normal(&path, &home(&user), &home(&user));
    if let Some(count) = path.strip_prefix(ZEROS) {
        let count = count
            .parse()
            .map_err(|_| error(StatusCode::BAD_REQUEST, "/dev/zeros/ wants a number"))?;
        return Ok(zeros(count));
    }
    let bytes = match sandbox.files.read(&path).map_err(|trouble| refuse(&trouble))? {
        Content::Whole(bytes) => bytes,
        Content::Length(_) => return Err(refuse(&Trouble::NotKept(path)).into()),
    };
    let mut reply = match range(&headers, bytes.len()) {
        None => typed(StatusCode::OK, None, Body::from(bytes)),
        Some((start, end)) => {
            let content_range = format!("bytes {start}-{}/{}", end - 1, bytes.len());
            let mut reply =
                typed(StatusCode::PARTIAL_CONTENT, None, Body::from(bytes.slice(start..end)));
            if let Ok(value) = HeaderValue::from_str(&content_range) {
                reply.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            reply
        }
    };
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(reply)
}

/// Start and end (exclusive) of the one range asked for, if it can be served.
fn range(headers: &HeaderMap, length: usize) -> Option<(usize, usize)> {
    let range = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    let (start, end) = match range.split_once('-')? {
        ("", suffix) => (length.saturating_sub(suffix.parse().ok()?), length),
        (start, "") => (start.parse().ok()?, length),
        (start, end) => (start.parse().ok()?, end.parse::<usize>().ok()?.saturating_add(1)),
    };
    let end = end.min(length);
    (start < end).then_some((start, end))
}

/// `count` zero bytes, streamed.
pub(super) fn zeros(count: u64) -> Reply {
    let body = Body::from_stream(zero_chunks(count).map(Ok::<_, std::io::Error>));
    let mut reply = typed(StatusCode::OK, Some("application/octet-stream"), body);
    reply.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(count));
    reply
}

fn zero_chunks(count: u64) -> impl Stream<Item = Bytes> {
    stream::unfold(count, async |left| {
        let size = left.min(CHUNK);
        let chunk =
            ZERO_CHUNK.get(..usize::try_from(size).ok()?).filter(|chunk| !chunk.is_empty())?;
        Some((Bytes::from_static(chunk), left - size))
    })
}

/// A content as it arrives: digest and length of all of it, and the bytes while they are few.
#[derive(Default)]
struct Arriving {
    digest: Sha256,
    length: u64,
    kept: BytesMut,
}

impl Arriving {
    fn take(&mut self, chunk: &[u8]) {
        self.digest.update(chunk);
        self.length += chunk.len() as u64;
        if self.length <= KEPT_CONTENT as u64 {
            self.kept.extend_from_slice(chunk);
        } else {
            self.kept = BytesMut::new();
        }
    }

    fn done(self) -> (Content, String) {
        let content = if self.length <= KEPT_CONTENT as u64 {
            Content::Whole(self.kept.freeze())
        } else {
            Content::Length(self.length)
        };
        (content, hex(&self.digest.finalize()))
    }
}

/// Length and SHA-256 (hex) of a body, read in flat memory.
pub(super) async fn digest(body: Body) -> Result<(u64, String), Refusal> {
    let mut stream = body.into_data_stream();
    let (mut digest, mut length) = (Sha256::new(), 0);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| cut())?;
        digest.update(&chunk);
        length += chunk.len() as u64;
    }
    Ok((length, hex(&digest.finalize())))
}

fn cut() -> Reply {
    error(StatusCode::BAD_REQUEST, "The request body ended early")
}

pub(super) async fn upload(
    Extension(sandbox): Extension<Arc<Sandbox>>,
    request: Request,
) -> Answer {
    let user = user(request.uri())?;
    let path = first(request.uri(), "path").filter(|path| !path.is_empty());
    let headers = request.headers();
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The simulator takes no compressed uploads",
        )
        .into());
    }
    let target = Target { files: &sandbox.files, user, metadata: metadata(headers) };
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let multipart = content_type.is_some_and(|value| value.starts_with(b"multipart/"));
    let entries = if multipart {
        target.multipart(path, request).await?
    } else {
        let path = path.ok_or_else(|| error(StatusCode::BAD_REQUEST, "path is required"))?;
        let mut content = Arriving::default();
        let mut chunks = request.into_body().into_data_stream();
        while let Some(chunk) = chunks.next().await {
            content.take(&chunk.map_err(|_| cut())?);
        }
        vec![target.store(&path, content)?]
    };
    Ok(json(StatusCode::OK, &Value::Array(entries)))
}

fn metadata(headers: &HeaderMap) -> BTreeMap<String, String> {
    let pairs = headers.iter().filter_map(|(name, value)| {
        let key = name.as_str().strip_prefix("x-metadata-")?;
        Some((key.to_owned(), value.to_str().ok()?.to_owned()))
    });
    pairs.collect()
}

/// Where an upload goes.
struct Target<'a> {
    files: &'a Files,
    user: String,
    metadata: BTreeMap<String, String>,
}

impl Target<'_> {
    fn store(&self, path: &str, content: Arriving) -> Result<Value, Refusal> {
        let home = home(&self.user);
        let (content, sha256) = content.done();
        let entry = self
            .files
            .write(&normal(path, &home, &home), content, &self.user, self.metadata.clone())
            .map_err(|trouble| refuse(&trouble))?;
        Ok(json!({
            "name": entry.name(),
            "type": "file",
            "path": entry.path,
            "metadata": entry.metadata,
            "size": entry.size,
            "sha256": sha256,
        }))
    }

    /// Stores every field named `file`: at `path` if the request has one, else at its own file name.
    async fn multipart(
        &self,
        path: Option<String>,
        request: Request,
    ) -> Result<Vec<Value>, Refusal> {
        let bad = |error_text: String| error(StatusCode::BAD_REQUEST, &error_text);
        let mut form = Multipart::from_request(request, &())
            .await
            .map_err(|rejection| bad(rejection.body_text()))?;
        let mut entries = Vec::new();
        while let Some(mut field) =
            form.next_field().await.map_err(|cause| bad(cause.body_text()))?
        {
            if field.name() != Some("file") {
                continue;
            }
            let name = path.clone().or_else(|| field.file_name().map(str::to_owned));
            let name = name.ok_or_else(|| bad("the file has no name".to_owned()))?;
            let mut content = Arriving::default();
            while let Some(chunk) = field.chunk().await.map_err(|cause| bad(cause.body_text()))? {
                content.take(&chunk);
            }
            entries.push(self.store(&name, content)?);
        }
        if entries.is_empty() {
            return Err(bad("no file in the form".to_owned()).into());
        }
        Ok(entries)
    }
}
