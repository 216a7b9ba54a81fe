//! Values as they are written: text or lists, numbers, durations, switches.
//!
//! Parsers say what they expect. The setting's name is put before their message by the caller.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A value before it is understood.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Raw {
    /// One text, which may still hold a comma list.
    Text(String),
    /// A TOML array.
    Items(Vec<String>),
}

impl Raw {
    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.trim().is_empty(),
            Self::Items(items) => items.is_empty(),
        }
    }

    /// The value as one text, without white space around it.
    pub(super) fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text.trim()),
            Self::Items(_) => Err("takes one value, not an array".to_owned()),
        }
    }

    /// The value as a list of at least one text, none empty.
    pub(super) fn items(&self) -> Result<Vec<&str>, String> {
        let items: Vec<&str> = match self {
            Self::Text(text) => text.split(',').map(str::trim).collect(),
            Self::Items(items) => items.iter().map(|item| item.trim()).collect(),
        };
        if items.iter().any(|item| item.is_empty()) {
            return Err("an item of the list is empty".to_owned());
        }
        Ok(items)
    }

    /// A list whose items are all read by `parse`.
    pub(super) fn list<T>(
        &self,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        self.items()?.into_iter().map(parse).collect()
    }
}

/// A duration within bounds: a whole number with `ms`, `s`, `m` or `h`; a bare number is seconds.
pub(super) fn duration(raw: &Raw, bounds: RangeInclusive<Duration>) -> Result<Duration, String> {
    let text = raw.text()?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let number: Option<u64> = number.parse().ok().filter(|_| millis > 0);
    let Some(number) = number else {
        return Err(format!("'{text}' is no duration; write a whole number with ms, s, m or h"));
    };
    let value = number.checked_mul(millis).map(Duration::from_millis);
    value.filter(|value| bounds.contains(value)).ok_or_else(|| {
        format!(
            "'{text}' is out of range: it must be from {:?} to {:?}",
            bounds.start(),
            bounds.end()
        )
    })
}

/// `on`, `true`, `1`, or the opposite.
pub(super) fn switch(raw: &Raw) -> Result<bool, String> {
    match raw.text()? {
        "on" | "true" | "1" => Ok(true),
        "off" | "false" | "0" => Ok(false),
        other => Err(format!("'{other}' is neither on nor off")),
    }
}

/// One of two words.
pub(super) fn either<T>(raw: &Raw, [one, other]: [(&str, T); 2]) -> Result<T, String> {
    match raw.text()? {
        text if text == one.0 => Ok(one.1),
        text if text == other.0 => Ok(other.1),
        text => Err(format!("'{text}' is neither {} nor {}", one.0, other.0)),
    }
}

/// A whole number within bounds.
pub(super) fn number<T>(raw: &Raw, bounds: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    let text = raw.text()?;
    decimal(text).filter(|value| bounds.contains(value)).ok_or_else(|| {
        format!("'{text}' is no whole number from {} to {}", bounds.start(), bounds.end())
    })
}

/// Digits only: no sign, no white space, no leading zero.
pub(super) fn decimal<T: FromStr>(text: &str) -> Option<T> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// A count of at least one.
pub(super) fn count(raw: &Raw, most: usize) -> Result<NonZeroUsize, String> {
    number(raw, 1..=most).map(|count| NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN))
}

/// A path.
pub(super) fn path(raw: &Raw) -> Result<PathBuf, String> {
    let text = raw.text()?;
    if text.contains('\0') { Err("is no path".to_owned()) } else { Ok(text.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn durations() {
        let any = Duration::ZERO..=Duration::MAX;
        for (written, millis) in [
            ("0", 0),
            ("7", 7_000),
            ("250ms", 250),
            ("30s", 30_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            (" 5s ", 5_000),
        ] {
            assert_eq!(duration(&text(written), any.clone()), Ok(Duration::from_millis(millis)));
        }
        for written in [
            "s",
            "-1",
            "+1",
            "1.5s",
            "1 s",
            "1d",
            "1S",
            "99999999999999999999",
            "1e3",
            "18446744073709551615h",
        ] {
            assert!(duration(&text(written), any.clone()).is_err(), "{written}");
        }
        let bounds = Duration::from_secs(80)..=Duration::from_secs(3600);
        assert_eq!(
            duration(&text("79s"), bounds),
            Err("'79s' is out of range: it must be from 80s to 3600s".to_owned())
        );
    }

    #[test]
    fn switches() {
        for (written, value) in [
            ("on", true),
            ("true", true),
            ("1", true),
            ("off", false),
            ("false", false),
            ("0", false),
        ] {
            assert_eq!(switch(&text(written)), Ok(value));
        }
        for written in ["On", "yes", "no", "2", "enabled"] {
            assert!(switch(&text(written)).is_err(), "{written}");
        }
    }

    #[test]
    fn numbers_are_plain_decimals_within_bounds() {
        for written in ["0", "11", "+5", "05", "5.0", "0x5", "", "-1", "99999999999999999999"] {
            assert!(number::<usize>(&text(written), 1..=10).is_err(), "{written}");
        }
        assert_eq!(number::<usize>(&text("10"), 1..=10), Ok(10));
    }

    #[test]
    fn lists() {
        assert_eq!(text(" a , b").items(), Ok(vec!["a", "b"]));
        assert_eq!(Raw::Items(vec!["a,b".into()]).items(), Ok(vec!["a,b"]));
        for empty in [text("a,,b"), text("a,"), Raw::Items(vec![" ".into()])] {
            assert!(empty.items().is_err());
        }
    }
}
