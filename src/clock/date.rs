//! Reads RFC 3339 dates (`2026-11-22T05:12:45Z`, `2026-11-22T06:12:45.5+01:00`).
//!
//! Strict: both time and offset are required, and the day must exist. Fractions of a second are cut off.

use super::UnixTime;

/// A text that is no date.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an RFC 3339 date since 1970, as in 2026-11-22T05:12:45Z")]
pub struct BadDate;

/// Reads a date.
pub(super) fn read(text: &str) -> Result<UnixTime, BadDate> {
    let mut rest = text.as_bytes();
    let year = number(&mut rest, 4)?;
    literal(&mut rest, b"-")?;
    let month = number(&mut rest, 2)?;
    literal(&mut rest, b"-")?;
    let day = number(&mut rest, 2)?;
    literal(&mut rest, b"Tt")?;
    let hour = number(&mut rest, 2)?;
    literal(&mut rest, b":")?;
    let minute = number(&mut rest, 2)?;
    literal(&mut rest, b":")?;
    let second = number(&mut rest, 2)?;
    if literal(&mut rest, b".").is_ok() {
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        rest = rest.split_at_checked(digits).filter(|_| digits > 0).ok_or(BadDate)?.1;
    }
    let offset = offset(&mut rest)?;
    let in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && rest.is_empty();
    if !in_range {
        return Err(BadDate);
    }
    let local = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    u64::try_from(local - offset).map(UnixTime).map_err(|_| BadDate)
}

/// Seconds east of Greenwich.
fn offset(rest: &mut &[u8]) -> Result<i64, BadDate> {
    if literal(rest, b"Zz").is_ok() {
        return Ok(0);
    }
    let sign = if literal(rest, b"+").is_ok() {
        1
    } else {
        literal(rest, b"-")?;
        -1
    };
    let hours = number(rest, 2)?;
    literal(rest, b":")?;
    let minutes = number(rest, 2)?;
    if hours > 23 || minutes > 59 {
        return Err(BadDate);
    }
    Ok(sign * (hours * 60 + minutes) * 60)
}

fn number(rest: &mut &[u8], digits: usize) -> Result<i64, BadDate> {
    let (number, after) = rest.split_at_checked(digits).ok_or(BadDate)?;
    *rest = after;
    number.iter().try_fold(0, |sum, digit| match digit {
        b'0'..=b'9' => Ok(sum * 10 + i64::from(digit - b'0')),
        _ => Err(BadDate),
    })
}

fn literal(rest: &mut &[u8], choices: &[u8]) -> Result<(), BadDate> {
    let (first, after) = rest.split_first().ok_or(BadDate)?;
    if !choices.contains(first) {
        return Err(BadDate);
    }
    *rest = after;
    Ok(())
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let leaps_before = |year: i64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let years = (year - 1970) * 365 + leaps_before(year) - leaps_before(1970);
    years + (1..month).map(|earlier| days_in_month(year, earlier)).sum::<i64>() + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_clock_writes() {
        for seconds in
            [0, 1, 951_782_400, 951_868_799, 1_767_225_599, 4_107_542_400, 253_402_300_799]
        {
            assert_eq!(read(&UnixTime(seconds).to_string()), Ok(UnixTime(seconds)));
        }
    }

    #[test]
    fn understands_offsets_and_fractions() {
        for (text, seconds) in [
            ("1970-01-01T01:00:00+01:00", 0),
            ("1970-01-01T00:00:00-00:30", 1800),
            ("1970-01-01t00:00:01.999999z", 1),
        ] {
            assert_eq!(read(text), Ok(UnixTime(seconds)), "{text}");
        }
    }

    #[test]
    fn refuses_what_only_looks_like_a_date() {
        for text in [
            "",
            "2026",
            "2026-11-22",
            "2026-11-22T05:12:45",
            "2026-11-22 05:12:45Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00Zx",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00+24:00",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "+026-01-01T00:00:00Z",
            "2026-1-01T00:00:00Z",
            "never",
        ] {
            assert_eq!(read(text), Err(BadDate), "{text}");
        }
    }
}
