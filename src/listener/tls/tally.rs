//! Counts how handshakes went, and writes that out for whoever scrapes.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::error::Elapsed;

use super::{Accepted, Failure};
use crate::metrics::{Exposition, Kind};
use crate::tls::Offer;

/// Counters; who went away without a word is in none of them, since those that only look whether a port is open do.
#[derive(Debug, Default)]
pub(super) struct Tally {
    done: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
    not_tls: AtomicU64,
}

impl Tally {
    pub(super) fn count(&self, shaken: &Result<Result<Accepted, Failure>, Elapsed>) {
        let counter = match shaken {
            Ok(Ok(_)) => &self.done,
            Ok(Err(Failure::Gone)) => return,
            Ok(Err(Failure::Handshake(_) | Failure::OutOfDate)) => &self.failed,
            Ok(Err(Failure::ClearText | Failure::NotTls)) => &self.not_tls,
            Err(_) => &self.late,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn write(&self, into: &mut Exposition) {
        let help =
            "TLS handshakes of clients, by result: done, failed, not in time, or no TLS at all.";
        let mut family = into.family("tls_handshakes", Kind::Counter, help);
        for (result, counter) in [
            ("ok", &self.done),
            ("failed", &self.failed),
            ("late", &self.late),
            ("not_tls", &self.not_tls),
        ] {
            family.sample(&[("result", result)], counter.load(Ordering::Relaxed));
        }
    }
}

/// The label is the path of the certificate's file as it was set, so that there are as many as in the settings.
pub(super) fn write_ends(offer: &Offer, into: &mut Exposition) {
    let help = "When a certificate, or one that it hangs on, ends, as Unix time.";
    let mut family = into.family("tls_certificate_expiry_seconds", Kind::Gauge, help);
    for (file, ends) in offer.ends() {
        family.sample(&[("certificate", &file.display().to_string())], ends.0);
    }
}
