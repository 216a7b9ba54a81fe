//! Wall-clock time, injected.
//!
//! The only place that reads the system clock. Decisions that depend on time take a [`UnixTime`], so that tests can
//! choose it.

mod date;

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use date::BadDate;

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// The system's idea of now. A clock set before 1970 reads as 1970.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this module is where the system clock is read")]
    pub fn now() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs())
    }
}

/// Nanoseconds since 1970-01-01T00:00:00Z, by the system's idea of now.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this module is where the system clock is read")]
pub fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The present of a clock that only goes forward.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this module is where the system clock is read")]
pub fn instant() -> Instant {
    Instant::now()
}

impl FromStr for UnixTime {
    type Err = BadDate;

    /// Reads an RFC 3339 date.
    fn from_str(text: &str) -> Result<Self, BadDate> {
        date::read(text)
    }
}

impl fmt::Display for UnixTime {
    /// RFC 3339 in UTC, as in `2026-11-22T05:12:45Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0 / 86_400;
        let rest = self.0 % 86_400;
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Gregorian date of a day count since 1970-01-01, by counting in 400-year eras that start on 1 March.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_known_instants() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(UnixTime(seconds).to_string(), text);
        }
    }
}
