//! What the auth callback measures, under the names that Prometheus is told.

use super::exposition::{Exposition, Kind};
use crate::callback::Tally;

/// Writes it out.
pub(super) fn write(tally: &Tally, into: &mut Exposition) {
    let help = "Questions that the auth callback had to settle, by what came of them.";
    let mut calls = into.family("callback_requests", Kind::Counter, help);
    for (result, count) in tally.calls() {
        calls.sample(&[("result", result)], count);
    }
    let help = "How long the auth callback took to answer, or not to.";
    let mut family = into.family("callback_duration_seconds", Kind::Histogram, help);
    if let Some(took) = tally.took() {
        family.histogram(&[], &took);
    }
    let help = "Look-ups of what the auth callback said before, by whether they were of use.";
    let mut cache = into.family("callback_cache", Kind::Counter, help);
    for (result, count) in tally.look_ups() {
        cache.sample(&[("result", result)], count);
    }
}
