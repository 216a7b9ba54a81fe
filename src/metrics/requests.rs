//! Requests: how many of which kind, how long they took, how many there are now.
//!
//! The labels are enums, and each combination has its number in an array that is as long from the first request on. To
//! count a request takes a handful of additions.

use std::collections::BTreeSet;
use std::time::Duration;

use http::StatusCode;

use super::exposition::{Exposition, Kind};
use crate::error::GatewayError;
use crate::record::{Observer, Outcome, Record, surface_name};
use crate::route::{Class, Surface, table};
use crate::tally::{Counters, Histograms};

const fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// From a cached decision to one that waited for the auth callback and the upstream.
const DECISIONS: &[Duration] = &[
    micros(10),
    micros(25),
    micros(50),
    micros(100),
    micros(250),
    micros(1_000),
    micros(2_500),
    micros(10_000),
    micros(50_000),
    micros(250_000),
    micros(1_000_000),
    micros(5_000_000),
];

/// From a read to a create that takes its time; what is beyond depends on what is measured.
const ANSWERS: &[Duration] = &[
    micros(500),
    micros(1_000),
    micros(2_500),
    micros(5_000),
    micros(10_000),
    micros(25_000),
    micros(50_000),
    micros(100_000),
    micros(250_000),
    micros(500_000),
    micros(1_000_000),
    micros(2_500_000),
    micros(5_000_000),
    micros(10_000_000),
    micros(30_000_000),
];
/// The surfaces, with one more for requests that were refused before that was known. A surface's number is one more than
/// its own.
const SURFACES: usize = Surface::ALL.len() + 1;
const CLASSES: usize = Class::ALL.len() + 1;
const FAMILIES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// What can come of a request: refusals of streaming calls are told under 200, and whoever left saw no status.
const ENDS: [(Outcome, &[usize]); 3] =
    [(Outcome::Allowed, &[1, 2, 3]), (Outcome::Denied, &[2, 4]), (Outcome::Error, &[0, 2, 4, 5])];

const BEGUN: usize = 0;
const ENDED: usize = 1;

/// Counts requests.
#[derive(Debug)]
pub struct Requests {
    kinds: Counters,
    under_way: Counters,
    took: Histograms,
    decided: Histograms,
    upstream: Histograms,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            kinds: Counters::new(SURFACES * CLASSES * Outcome::ALL.len() * FAMILIES.len()),
            under_way: Counters::new(2),
            // A stream may last for hours.
            took: Histograms::new(
                [ANSWERS, &[120, 600, 3_600].map(Duration::from_secs)].concat(),
                SURFACES,
            ),
            decided: Histograms::new(DECISIONS, SURFACES),
            // A create may wait for its sandbox.
            upstream: Histograms::new([ANSWERS, &[Duration::from_secs(90)]].concat(), SURFACES),
        }
    }
}

impl Observer for Requests {
    fn began(&self) {
        self.under_way.add(BEGUN, 1);
    }

    fn ended(&self, record: &Record) {
        self.under_way.add(ENDED, 1);
        let surface = surface_number(record.surface);
        let class = record.class.map_or(0, |class| class as usize + 1);
        let number = number(surface, class, record.outcome() as usize, family(record.status));
        self.kinds.add(number, 1);
        self.took.add(surface, record.took);
        if let Some(decided) = record.decided {
            self.decided.add(surface, decided);
        }
        if let Some(waited) = waited_for_upstream(record) {
            self.upstream.add(surface, waited);
        }
    }
}

