//! Logs: to standard error, as text on a terminal and as JSON elsewhere, no line too often.

mod repeats;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};

use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, reload};

use self::repeats::Repeats;
use crate::config::{LogFilter, LogFormat, LogSettings};

/// The one place in what the gateway is built upon that writes values of clients' headers to the log, at TRACE. Whatever
/// filter is set, it is not heard.
const TELLS_VALUES: &str = "h2::frame::headers";

/// What can be changed, and must be done, while the log is written.
struct Started {
    filter: reload::Handle<EnvFilter, Registry>,
    repeats: Arc<Repeats>,
}

static STARTED: OnceLock<Started> = OnceLock::new();

/// Sends what is logged from now on to standard error. Later calls change nothing.
pub fn start(settings: &LogSettings) {
    let (filter, handle) = reload::Layer::new(EnvFilter::new(settings.filter.as_str()));
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let repeats = Arc::new(Repeats::default());
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let limit = repeats::Limit(Arc::clone(&repeats));
    let limit = limit.and(filter_fn(|line| line.target() != TELLS_VALUES));
    let started = if json {
        registry.with(lines.json().flatten_event(true).with_filter(limit)).try_init()
    } else {
        registry.with(lines.with_ansi(terminal).with_filter(limit)).try_init()
    };
    match started {
        Ok(()) => {
            // Nobody else gets here: only one subscriber can be put in place.
            let _ = STARTED.set(Started { filter: handle, repeats });
            std::panic::set_hook(Box::new(tell_bug));
        }
        Err(_) => tracing::debug!("logging was started before"),
    }
}

/// A panic is a line like any other, not text that no reader of JSON expects. The request that it took down, if any, has
/// a line of its own. There is a backtrace where `RUST_BACKTRACE` asks for one.
fn tell_bug(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    tracing::error!(
        cause = panic.payload_as_str(),
        place = panic.location().map(tracing::field::display),
        thread = std::thread::current().name(),
        backtrace = backtrace.map(tracing::field::display),
        "a bug"
    );
}

/// Puts another filter in force.
pub fn refilter(filter: &LogFilter) {
    if let Some(started) = STARTED.get() {
        // Fails only when logging has ended.
        let _ = started.filter.reload(EnvFilter::new(filter.as_str()));
    }
}

/// Says what was left out lately because it was said often enough. To be called about once a second.
pub fn tell_left_out() {
    if let Some(started) = STARTED.get() {
        for left_out in started.repeats.take_left_out() {
            tracing::warn!(
                lines = left_out.lines,
                message_left_out = left_out.message,
                error = left_out.error,
                "lines like others were left out"
            );
        }
    }
}
