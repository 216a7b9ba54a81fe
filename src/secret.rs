//! Text that must not be printed.

use std::fmt;
use std::io;

use zeroize::Zeroizing;

/// A secret string: no `Display`, no `Serialize`, no `Clone`; `Debug` says `[redacted]`; wiped when dropped.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// A new one: `bytes` random bytes in hexadecimal digits, behind `prefix`.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn random(prefix: &str, bytes: usize) -> io::Result<Self> {
        let mut random = Zeroizing::new(vec![0; bytes]);
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let mut text = String::with_capacity(prefix.len() + 2 * bytes);
        text.push_str(prefix);
        for byte in random.iter() {
            for nibble in [byte >> 4, byte & 0xf] {
                text.extend(char::from_digit(nibble.into(), 16));
            }
        }
        Ok(Self::new(text))
    }

    /// The secret itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ones_differ() {
        let [one, other] = [(); 2].map(|()| Secret::random("e2b_", 20).unwrap());
        let digits = one.expose().strip_prefix("e2b_").unwrap();
        assert_eq!(digits.len(), 40);
        assert!(digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{digits}");
        assert_ne!(one.expose(), other.expose());
    }

    #[test]
    fn debug_is_redacted() {
        assert_eq!(format!("{:?}", Some(Secret::new("canary".into()))), "Some([redacted])");
    }
}
