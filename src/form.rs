//! Queries in form encoding, `application/x-www-form-urlencoded` (WHATWG URL 5).
//!
//! Strict: what is broken is said to be so, never guessed at. Which names may be there is for the callers to say.

use std::borrow::Cow;

/// The names and values of a query, still encoded. One without `=` has an empty value.
pub fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// A name or value as it was meant: `+` is a space, escapes are UTF-8. `None` for a broken escape or text.
#[must_use]
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_as_they_are_written() {
        let found: Vec<_> = pairs("a=1&&b&=2&c=x=y&").collect();
        assert_eq!(found, [("a", "1"), ("b", ""), ("", "2"), ("c", "x=y")]);
        assert_eq!(pairs("").count(), 0);
    }

    #[test]
    fn broken_escapes_and_texts_are_not_guessed_at() {
        for (text, meant) in [
            ("", Some("")),
            ("a+b%20c%2B", Some("a b c+")),
            ("%c3%9C", Some("\u{dc}")),
            ("%", None),
            ("%4", None),
            ("%+1", None),
            ("%zz", None),
            ("%ff", None),
        ] {
            assert_eq!(decode(text).as_deref(), meant, "{text}");
        }
    }
}
