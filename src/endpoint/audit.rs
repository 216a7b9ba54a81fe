//! `GET /audit/events` and `GET /audit/stream`: what the audit trail holds, and what is added to it.
//!
//! An owner is shown what its own tenant's keys did, an admin everything, and so is everybody where nobody is asked for
//! a key.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde::{Serialize, Serializer};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{OwnError, Who};
use crate::audit::{Event, Follower, Query, Told, Trail, View};
use crate::caller::Caller;
use crate::credential::only_line;
use crate::error::GatewayError;

/// Streams open at once. Each of them looks at every event.
const STREAMS: usize = 100;
/// How long a stream may be silent before it says that it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Keeps nginx from holding events back.
const BUFFERING: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// What the endpoints tell of. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Audit {
    trail: Arc<Trail>,
    drain: CancellationToken,
    places: Arc<Semaphore>,
}

impl Audit {
    /// Tells of `trail`; streams end with `drain`.
    #[must_use]
    pub fn new(trail: Arc<Trail>, drain: CancellationToken) -> Self {
        Self { trail, drain, places: Arc::new(Semaphore::new(STREAMS)) }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Events {
    #[serde(serialize_with = "each")]
    events: Vec<Arc<Event>>,
    count: usize,
}

fn each<S: Serializer>(events: &[Arc<Event>], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(events.iter().map(Arc::as_ref))
}

/// `GET /audit/events`.
pub(super) async fn events(
    Who(caller): Who,
    State(audit): State<Audit>,
    uri: Uri,
) -> Result<Json<Events>, OwnError> {
    let Query { filter, page } =
        Query::of_page(uri.query().unwrap_or_default()).map_err(OwnError)?;
    let view = View::of(&caller, filter).ok_or(OwnError(GatewayError::Internal))?;
    let events = audit.trail.page(&view, &page).await;
    Ok(Json(Events { count: events.len(), events }))
}

/// `GET /audit/stream`.
pub(super) async fn stream(
    Who(caller): Who,
    State(audit): State<Audit>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, OwnError> {
    let filter = Query::of_stream(uri.query().unwrap_or_default()).map_err(OwnError)?;
    let view = View::of(&caller, filter).ok_or(OwnError(GatewayError::Internal))?;
    let last = only_line(&headers, &LAST_EVENT_ID).map_err(|_| OwnError(BAD_LAST_EVENT_ID))?;
    let last = last.map(|last| std::str::from_utf8(last).unwrap_or_default().trim());
    let place = audit.places.try_acquire_owned().map_err(|_| OwnError(GatewayError::NotReady))?;
    let follower = audit.trail.follow(view, last);
    let listener = Listener { follower, caller, drain: audit.drain, _place: place };
    let frames = unfold(listener, |mut listener| async move {
        let told = listener.next().await?;
        Some((Ok::<_, Infallible>(frame(&told)), listener))
    });
    let sse = Sse::new(frames).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(([BUFFERING], sse).into_response())
}

const BAD_LAST_EVENT_ID: GatewayError =
    GatewayError::BadRequest("bad_last_event_id", "Last-Event-ID may be there once");

/// Somebody who is told of events, for as long as the key lives and the gateway is not stopping.
struct Listener {
    follower: Follower,
    caller: Caller,
    drain: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    async fn next(&mut self) -> Option<Told> {
        let principal = self.caller.principal().cloned();
        let revoked = async {
            match &principal {
                Some(principal) => principal.revocation.revoked().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // A key that is gone is told nothing more, whatever is ready.
            biased;
            () = self.drain.cancelled() => None,
            () = revoked => None,
            told = self.follower.next() => Some(told),
        }
    }
}

fn frame(told: &Told) -> Frame {
    match told {
        // An event serialises to one line; there is nothing in it that could fail to.
        Told::Event(event) => {
            let json = serde_json::to_string(event.as_ref()).unwrap_or_default();
            Frame::default().id(event.id().to_string()).data(json)
        }
        Told::Gap(gap) => {
            Frame::default().event("gap").data(json!({"reason": gap.name()}).to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_shows_that_it_is_there_and_ends_with_the_gateway() {
        let trail = Arc::new(Trail::new(std::num::NonZeroUsize::MIN, None));
        let audit = Audit::new(trail, CancellationToken::new());
        let (who, uri) = (Who(Caller::Open), Uri::from_static("/audit/stream"));
        let response = stream(who, State(audit.clone()), uri, HeaderMap::new()).await;
        let mut body = response.unwrap().into_body();
        for _ in 0..2 {
            let since = tokio::time::Instant::now();
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!((&frame[..], since.elapsed().as_secs()), (&b":\n\n"[..], 15));
        }
        assert_eq!(audit.places.available_permits(), STREAMS - 1);
        audit.drain.cancel();
        assert!(body.frame().await.is_none());
        drop(body);
        assert_eq!(audit.places.available_permits(), STREAMS);
    }
}
