//! Keeps a line that would be logged over and over from filling the disk.
//!
//! Of what is said in one place of the code, in the same words and with the same error code, some lines a second are
//! written; the others are counted, and their number is told. The first is always among those written. Whoever logs at
//! DEBUG gets everything.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};

use crate::clock;

/// Lines written of a kind in a second.
const MOST: u64 = 10;
const WINDOW: Duration = Duration::from_secs(1);
/// Kinds told apart. Further ones are written without limit: there are not that many in the code.
const KINDS: usize = 1024;

/// What makes lines alike.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Kind {
    place: Identifier,
    words: Words,
}

/// The words of a line that don't change from one of its kind to the next.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Words {
    message: String,
    error: Option<String>,
}

#[derive(Debug)]
struct Count {
    since: Instant,
    lines: u64,
    left_out: u64,
}

/// How often what was logged lately.
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<HashMap<Kind, Count>>);

/// Lines that were not written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) lines: u64,
    pub(super) message: String,
    pub(super) error: Option<String>,
}

impl Repeats {
    /// Whether one more line of a kind may be written.
    fn admits(&self, kind: Kind, now: Instant) -> bool {
        let mut kinds = self.locked();
        if kinds.len() >= KINDS && !kinds.contains_key(&kind) {
            return true;
        }
        let count = kinds.entry(kind).or_insert(Count { since: now, lines: 0, left_out: 0 });
        if now.saturating_duration_since(count.since) >= WINDOW {
            (count.since, count.lines) = (now, 0);
        }
        count.lines += 1;
        let admitted = count.lines <= MOST;
        count.left_out += u64::from(!admitted);
        admitted
    }

    /// What was left out since this was last asked. Kinds that have been quiet are forgotten.
    pub(super) fn take_left_out(&self) -> Vec<LeftOut> {
        let now = clock::instant();
        let mut left_out = Vec::new();
        self.locked().retain(|kind, count| {
            if count.left_out > 0 {
                let Words { message, error } = kind.words.clone();
                left_out.push(LeftOut { lines: count.left_out, message, error });
                count.left_out = 0;
            }
            now.saturating_duration_since(count.since) < WINDOW
        });
        left_out
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Kind, Count>> {
        // Counts are whole whenever the lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Applies the limit to what is written.
#[derive(Debug)]
pub(super) struct Limit(pub(super) Arc<Repeats>);

impl<S: Subscriber> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if !is_limited(metadata) || LevelFilter::current() >= LevelFilter::DEBUG {
            return true;
        }
        let mut words = Words::default();
        event.record(&mut words);
        self.0.admits(Kind { place: metadata.callsite(), words }, clock::instant())
    }
}

/// Troubles, and what is said of single requests. Whatever else is told at INFO happens seldom, and counts each time.
fn is_limited(metadata: &Metadata<'_>) -> bool {
    let level = *metadata.level();
    level <= Level::WARN
        || (level == Level::INFO && metadata.fields().field("request_id").is_some())
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "error" => self.error = Some(value.to_owned()),
            "message" => value.clone_into(&mut self.message),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;
    use tracing_subscriber::Layer as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Writes down what is let through.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<Words>>>);

    impl<S: Subscriber> tracing_subscriber::Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut words = Words::default();
            event.record(&mut words);
            self.0.lock().unwrap().push(words);
        }
    }

    /// What is let through at INFO, and what was left out.
    fn logged(log: impl FnOnce()) -> (Vec<Words>, Vec<LeftOut>) {
        let (lines, repeats) = (Lines::default(), Arc::new(Repeats::default()));
        let subscriber = tracing_subscriber::registry()
            .with(LevelFilter::INFO)
            .with(lines.clone().with_filter(Limit(Arc::clone(&repeats))));
        with_default(subscriber, log);
        let written = lines.0.lock().unwrap().clone();
        (written, repeats.take_left_out())
    }

    #[test]
    fn repeats_are_counted_instead_of_written() {
        let (written, left_out) = logged(|| {
            for number in 0..500 {
                tracing::warn!(number, "the upstream could not be asked");
            }
        });
        assert_eq!(written.len() as u64, MOST);
        let message = "the upstream could not be asked".to_owned();
        assert_eq!(left_out, [LeftOut { lines: 490, message, error: None }]);
    }

    #[test]
    fn a_flood_of_one_kind_hides_no_other() {
        let (written, _) = logged(|| {
            for _ in 0..100 {
                let refused = |error: &str| tracing::info!(request_id = "r", error, "refused");
                refused("unauthorized");
            }
            for error in ["timeout", "unauthorized"] {
                tracing::info!(request_id = "r", error, "refused");
            }
            tracing::error!("a bug");
        });
        let errors: Vec<_> = written.iter().filter_map(|words| words.error.as_deref()).collect();
        assert_eq!(errors.iter().filter(|error| **error == "timeout").count(), 1);
        assert_eq!(written.last().unwrap().message, "a bug");
        assert!(written.len() <= 2 * MOST as usize);
    }

    #[test]
    fn what_is_told_at_a_start_is_told_in_full() {
        let (written, left_out) = logged(|| {
            for tenant in 0..50 {
                tracing::info!(tenant, "active sandboxes are limited");
            }
        });
        assert_eq!((written.len(), left_out), (50, Vec::new()));
    }

    #[test]
    fn a_second_later_there_is_room_again() {
        let repeats = Repeats::default();
        let place =
            tracing::callsite!(name: "x", kind: tracing::metadata::Kind::EVENT, fields: message);
        let kind = || Kind { place: Identifier(place), words: Words::default() };
        let now = clock::instant();
        let admitted = |at| (0..100).filter(|_| repeats.admits(kind(), at)).count() as u64;
        assert_eq!((admitted(now), admitted(now + WINDOW / 2)), (MOST, 0));
        assert_eq!(admitted(now + WINDOW), MOST);
    }
}
