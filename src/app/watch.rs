//! Who watches what the gateway does: the log, metrics, traces.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Settings;
use crate::audit::journal::Journal;
use crate::audit::{Sink, Trail};
use crate::authn::{Authenticator, KeyRing};
use crate::clock::UnixTime;
use crate::config::TraceSettings;
use crate::layer::observe::Line;
use crate::lifecycle::Phases;
use crate::metrics::{Kind, Quotas, Registry, Reloads, Requests};
use crate::ops::Unready;
use crate::record::{Observer, Observers};
use crate::traces::{self, Sending};
use crate::worker::Shared;

/// Whoever is told of requests, and what each of them has to show.
pub(super) struct Watching {
    pub(super) observers: Observers,
    pub(super) trail: Arc<Trail>,
    pub(super) journal: Option<Arc<Journal>>,
    pub(super) requests: Arc<Requests>,
    pub(super) spans: Option<Arc<traces::Tally>>,
    pub(super) sending: Option<Sending>,
}

/// Sets them up, those alone that somebody asked for.
pub(super) fn begin(
    settings: &Settings,
    journal: Option<Arc<Journal>>,
    phases: &Phases,
    is_counted: bool,
) -> io::Result<Watching> {
    let requests = Arc::new(Requests::default());
    let trail = Arc::new(Trail::new(
        settings.audit.log_cap,
        journal.clone().map(|journal| journal as Arc<dyn Sink>),
    ));
    let mut observers: Vec<Arc<dyn Observer>> = vec![Arc::new(Line), trail.clone()];
    if is_counted || !settings.server.ops_listen.is_empty() {
        observers.push(requests.clone());
    }
    let (mut spans, mut sending) = (None, None);
    if let Some(TraceSettings { endpoint, headers, timeout, resource, .. }) = &settings.traces {
        let (endpoint, headers, resource) = (endpoint.clone(), headers.clone(), resource.clone());
        let settings = traces::Settings { endpoint, headers, timeout: *timeout, resource };
        let (observer, tally, thread) = traces::start(settings)?;
        observers.push(observer);
        (spans, sending) = (Some(tally), Some(thread));
        tracing::info!("traces are sent to a collector");
    }
    let observers = Observers::new(observers, phases.stop.clone());
    Ok(Watching { observers, trail, journal, requests, spans, sending })
}

/// Everything that is measured.
pub(super) fn registry(
    requests: Arc<Requests>,
    spans: Option<Arc<traces::Tally>>,
    trail: Arc<Trail>,
    shared: &Shared,
    keys: &Arc<KeyRing>,
    reloads: &Arc<Reloads>,
) -> Registry {
    let mut registry = Registry::new(Arc::clone(&requests), UnixTime::now());
    if let Some(callback) = shared.gate.authenticator.callback() {
        registry.callback(Arc::clone(callback));
    }
    let admissions = &shared.admissions;
    let rules = Arc::clone(admissions);
    let limits = move |tenant: &_| rules.rules.load().limits.of(tenant);
    registry.quotas(Quotas::new(Arc::clone(&admissions.ledger), limits));
    let keys = Arc::clone(keys);
    registry.gauge("keys_loaded", "Static keys in force.", move || keys.snapshot().len() as u64);
    let reloads = Arc::clone(reloads);
    registry.add(move |into| reloads.write(into));
    registry.add(move |into| {
        let help = "Audit events, by what became of the request.";
        let mut family = into.family("audit_events", Kind::Counter, help);
        for (outcome, count) in trail.counts() {
            family.sample(&[("outcome", outcome.name())], count);
        }
    });
    let journal = shared.gate.audit.clone();
    let dropped = move || journal.as_ref().map_or(0, |journal| journal.dropped());
    registry.counter("audit_dropped", "Audit events that did not reach the journal.", dropped);
    let journal = shared.gate.audit.clone();
    let queued = move || journal.as_ref().map_or(0, |journal| journal.queued() as u64);
    registry.gauge("audit_queue_length", "Audit events that wait to be written.", queued);
    let (places, most) = (Arc::clone(&shared.places), shared.places.available_permits());
    let tunnels = Arc::clone(&shared.tunnels);
    registry.gauge("connections", "Open connections of clients.", move || {
        // One that has become a tunnel has given its place back.
        let held = most.saturating_sub(places.available_permits());
        (held + tunnels.load(Ordering::Relaxed)) as u64
    });
    let tunnels = Arc::clone(&shared.tunnels);
    registry.add(move |into| {
        let help = "Requests under way, those whose answers stream included, and open tunnels.";
        let mut streams = into.family("streams", Kind::Gauge, help);
        // The request that opened a tunnel is under way for as long as that is open.
        let tunnels = tunnels.load(Ordering::Relaxed) as u64;
        streams.sample(&[("kind", "http")], requests.under_way().saturating_sub(tunnels));
        streams.sample(&[("kind", "tunnel")], tunnels);
    });
    if let Some(tls) = shared.tls.clone() {
        registry.add(move |into| tls.write(into));
    }
    if let Some(spans) = spans {
        registry.add(move |into| {
            let help = "Spans of kept traces, by whether the collector took them.";
            let mut family = into.family("spans", Kind::Counter, help);
            for (result, count) in spans.counts() {
                family.sample(&[("result", result)], count);
            }
        });
    }
    registry
}

/// Why the gateway should get no requests although it runs: it would refuse them all.
pub(super) fn unready(authenticator: Arc<Authenticator>, keys: Arc<KeyRing>) -> Box<Unready> {
    Box::new(move || {
        let knows_nobody = !authenticator.is_open()
            && authenticator.callback().is_none()
            && !keys.snapshot().iter().any(|key| key.is_valid_at(UnixTime::now()));
        knows_nobody.then_some("no key is valid now")
    })
}
