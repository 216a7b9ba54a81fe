//! The texts of strings: decoding, encoding, and comparing keys as a careless reader would.

use std::borrow::Cow;

/// What a string's inside (without its quotes, already checked) stands for.
pub(super) fn decode(inside: &str) -> Cow<'_, str> {
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut decoded = String::with_capacity(inside.len());
    let mut parts = inside.split('\\');
    decoded.push_str(parts.next().unwrap_or_default());
    let mut high: Option<u32> = None;
    while let Some(part) = parts.next() {
        let mut rest = part.chars();
        match rest.next() {
            // An escaped backslash: the split left nothing before the second one.
            None => {
                decoded.push('\\');
                rest = parts.next().unwrap_or_default().chars();
            }
            Some('u') => {
                let digits = part.get(1..5).unwrap_or_default();
                let unit = u32::from_str_radix(digits, 16).unwrap_or_default();
                rest = part.get(5..).unwrap_or_default().chars();
                match (high.take(), unit) {
                    (Some(high), _) => {
                        let code = 0x1_0000 + ((high - 0xd800) << 10) + (unit & 0x3ff);
                        decoded.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    (None, 0xd800..=0xdbff) => high = Some(unit),
                    (None, _) => {
                        decoded.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                }
            }
            Some('b') => decoded.push('\u{8}'),
            Some('f') => decoded.push('\u{c}'),
            Some('n') => decoded.push('\n'),
            Some('r') => decoded.push('\r'),
            Some('t') => decoded.push('\t'),
            Some(itself) => decoded.push(itself),
        }
        decoded.push_str(rest.as_str());
    }
    decoded.into()
}

/// A text as a JSON string, quotes included.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\0'..='\x1f' => quoted.push_str(&format!("\\u{:04x}", u32::from(char))),
            _ => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// A key with its case taken away, as readers do that match keys in any case.
///
/// Go's `encoding/json` also takes KELVIN SIGN for `k` and LONG S for `s`.
pub fn folded(key: &str) -> impl Iterator<Item = char> {
    key.chars().map(fold_char)
}

fn fold_char(char: char) -> char {
    match char {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        _ if char.is_ascii() => char.to_ascii_lowercase(),
        _ => {
            let folded = single(char.to_uppercase())
                .and_then(|upper| single(upper.to_lowercase()))
                .unwrap_or(char);
            // Only the two signs above are ASCII letters in disguise; dotless i is not.
            if folded.is_ascii() { char } else { folded }
        }
    }
}

fn single(mut chars: impl Iterator<Item = char>) -> Option<char> {
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}
