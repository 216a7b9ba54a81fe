//! Settings of the audit trail.

use std::num::NonZeroUsize;

use super::reader::Reader;
use super::table;
use super::value::count;

/// Most events that may be kept in memory; each takes about half a kilobyte.
const MAX_CAP: usize = 1_000_000;

/// The audit trail.
#[derive(Debug)]
pub struct AuditSettings {
    /// Events that are kept in memory.
    pub log_cap: NonZeroUsize,
}

/// Reads them.
pub(super) fn read(reader: &mut Reader<'_>) -> AuditSettings {
    AuditSettings { log_cap: reader.value(table::AUDIT_LOG_CAP, |raw| count(raw, MAX_CAP)) }
}
