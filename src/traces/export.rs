//! Sends spans to the collector: in batches, again where it says that it may help, and what is left at the end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::encode::{Span, request};
use super::{Settings, Tally};

/// Most spans of one batch.
const BATCH: usize = 512;
/// How long a batch waits for more spans.
const GATHER: Duration = Duration::from_secs(1);
/// Before a batch is sent again that the collector had no room for.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// For all that is left when the gateway ends.
const LAST: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Exporter {
    client: Client,
    endpoint: Url,
    headers: HeaderMap,
    resource: Vec<(String, String)>,
    waiting: mpsc::Receiver<Span>,
    tally: Arc<Tally>,
    stop: CancellationToken,
}

/// Why a batch did not arrive.
enum Failure {
    /// Sent again it may.
    Passing(String),
    /// It never will.
    Final(String),
}

impl Exporter {
    pub(super) fn new(
        settings: Settings,
        waiting: mpsc::Receiver<Span>,
        tally: Arc<Tally>,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let Settings { endpoint, headers, timeout, resource } = settings;
        let endpoint = Url::parse(&endpoint).map_err(io::Error::other)?;
        // Fails when a provider is in place already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder().redirect(Policy::none()).no_proxy().timeout(timeout);
        let client = builder.build().map_err(|error| io::Error::other(error.without_url()))?;
        let mut headers: HeaderMap = headers.into_iter().collect();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        Ok(Self { client, endpoint, headers, resource, waiting, tally, stop })
    }

    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let stop = self.stop.clone();
            let is_over = tokio::select! {
                is_over = self.gather(&mut batch) => is_over,
                () = stop.cancelled() => true,
            };
            if is_over {
                break;
            }
            // What the gateway's end interrupts here was sent or is lost.
            tokio::select! {
                () = self.send(&batch) => batch.clear(),
                () = stop.cancelled() => break,
            }
        }
        let rest = async {
            while !batch.is_empty() || !self.waiting.is_empty() {
                while batch.len() < BATCH
                    && let Ok(span) = self.waiting.try_recv()
                {
                    batch.push(span);
                }
                self.send(&batch).await;
                batch.clear();
            }
        };
        if tokio::time::timeout(LAST, rest).await.is_err() {
            tracing::warn!("the last spans were not sent in time");
        }
    }

    /// Fills a batch, once there is a first span. Whether there will never be another.
    async fn gather(&mut self, batch: &mut Vec<Span>) -> bool {
        if batch.is_empty() {
            match self.waiting.recv().await {
                Some(first) => batch.push(first),
                None => return true,
            }
        }
        let more = async {
            while batch.len() < BATCH
                && let Some(span) = self.waiting.recv().await
            {
                batch.push(span);
            }
        };
        // Either way there is something to send.
        let _ = tokio::time::timeout(GATHER, more).await;
        false
    }

    async fn send(&self, batch: &[Span]) {
        let body = bytes::Bytes::from(request(&self.resource, batch));
        let mut pauses = PAUSES.into_iter();
        let count = batch.len() as u64;
        loop {
            match self.put(body.clone()).await {
                Ok(()) => {
                    self.tally.sent.fetch_add(count, Ordering::Relaxed);
                    return;
                }
                Err(Failure::Passing(_)) if let Some(pause) = pauses.next() => {
                    tokio::time::sleep(pause).await;
                }
                Err(Failure::Passing(cause) | Failure::Final(cause)) => {
                    self.tally.failed.fetch_add(count, Ordering::Relaxed);
                    tracing::warn!(spans = count, cause, "the collector did not take spans");
                    return;
                }
            }
        }
    }

    async fn put(&self, body: bytes::Bytes) -> Result<(), Failure> {
        let post = self.client.post(self.endpoint.clone()).headers(self.headers.clone());
        match post.body(body).send().await {
            // What it says of single spans, and what else is in its answer, helps nobody here.
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => {
                let status = answer.status();
                let cause = format!("it answered {status}");
                // OTLP 1.x, "Failures": these and no others are to be tried again.
                let is_passing = matches!(
                    status,
                    StatusCode::TOO_MANY_REQUESTS
                        | StatusCode::BAD_GATEWAY
                        | StatusCode::SERVICE_UNAVAILABLE
                        | StatusCode::GATEWAY_TIMEOUT
                );
                Err(if is_passing { Failure::Passing(cause) } else { Failure::Final(cause) })
            }
            Err(error) => {
                let error = error.without_url();
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                Err(Failure::Passing(cause.unwrap_or_else(|| error.to_string())))
            }
        }
    }
}
