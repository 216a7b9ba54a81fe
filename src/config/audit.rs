//! Reads how the audit log is kept.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use super::table::{AUDIT_LOG, AUDIT_LOG_CAP, AUDIT_POLICY, AUDIT_ROTATE_SIZE, AUDIT_SYNC};
use super::value::{Raw, count, decimal, duration, either, path};

/// Most events that may be kept in memory; each takes about half a kilobyte.
const MAX_CAP: usize = 1_000_000;

/// Settings of the audit log.
#[derive(Debug)]
pub struct AuditSettings {
    /// Events that are kept in memory.
    pub log_cap: NonZeroUsize,
    /// The journal's file; none: no journal.
    pub log: Option<PathBuf>,
    /// What happens when the disk does not keep up.
    pub policy: AuditPolicy,
    /// When what was written is made to reach the disk.
    pub sync: AuditSync,
    /// The size in bytes at which the file is put aside.
    pub rotate_size: Option<u64>,
}

/// What happens when the disk does not keep up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditPolicy {
    /// Events are dropped and counted.
    Drop,
    /// Requests that matter wait, and are refused in the end.
    Block,
}

/// When what was written is made to reach the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditSync {
    /// At once.
    Each,
    /// After this time.
    Every(Duration),
    /// When the system likes.
    Never,
}

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Smallest size of a file, so that there is no file for each event.
const MIN_ROTATE: u64 = 64 << 10;

/// Reads all of it.
pub(super) fn read(reader: &mut Reader<'_>) -> AuditSettings {
    let settings = AuditSettings {
        log_cap: reader.value(AUDIT_LOG_CAP, |raw| count(raw, MAX_CAP)),
        log: reader.optional(AUDIT_LOG, path),
        policy: reader.value(AUDIT_POLICY, policy),
        sync: reader.value(AUDIT_SYNC, sync),
        rotate_size: reader.optional(AUDIT_ROTATE_SIZE, rotate_size),
    };
    if reader.given(AUDIT_LOG).is_none() {
        for setting in [AUDIT_POLICY, AUDIT_SYNC, AUDIT_ROTATE_SIZE] {
            if reader.given(setting).is_some() {
                let origin = reader.origin(setting);
                reader.warn(format!("{origin}: means nothing without --audit-log"));
            }
        }
    }
    settings
}

fn policy(raw: &Raw) -> Result<AuditPolicy, String> {
    either(raw, [("drop", AuditPolicy::Drop), ("block", AuditPolicy::Block)])
}

fn sync(raw: &Raw) -> Result<AuditSync, String> {
    match raw.text()? {
        "each" => Ok(AuditSync::Each),
        "none" => Ok(AuditSync::Never),
        _ => duration(raw, MILLISECOND..=HOUR)
            .map(AuditSync::Every)
            .map_err(|why| format!("{why}; or each, or none")),
    }
}

fn rotate_size(raw: &Raw) -> Result<u64, String> {
    let text = raw.text()?;
    let units = [('K', 10), ('M', 20), ('G', 30)];
    let scaled = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(*unit)?, *shift)));
    let (digits, shift) = scaled.unwrap_or((text, 0));
    let size = decimal::<u64>(digits).and_then(|size| size.checked_mul(1 << shift));
    size.filter(|size| *size >= MIN_ROTATE).ok_or_else(|| {
        format!(
            "'{text}' is no size of at least 64K; write a number of bytes, or one with K, M or G"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let read = |text: &str| rotate_size(&Raw::Text(text.to_owned()));
        for (text, size) in
            [("65536", 65_536), ("64K", 65_536), (" 10M ", 10 << 20), ("2G", 2 << 30)]
        {
            assert_eq!(read(text), Ok(size), "{text}");
        }
        for text in
            ["", "K", "0", "63K", "65535", "1.5M", "1MB", "1m", "MM", "64KK", "99999999999G", "-1"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_of_syncing() {
        let read = |text: &str| sync(&Raw::Text(text.to_owned()));
        assert_eq!(read("each"), Ok(AuditSync::Each));
        assert_eq!(read("none"), Ok(AuditSync::Never));
        assert_eq!(read("250ms"), Ok(AuditSync::Every(Duration::from_millis(250))));
        for text in ["0", "off", "never", "2h", "Each"] {
            assert!(read(text).unwrap_err().ends_with("; or each, or none"), "{text}");
        }
    }
}
