//! What a certificate says of itself: for which names it is, and from when to when.
//!
//! Nothing is verified here: that is the handshake's part. A few elements of RFC 5280 4.1 are found by their places, and
//! what is not where it should be is no certificate.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::clock::UnixTime;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, which holds the version.
const VERSION: u8 = 0xa0;

/// What a certificate says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// The DNS names of its subject alternative name, in lower case; wildcards as `*.domain`.
    pub names: Vec<Box<str>>,
    /// Its first second.
    pub begins: UnixTime,
    /// Its last second.
    pub ends: UnixTime,
}

impl Certificate {
    /// Reads one. None: it is no X.509 certificate of version 3.
    #[must_use]
    pub fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let parsed = EndEntityCert::try_from(der).ok()?;
        let names = parsed.valid_dns_names().map(|name| name.to_ascii_lowercase().into());
        let (begins, ends) = validity(der)?;
        Some(Self { names: names.collect(), begins, ends })
    }

    /// Whether it is for this name, which is in lower case: as itself, or by a wildcard that stands for its first label.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        let rest = name.split_once('.').map(|(_, rest)| rest);
        self.names.iter().any(|own| match own.strip_prefix("*.") {
            Some(domain) => rest == Some(domain),
            None => **own == *name,
        })
    }
}

fn validity(der: &[u8]) -> Option<(UnixTime, UnixTime)> {
    let (certificate, _) = content(SEQUENCE, der)?;
    let (body, _) = content(SEQUENCE, certificate)?;
    let body = content(VERSION, body).map_or(body, |(_, rest)| rest);
    let (_serial, body) = content(INTEGER, body)?;
    let (_algorithm, body) = content(SEQUENCE, body)?;
    let (_issuer, body) = content(SEQUENCE, body)?;
    let (validity, _) = content(SEQUENCE, body)?;
    let (begins, rest) = time(validity)?;
    let (ends, _) = time(rest)?;
    Some((begins, ends))
}

/// The content of the first element, if it is of that kind, and what is behind it (X.690 8.1).
fn content(kind: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length).filter(|_| *first == kind)
}

/// `YYMMDDhhmmssZ`, whose years are 1950 to 2049, or `YYYYMMDDhhmmssZ` (RFC 5280 4.1.2.5).
fn time(der: &[u8]) -> Option<(UnixTime, &[u8])> {
    let (digits, rest) = match content(UTC_TIME, der) {
        Some((text, rest)) => {
            let century = if *text.first()? < b'5' { "20" } else { "19" };
            (format!("{century}{}", std::str::from_utf8(text).ok()?), rest)
        }
        None => {
            let (text, rest) = content(GENERALIZED_TIME, der)?;
            (std::str::from_utf8(text).ok()?.to_owned(), rest)
        }
    };
    let part = |from: usize, to: usize| digits.get(from..to);
    let date = format!("{}-{}-{}", part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let clock = format!("{}:{}:{}", part(8, 10)?, part(10, 12)?, part(12, 14)?);
    (part(14, digits.len())? == "Z").then_some(())?;
    // What began before 1970 began before everything else too.
    let at = if date.as_str() < "1970" { Some(UnixTime(0)) } else { None };
    Some((at.or_else(|| format!("{date}T{clock}Z").parse().ok())?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn made(names: &[&str], begins: (i32, u8, u8), ends: (i32, u8, u8)) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(begins.0, begins.1, begins.2);
        params.not_after = date_time_ymd(ends.0, ends.1, ends.2);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn names_and_times_are_read() {
        for (begins, ends, first, last) in [
            ((2026, 11, 22), (2027, 2, 1), "2026-11-22T00:00:00Z", "2027-02-01T00:00:00Z"),
            ((1999, 12, 31), (2049, 12, 31), "1999-12-31T00:00:00Z", "2049-12-31T00:00:00Z"),
            ((1960, 1, 1), (2050, 1, 1), "1970-01-01T00:00:00Z", "2050-01-01T00:00:00Z"),
            ((1975, 1, 1), (4096, 1, 1), "1975-01-01T00:00:00Z", "4096-01-01T00:00:00Z"),
        ] {
            let read = Certificate::read(&made(&["a.test", "*.B.test"], begins, ends)).unwrap();
            assert_eq!(
                read.names.iter().map(|name| &**name).collect::<Vec<_>>(),
                ["a.test", "*.b.test"]
            );
            assert_eq!(
                (read.begins.to_string(), read.ends.to_string()),
                (first.into(), last.into())
            );
        }
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let names = ["a.test", "*.b.test"].map(Into::into).to_vec();
        let certificate = Certificate { names, begins: UnixTime(0), ends: UnixTime(1) };
        for (name, expected) in [
            ("a.test", true),
            ("49983-i1.b.test", true),
            ("*.b.test", true),
            ("b.test", false),
            ("x.a.test", false),
            ("y.x.b.test", false),
            ("test", false),
            ("", false),
        ] {
            assert_eq!(certificate.covers(name), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn whatever_it_is_given_it_says_something(
            noise in prop::collection::vec(any::<u8>(), 0..64),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let _ = Certificate::read(&CertificateDer::from(noise));
            let mut spoiled = made(&["a.test"], (2026, 1, 1), (2027, 1, 1)).to_vec();
            let at = at.index(spoiled.len());
            spoiled[at] = byte;
            let cut = spoiled[..at].to_vec();
            let _ = Certificate::read(&CertificateDer::from(spoiled));
            prop_assert_eq!(Certificate::read(&CertificateDer::from(cut)), None);
        }
    }
}
