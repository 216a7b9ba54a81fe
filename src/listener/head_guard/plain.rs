//! A quick reading of lines to which nothing can be objected, as nearly all are.
//!
//! Pure. It only ever says "in order" or "I don't know"; what it does not know, the rules in `head` judge. So a line that
//! passes here must pass there with the same meaning, which the property tests hold against each other: a line that arrives
//! in pieces is read by the rules alone.

use crate::chunked::is_token;

/// A request line and what counts of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RequestLine {
    /// Its bytes, CRLF included.
    pub(super) len: usize,
    /// Whether it says HTTP/1.1; 1.0 otherwise.
    pub(super) http_11: bool,
}

/// Reads the request line at the beginning of `data`: a token other than the refused methods, a path of characters that are
/// allowed in every place, a version.
pub(super) fn request_line(data: &[u8]) -> Option<RequestLine> {
    let method_len = data.iter().position(|&byte| !is_token(byte))?;
    let (method, rest) = data.split_at_checked(method_len)?;
    let path = rest.strip_prefix(b" ").filter(|path| path.starts_with(b"/"))?;
    if method.is_empty() || matches!(method, b"CONNECT" | b"TRACE") {
        return None;
    }
    let path_len = path.iter().position(|&byte| !is_path(byte))?;
    let http_11 = match path.get(path_len..)?.first_chunk::<11>()? {
        b" HTTP/1.1\r\n" => true,
        b" HTTP/1.0\r\n" => false,
        _ => return None,
    };
    Some(RequestLine { len: method_len + 1 + path_len + 11, http_11 })
}

/// Reads the header line at the beginning of `data`: its name, its value, and its bytes, CRLF included.
pub(super) fn field(data: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let name_len = data.iter().position(|&byte| !is_token(byte))?;
    let (name, rest) = data.split_at_checked(name_len)?;
    let rest = rest.strip_prefix(b":")?;
    let value_len = to_control(rest)?;
    let (value, end) = rest.split_at_checked(value_len)?;
    (!name.is_empty() && end.starts_with(b"\r\n"))
        .then(|| (name, value, name_len + 1 + value_len + 2))
}

/// How many bytes precede the first control character, tabs included; `None` if there is none.
fn to_control(data: &[u8]) -> Option<usize> {
    let (words, rest) = data.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = controls(u64::from_le_bytes(*word));
        if found != 0 {
            // The first byte is the lowest, and only those above a true one can be marked wrongly.
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let offset = rest.iter().position(|&byte| byte < b' ' || byte == 0x7f)?;
    Some(words.len() * 8 + offset)
}

/// Marks, in the highest bit of each, the bytes below 0x20 and those that are 0x7f, of eight at once.
fn controls(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let below = word.wrapping_sub(ONES * 0x20) & !word;
    let distance = word ^ (ONES * 0x7f);
    let del = distance.wrapping_sub(ONES) & !distance;
    (below | del) & (ONES * 0x80)
}

/// A character that is in order anywhere behind a path's first `/`, be it in a query.
fn is_path(byte: u8) -> bool {
    PATH.get(usize::from(byte)).copied().unwrap_or(false)
}

static PATH: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        #[expect(clippy::indexing_slicing, reason = "a byte is below 256; checked when compiled")]
        {
            table[byte as usize] =
                byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'`');
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn knows_what_most_clients_send() {
        for (line, http_11) in [
            ("GET /templates?x=1&y=%20 HTTP/1.1\r\nHost: h", true),
            ("M-SEARCH /a{}|\\^ HTTP/1.0\r\n", false),
        ] {
            let len = line.find('\n').unwrap() + 1;
            assert_eq!(request_line(line.as_bytes()), Some(RequestLine { len, http_11 }));
        }
        for value in ["", " ", "x", " a value of some length, caf\u{e9}", " 1234567", " 12345678"] {
            let line = format!("X-Name:{value}\r\nnext");
            let expected = (&b"X-Name"[..], value.as_bytes(), line.len() - 4);
            assert_eq!(field(line.as_bytes()), Some(expected));
        }
    }

    #[test]
    fn leaves_everything_else_to_the_rules() {
        for line in [
            "GET / HTTP/1.1",
            "GET / HTTP/1.1\r",
            "GET / HTTP/1.1\n\n",
            "GET / HTTP/2.0\r\n",
            "GET  / HTTP/1.1\r\n",
            " / HTTP/1.1\r\n",
            "GET * HTTP/1.1\r\n",
            "GET http://h/ HTTP/1.1\r\n",
            "GET /# HTTP/1.1\r\n",
            "GET /\" HTTP/1.1\r\n",
            "TRACE / HTTP/1.1\r\n",
            "CONNECT / HTTP/1.1\r\n",
            "GET /\u{e9} HTTP/1.1\r\n",
            "GET /\t HTTP/1.1\r\n",
            "",
            "GET",
        ] {
            assert_eq!(request_line(line.as_bytes()), None, "{line:?}");
        }
        for line in [
            "",
            "\r\n",
            ": x\r\n",
            "a\r\n",
            "a : b\r\n",
            " a: b\r\n",
            "a: b",
            "a: b\r",
            "a: b\n",
            "a: b\n\r\n",
            "a: \0\r\n",
            "a: b\rc\r\n",
            "a: \x7f\r\n",
            "a: 1234567\x7f\r\n",
            "a: b\tc\r\n",
            "\u{e9}: b\r\n",
        ] {
            assert_eq!(field(line.as_bytes()), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn the_first_control_character_is_found(data in vec(any::<u8>(), 0..40)) {
            let found = data.iter().position(|byte| byte.is_ascii_control());
            prop_assert_eq!(to_control(&data), found);
        }

        #[test]
        fn one_among_harmless_bytes_is_found(
            mut data in vec(prop_oneof![b' '..0x7f, 0x80_u8..], 1..40),
            place in any::<usize>(),
            control in prop_oneof![0_u8..b' ', Just(0x7f)],
        ) {
            prop_assert_eq!(to_control(&data), None);
            let place = place % data.len();
            data[place] = control;
            prop_assert_eq!(to_control(&data), Some(place));
        }
    }
}
