//! The account of a request: its record, told to the audit trail and the metrics at its end, and a line of the journal.

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use coppice_gateway::audit::{Event, Trail, journal::Entry as _};
use coppice_gateway::error::GatewayError;
use coppice_gateway::metrics::Requests;
use coppice_gateway::record::{End, Observer, Observers, Pending, Record};
use coppice_gateway::route::{Class, Surface};
use divan::{Bencher, black_box};
use http::{HeaderValue, Method, StatusCode, Uri};
use tokio_util::sync::CancellationToken;

use crate::stand::{principal, ring};

/// A request that was let through and answered.
fn record(method: Method, class: Class) -> impl Fn() -> Record {
    let principal = principal(&ring());
    move || {
        let id = HeaderValue::from_static("0123456789abcdef0123456789abcdef");
        let uri = Uri::from_static("/sandboxes/i1a2b3c4d5e6f7a8b9c0d/timeout");
        let mut record = Record::begin(id, Some(Ipv4Addr::LOCALHOST.into()), method.clone(), uri);
        (record.surface, record.class) = (Some(Surface::Api), Some(class));
        record.scopes = principal.scopes;
        record.principal = Some(Arc::clone(&principal));
        record.mark_decided();
        record.mark_answered(StatusCode::OK);
        record
    }
}

fn trail() -> Arc<dyn Observer> {
    Arc::new(Trail::new(NonZeroUsize::new(10_000).unwrap(), None))
}

/// From the beginning of a request's account to its end, with these who are told.
fn accounted(
    bencher: Bencher<'_, '_>,
    observers: Vec<Arc<dyn Observer>>,
    record: impl Fn() -> Record,
) {
    let observers = Observers::new(observers, CancellationToken::new());
    bencher.with_inputs(record).bench_local_values(|record| {
        Pending::new(record, observers.clone()).end(End::Complete);
    });
}

#[divan::bench]
fn record_begun() -> Record {
    let id = HeaderValue::from_static("0123456789abcdef0123456789abcdef");
    Record::begin(id, Some(Ipv4Addr::LOCALHOST.into()), Method::GET, Uri::from_static("/templates"))
}

#[divan::bench]
fn told_nobody(bencher: Bencher<'_, '_>) {
    accounted(bencher, Vec::new(), record(Method::GET, Class::Read));
}

#[divan::bench]
fn told_metrics(bencher: Bencher<'_, '_>) {
    accounted(bencher, vec![Arc::new(Requests::default())], record(Method::GET, Class::Read));
}

#[divan::bench]
fn told_all_of_a_read(bencher: Bencher<'_, '_>) {
    let observers: Vec<Arc<dyn Observer>> = vec![trail(), Arc::new(Requests::default())];
    accounted(bencher, observers, record(Method::GET, Class::Read));
}

#[divan::bench]
fn told_all_of_a_change(bencher: Bencher<'_, '_>) {
    let observers: Vec<Arc<dyn Observer>> = vec![trail(), Arc::new(Requests::default())];
    accounted(bencher, observers, record(Method::POST, Class::Exec));
}

#[divan::bench]
fn event_of_a_refusal(bencher: Bencher<'_, '_>) {
    let mut refused = record(Method::GET, Class::Read)();
    refused.error = Some(GatewayError::HeadTooLarge);
    refused.took = Duration::from_millis(1);
    bencher.bench_local(|| Event::of(black_box(&refused)).unwrap());
}

/// Without its number, its time and the digest that chains it, which the journal's own thread adds.
#[divan::bench]
fn journal_line(bencher: Bencher<'_, '_>) {
    let event = Event::of(&record(Method::POST, Class::Exec)()).unwrap();
    let mut line = Vec::with_capacity(1024);
    bencher.bench_local(|| {
        line.clear();
        event.write(&mut line).unwrap();
        black_box(line.len())
    });
}
