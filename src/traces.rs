//! Traces: a span for each request that is kept, sent over OTLP to a collector.
//!
//! Spans are made of [`Record`]s when their requests have ended, wait in a bounded queue, and leave in batches from a
//! thread of their own. When the collector does not keep up they are dropped and counted; no request ever waits.

mod encode;
mod export;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::encode::Span;
use self::export::Exporter;
use crate::record::{Observer, Record};

/// Spans that wait to be sent.
const QUEUE: usize = 4096;

/// Where spans go, and as whose.
#[derive(Debug)]
pub struct Settings {
    /// The collector's address for spans, path included.
    pub endpoint: String,
    /// Sent with each batch. They may be secret.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// For one batch.
    pub timeout: Duration,
    /// What the gateway is called, and where it runs: OpenTelemetry's resource attributes.
    pub resource: Vec<(String, String)>,
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct Tally {
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Tally {
    /// How many there were of each.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = [("sent", &self.sent), ("failed", &self.failed), ("dropped", &self.dropped)];
        counts.into_iter().map(|(result, count)| (result, count.load(Ordering::Relaxed)))
    }
}

/// Makes spans of requests.
#[derive(Debug)]
pub struct Spans {
    queue: mpsc::Sender<Span>,
    tally: Arc<Tally>,
}

impl Observer for Spans {
    fn ended(&self, record: &Record) {
        let Some(span) = Span::of(record) else { return };
        if self.queue.try_send(span).is_err() {
            self.tally.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The thread that sends spans.
#[derive(Debug)]
pub struct Sending {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Sending {
    /// Sends what still waits, for two seconds at the most.
    pub fn finish(self) {
        self.stop.cancel();
        if self.thread.join().is_err() {
            tracing::error!("spans were not sent to the end");
        }
    }
}

/// Starts to send spans.
///
/// # Errors
/// The thread or its connections could not be set up.
pub fn start(settings: Settings) -> io::Result<(Arc<Spans>, Arc<Tally>, Sending)> {
    let (queue, waiting) = mpsc::channel(QUEUE);
    let (tally, stop) = (Arc::new(Tally::default()), CancellationToken::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exporter = Exporter::new(settings, waiting, Arc::clone(&tally), stop.clone())?;
    let thread = std::thread::Builder::new()
        .name("traces".to_owned())
        .spawn(move || runtime.block_on(exporter.run()))?;
    Ok((Arc::new(Spans { queue, tally: Arc::clone(&tally) }), tally, Sending { stop, thread }))
}