impl Requests {
    /// Requests that have begun and not ended, streams and tunnels included.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        match self.under_way.read()[..] {
            // Read one after the other, while both grow.
            [begun, ended] => begun.saturating_sub(ended),
            _ => 0,
        }
    }

    /// Writes all of it out.
    pub(super) fn write(&self, into: &mut Exposition) {
        self.write_kinds(into);
        self.write_durations(
            into,
            "request_duration_seconds",
            "From a request's arrival to the last byte of its answer, or the end of its tunnel.",
            &self.took,
        );
        self.write_durations(
            into,
            "decision_duration_seconds",
            "From a request's arrival until it was let through or refused.",
            &self.decided,
        );
        self.write_durations(
            into,
            "upstream_duration_seconds",
            "From when a request was let through to the head of the upstream's answer.",
            &self.upstream,
        );
    }

    fn write_kinds(&self, into: &mut Exposition) {
        let counts = self.kinds.read();
        let help = "Requests that have ended, by what they were for and what became of them.";
        let mut requests = into.family("requests", Kind::Counter, help);
        let usual = usual();
        for surface in surfaces() {
            for class in std::iter::once(None).chain(Class::ALL.map(Some)) {
                for outcome in Outcome::ALL {
                    for (family, status) in FAMILIES.into_iter().enumerate() {
                        let class_number = class.map_or(0, |class| class as usize + 1);
                        let number =
                            number(surface_number(surface), class_number, outcome as usize, family);
                        let count = counts.get(number).copied().unwrap_or_default();
                        // What never happens is left out, unless it did.
                        if count > 0 || usual.contains(&number) {
                            let labels = [
                                ("surface", surface_name(surface)),
                                ("class", class.map_or("none", Class::name)),
                                ("outcome", outcome.name()),
                                ("status", status),
                            ];
                            requests.sample(&labels, count);
                        }
                    }
                }
            }
        }
    }

    fn write_durations(
        &self,
        into: &mut Exposition,
        name: &str,
        help: &str,
        histograms: &Histograms,
    ) {
        let read = histograms.read();
        let mut family = into.family(name, Kind::Histogram, help);
        for surface in surfaces() {
            if let Some(distribution) = read.get(surface_number(surface)) {
                family.histogram(&[("surface", surface_name(surface))], distribution);
            }
        }
    }
}

fn surfaces() -> impl Iterator<Item = Option<Surface>> {
    std::iter::once(None).chain(Surface::ALL.map(Some))
}

fn surface_number(surface: Option<Surface>) -> usize {
    surface.map_or(0, |surface| surface as usize + 1)
}

const fn number(surface: usize, class: usize, outcome: usize, family: usize) -> usize {
    ((surface * CLASSES + class) * Outcome::ALL.len() + outcome) * FAMILIES.len() + family
}

fn family(status: Option<StatusCode>) -> usize {
    status.map_or(0, |status| usize::from(status.as_u16() / 100).min(FAMILIES.len() - 1))
}

/// The combinations that the route table makes possible.
fn usual() -> BTreeSet<usize> {
    let rows = table::rows().chain([table::USER_PORT]).map(|route| (route.surface, route.class));
    let unlisted = Surface::ALL.map(|surface| (surface, surface.default_class()));
    let known = rows.chain(unlisted).map(|(surface, class)| (Some(surface), Some(class)));
    let mut usual = BTreeSet::new();
    for (surface, class) in known.chain([(None, None)]) {
        let class = class.map_or(0, |class| class as usize + 1);
        for (outcome, families) in ENDS {
            let surface = surface_number(surface);
            usual.extend(families.iter().map(|at| number(surface, class, outcome as usize, *at)));
        }
    }
    usual
}

/// How long the upstream took to begin its answer, for a request that was sent there.
fn waited_for_upstream(record: &Record) -> Option<Duration> {
    let is_own = matches!(record.surface, None | Some(Surface::Gateway));
    let was_sent = matches!(
        record.error,
        None | Some(
            GatewayError::UpstreamUnreachable { .. }
                | GatewayError::UpstreamBadAnswer { .. }
                | GatewayError::UpstreamTimeout { .. }
        )
    );
    let (decided, answered) = (record.decided?, record.answered?);
    (was_sent && !is_own).then(|| answered.saturating_sub(decided))
}
