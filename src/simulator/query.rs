//! Form decoding of query strings and of values encoded more than once.

use std::borrow::Cow;

/// The pairs of a query string, decoded, in order.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (unescape(name), unescape(value))
    })
}

/// The first value of a query parameter.
pub(super) fn first(uri: &http::Uri, name: &str) -> Option<String> {
    pairs(uri.query().unwrap_or_default()).find_map(|(have, value)| (have == name).then_some(value))
}

/// Undoes one level of form encoding; broken escapes stay as they are.
pub(super) fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => match escaped(tail) {
                Some((value, after)) => {
                    bytes.push(value);
                    rest = after;
                }
                None => bytes.push(b'%'),
            },
            other => bytes.push(other),
        }
    }
    match String::from_utf8_lossy(&bytes) {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => text,
    }
}

fn escaped(tail: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, after) = tail.split_at_checked(2)?;
    let digits = std::str::from_utf8(digits).ok()?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    Some((u8::from_str_radix(digits, 16).ok()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_one_level_only() {
        for (raw, plain) in [
            ("a+b%20c", "a b c"),
            ("%2541", "%41"),
            ("%4", "%4"),
            ("%+1", "% 1"),
            ("é%C3%A9", "éé"),
        ] {
            assert_eq!(unescape(raw), plain, "{raw}");
        }
    }
}
