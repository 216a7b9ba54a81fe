//! How long an answer may be remembered: `Cache-Control` (RFC 9111 5.2.2), as far as it bears on an identity.
//!
//! Whatever is doubtful is not remembered.

use std::time::Duration;

/// What the service says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Freshness {
    /// Nothing: the settings decide.
    #[default]
    Unsaid,
    /// So long.
    For(Duration),
    /// Not at all.
    Never,
    /// Not at all, nor may anybody else have it who asked the same at the same time.
    NotShared,
}

impl Freshness {
    /// Takes one line of it.
    pub(super) fn hear(&mut self, line: &[u8]) {
        for directive in line.split(|byte| *byte == b',') {
            *self = self.and(Self::directive(directive.trim_ascii()));
        }
    }

    /// What was said was for the connection alone.
    pub(super) fn take_back(&mut self) {
        if *self != Self::Unsaid {
            *self = self.and(Self::Never);
        }
    }

    fn directive(text: &[u8]) -> Self {
        let mut halves = text.splitn(2, |byte| *byte == b'=');
        let name = halves.next().unwrap_or_default().trim_ascii_end();
        let value = halves.next().map(<[u8]>::trim_ascii_start);
        // A comma in quotes splits in the wrong place; no directive that matters here needs quotes.
        let doubtful = text.iter().any(|byte| *byte == b'"' || !(b' '..=b'~').contains(byte));
        if name.eq_ignore_ascii_case(b"no-store") {
            Self::NotShared
        } else if doubtful || name.eq_ignore_ascii_case(b"no-cache") {
            Self::Never
        } else if name.eq_ignore_ascii_case(b"max-age") {
            value.and_then(seconds).map_or(Self::Never, Self::For)
        } else {
            Self::Unsaid
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::NotShared, _) | (_, Self::NotShared) => Self::NotShared,
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::Unsaid, said) | (said, Self::Unsaid) => said,
            (Self::For(one), Self::For(other)) if one == other => self,
            (Self::For(_), Self::For(_)) => Self::Never,
        }
    }

    /// For how long, at most `ceiling`; `default` where the service says nothing. `None` for not at all.
    ///
    /// Up to a tenth less than said, so that what was learnt in one moment is not asked for again in one moment.
    pub(super) fn lifetime(self, default: Duration, ceiling: Duration) -> Option<Duration> {
        let said = match self {
            Self::Unsaid => default,
            Self::For(said) => said,
            Self::Never | Self::NotShared => Duration::ZERO,
        };
        let whole = Some(said.min(ceiling)).filter(|whole| !whole.is_zero())?;
        let thousandths = getrandom::u32().unwrap_or_default() % 101;
        Some(whole - whole * thousandths / 1000).filter(|lifetime| !lifetime.is_zero())
    }
}

/// Decimal digits; what does not fit is the longest there is.
fn seconds(digits: &[u8]) -> Option<Duration> {
    let sound = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| sound)?;
    Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&[u8]]) -> Freshness {
        let mut said = Freshness::default();
        lines.iter().for_each(|line| said.hear(line));
        said
    }

    #[test]
    fn doubt_means_never() {
        use Freshness::{For, Never, NotShared, Unsaid};
        let ten = For(Duration::from_secs(10));
        let table: &[(&[&[u8]], Freshness)] = &[
            (&[], Unsaid),
            (&[b""], Unsaid),
            (&[b"private, must-revalidate"], Unsaid),
            (&[b"max-age=10"], ten),
            (&[b"Private ,\tMAX-AGE = 10"], ten),
            (&[b"max-age=10, max-age=10"], ten),
            (&[b"max-age=10", b"private"], ten),
            (&[b"max-age=99999999999999999999999"], For(Duration::from_secs(u64::MAX))),
            (&[b"max-age=10, max-age=11"], Never),
            (&[b"max-age=10", b"max-age=11"], Never),
            (&[b"max-age"], Never),
            (&[b"max-age="], Never),
            (&[b"max-age=-1"], Never),
            (&[b"max-age=+1"], Never),
            (&[b"max-age=1.5"], Never),
            (&[b"max-age=\"10\""], Never),
            (&[b"x=\"a, max-age=10, b\""], Never),
            (&[b"max-age=10 s"], Never),
            (&[b"max-age=10, \xff"], Never),
            (&[b"no-cache, max-age=10"], Never),
            (&[b"no-cache=\"set-cookie\", max-age=10"], Never),
            (&[b"max-age=10", b"no-store"], NotShared),
            (&[b"No-Store"], NotShared),
            (&[b"no-cache, no-store"], NotShared),
            (&[b"s-maxage=10"], Unsaid),
        ];
        for (lines, expected) in table {
            let shown: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
            assert_eq!(read(lines), *expected, "{shown:?}");
        }
    }

    #[test]
    fn nothing_outlives_its_ceiling_and_jitter_only_shortens() {
        let second = Duration::from_secs(1);
        let table = [
            (Freshness::Unsaid, None),
            (Freshness::For(Duration::ZERO), None),
            (Freshness::Never, None),
            (Freshness::NotShared, None),
            (Freshness::For(10 * second), Some(10 * second)),
            (Freshness::For(Duration::MAX), Some(60 * second)),
        ];
        for (said, whole) in table {
            for _ in 0..100 {
                let lifetime = said.lifetime(Duration::ZERO, 60 * second);
                assert_eq!(lifetime.is_some(), whole.is_some(), "{said:?}");
                if let (Some(lifetime), Some(whole)) = (lifetime, whole) {
                    assert!(lifetime <= whole && lifetime >= whole * 9 / 10, "{said:?}");
                }
            }
        }
        let default = Freshness::Unsaid.lifetime(3600 * second, 60 * second).unwrap();
        assert!(default <= 60 * second && default >= 54 * second);
        assert_eq!(Freshness::Never.lifetime(60 * second, 60 * second), None);
    }
}
