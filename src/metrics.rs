//! What Prometheus is told: a registry of everything that is measured, written out when somebody scrapes.
//!
//! Whatever is measured on the way of a request is counted in fixed arrays ([`Requests`]); everything else is read from
//! where it is known anyway, by the functions that were [added](Registry::add). No label takes its value from a client.

mod callback;
pub mod exposition;
mod quotas;
mod requests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use self::exposition::{Exposition, Format, Kind};
pub use self::quotas::Quotas;
pub use self::requests::Requests;
use crate::callback::Callback;

type Reader = Box<dyn Fn(&mut Exposition) + Send + Sync>;

/// Everything that is measured.
pub struct Registry {
    readers: Vec<Reader>,
    quotas: Option<Quotas>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry({} readers)", self.readers.len())
    }
}

impl Registry {
    /// Of the requests alone, and of what is known about this build.
    #[must_use]
    pub fn new(requests: Arc<Requests>, started: crate::clock::UnixTime) -> Self {
        let mut registry = Self { readers: Vec::new(), quotas: None };
        registry.add(move |into| requests.write(into));
        registry.gauge(
            "start_time_seconds",
            "When the gateway started, as Unix time.",
            move || started.0,
        );
        registry.add(|into| {
            let mut family =
                into.family("build_info", Kind::Gauge, "1, with the version as a label.");
            family.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        });
        registry
    }

    /// Has `write` asked at every scrape. It must not wait.
    pub fn add(&mut self, write: impl Fn(&mut Exposition) + Send + Sync + 'static) {
        self.readers.push(Box::new(write));
    }

    /// A number that goes up and down, read at every scrape.
    pub fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.add(move |into| into.family(name, Kind::Gauge, help).sample(&[], read()));
    }

    /// A number that only grows, read at every scrape. The name goes without its `_total`.
    pub fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.add(move |into| into.family(name, Kind::Counter, help).sample(&[], read()));
    }

    /// What the auth callback measures.
    pub fn callback(&mut self, callback: Arc<Callback>) {
        self.add(move |into| callback::write(callback.tally(), into));
    }

    /// What counts against the tenants' limits.
    pub fn quotas(&mut self, quotas: Quotas) {
        self.quotas = Some(quotas);
    }

    /// All of it, as it is now.
    pub async fn write(&self, format: Format) -> String {
        let mut exposition = Exposition::new(format);
        for write in &self.readers {
            write(&mut exposition);
        }
        if let Some(quotas) = &self.quotas {
            quotas.write(&mut exposition).await;
        }
        exposition.finish()
    }
}

/// How reloads went.
#[derive(Debug, Default)]
pub struct Reloads {
    done: AtomicU64,
    failed: AtomicU64,
}

impl Reloads {
    /// One was made, or failed.
    pub fn count(&self, is_done: bool) {
        let counter = if is_done { &self.done } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes them out.
    pub fn write(&self, into: &mut Exposition) {
        let help = "Reloads of the keys or of all settings, by result.";
        let mut family = into.family("reloads", Kind::Counter, help);
        family.sample(&[("result", "ok")], self.done.load(Ordering::Relaxed));
        family.sample(&[("result", "failed")], self.failed.load(Ordering::Relaxed));
    }
}
