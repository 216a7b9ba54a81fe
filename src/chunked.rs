//! Follows the chunked coding (RFC 9112 section 7.1) of a body to its end.
//!
//! Pure, and copies nothing: it says of which kind the bytes are. Stricter than the RFC wherever parsers are known to differ: no
//! white space around a size, no bare LF, no control characters in extensions and trailers, and both bounded. An answer's
//! sizes may have blanks behind them, as some servers write them; answers are coded anew, so nobody else reads those.

/// Most hex digits of a chunk size: what fits a `u64`.
const MAX_SIZE_DIGITS: u8 = 16;
/// Most bytes of chunk extensions in one body.
const MAX_EXTENSIONS: usize = 8 * 1024;
/// Most bytes of trailer section.
const MAX_TRAILERS: usize = 8 * 1024;

/// The body broke the coding; its end cannot be known any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken;

/// What a run of bytes is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Sizes, extensions, line ends.
    Framing,
    /// The body itself.
    Data,
    /// Fields behind the last chunk, with their line ends and the empty line.
    Trailers,
}

/// A place in a chunked body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunked {
    at: At,
    lenient: bool,
    extensions: usize,
    trailers: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Size { size: u64, digits: u8 },
    Blank { size: u64 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    End,
}

impl Chunked {
    /// The beginning of a request's body.
    #[must_use]
    pub const fn of_request() -> Self {
        Self { at: At::Size { size: 0, digits: 0 }, lenient: false, extensions: 0, trailers: 0 }
    }

    /// The beginning of an answer's body.
    #[must_use]
    pub const fn of_answer() -> Self {
        Self { lenient: true, ..Self::of_request() }
    }

    /// Whether the whole body has been seen.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.at == At::End
    }

    /// Follows `data` up to the end of the body or of `data`: how many bytes belong to the body, and whether the next one
    /// breaks it.
    pub fn advance(&mut self, data: &[u8]) -> (usize, Result<(), Broken>) {
        let mut used = 0;
        while let Some(rest) = data.get(used..).filter(|rest| !rest.is_empty()) {
            if self.is_end() {
                break;
            }
            match self.run(rest) {
                (0, _) => return (used, Err(Broken)),
                (length, _) => used += length,
            }
        }
        (used, Ok(()))
    }

    /// Follows bytes of one kind at the start of `data`: how many, and of which. None: the first byte breaks the coding, or there is
    /// none, or the body has ended.
    pub fn run(&mut self, data: &[u8]) -> (usize, Kind) {
        let kind = self.kind();
        if let At::Data { left } = self.at {
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
            let left = left - take as u64;
            self.at = if left == 0 { At::DataCr } else { At::Data { left } };
            return (take, kind);
        }
        let mut used = 0;
        for &byte in data {
            if self.is_end() || self.kind() != kind {
                break;
            }
            let Some(next) = self.step(byte) else { break };
            self.at = next;
            used += 1;
        }
        (used, kind)
    }

    const fn kind(&self) -> Kind {
        match self.at {
            At::Data { .. } => Kind::Data,
            At::TrailerStart
            | At::TrailerName
            | At::TrailerValue
            | At::TrailerLf
            | At::LastLf
            | At::End => Kind::Trailers,
            At::Size { .. }
            | At::Blank { .. }
            | At::Extension { .. }
            | At::SizeLf { .. }
            | At::DataCr
            | At::DataLf => Kind::Framing,
        }
    }

    fn step(&mut self, byte: u8) -> Option<At> {
        Some(match (self.at, byte) {
            (At::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F')
                if digits < MAX_SIZE_DIGITS =>
            {
                let digit = u64::from(char::from(byte).to_digit(16)?);
                At::Size { size: size << 4 | digit, digits: digits + 1 }
            }
            (At::Size { size, digits: 1.. } | At::Blank { size }, b' ' | b'\t')
                if self.lenient && self.extensions < MAX_EXTENSIONS =>
            {
                self.extensions += 1;
                At::Blank { size }
            }
            (At::Size { size, digits: 1.. } | At::Blank { size }, b';') => At::Extension { size },
            (
                At::Size { size, digits: 1.. } | At::Blank { size } | At::Extension { size },
                b'\r',
            ) => At::SizeLf { size },
            (At::Extension { size }, _) if is_text(byte) && self.extensions < MAX_EXTENSIONS => {
                self.extensions += 1;
                At::Extension { size }
            }
            (At::SizeLf { size: 0 }, b'\n') => At::TrailerStart,
            (At::SizeLf { size }, b'\n') => At::Data { left: size },
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size { size: 0, digits: 0 },
            (At::TrailerStart, b'\r') => At::LastLf,
            (At::LastLf, b'\n') => At::End,
            (at, _) if self.trailers < MAX_TRAILERS => {
                self.trailers += 1;
                match (at, byte) {
                    (At::TrailerStart | At::TrailerName, _) if is_token(byte) => At::TrailerName,
                    (At::TrailerName, b':') => At::TrailerValue,
                    (At::TrailerValue, b'\r') => At::TrailerLf,
                    (At::TrailerValue, _) if is_text(byte) => At::TrailerValue,
                    (At::TrailerLf, b'\n') => At::TrailerStart,
                    _ => return None,
                }
            }
            _ => return None,
        })
    }
}

/// A byte of a token (RFC 9110 section 5.6.2).
#[must_use]
pub fn is_token(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(false)
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        #[expect(clippy::indexing_slicing, reason = "a byte is below 256; checked when compiled")]
        {
            table[byte as usize] = byte.is_ascii_alphanumeric()
                || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+')
                || matches!(byte, b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        }
        byte += 1;
    }
    table
};

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes belong to the body, or that it is broken or unfinished.
    fn follow(body: &[u8], piece: usize) -> Result<usize, &'static str> {
        let mut chunked = Chunked::of_request();
        let mut total = 0;
        for part in body.chunks(piece) {
            let (used, result) = chunked.advance(part);
            total += used;
            if result.is_err() {
                return Err("broken");
            }
            if chunked.is_end() {
                return Ok(total);
            }
            assert_eq!(used, part.len());
        }
        Err("unfinished")
    }

    #[test]
    fn finds_the_end_and_what_breaks_it() {
        let extension = |bytes: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(bytes));
        let trailer = |bytes: usize| format!("0\r\na:{}\r\n\r\n", "x".repeat(bytes));
        for (body, expected) in [
            ("0\r\n\r\n", Ok(5)),
            ("0\r\n\r\nGET", Ok(5)),
            ("5\r\nhello\r\n0\r\n\r\n", Ok(15)),
            ("0005\r\nhello\r\n000\r\n\r\nX", Ok(20)),
            ("A\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", Ok(20)),
            ("1;a=b\r\nx\r\n0;c\r\n\r\n", Ok(17)),
            ("0\r\nDigest: x\r\nB:\r\n\r\n", Ok(20)),
            ("5\r\nhello\r\n", Err("unfinished")),
            ("ffffffffffffffff\r\nx", Err("unfinished")),
            ("", Err("unfinished")),
            ("10000000000000000\r\nx", Err("broken")),
            ("00000000000000000\r\n\r\n", Err("broken")),
            ("\r\n", Err("broken")),
            (";a\r\n", Err("broken")),
            ("5\nhello", Err("broken")),
            ("5 \r\nhello", Err("broken")),
            (" 5\r\nhello", Err("broken")),
            ("5 ;a\r\nhello", Err("broken")),
            ("0x5\r\nhello", Err("broken")),
            ("+5\r\nhello", Err("broken")),
            ("-5\r\nhello", Err("broken")),
            ("5_0\r\nhello", Err("broken")),
            ("g\r\n", Err("broken")),
            ("5\rhello", Err("broken")),
            ("5\r\r\nhello", Err("broken")),
            ("5;a\nhello\r\n0\r\n\r\n", Err("broken")),
            ("5;a\rb\r\nhello", Err("broken")),
            ("5;\0\r\nhello", Err("broken")),
            ("5\r\nhello0\r\n\r\n", Err("broken")),
            ("5\r\nhello\n0\r\n\r\n", Err("broken")),
            ("5\r\nhello\r0\r\n\r\n", Err("broken")),
            ("5\r\nhell\r\n0\r\n\r\n", Err("broken")),
            ("0\r\n\n", Err("broken")),
            ("0\n\r\n", Err("broken")),
            ("0\r\na: b\n\r\n", Err("broken")),
            ("0\r\na: b\rc\r\n\r\n", Err("broken")),
            ("0\r\n a: b\r\n\r\n", Err("broken")),
            ("0\r\na: b\r\n c\r\n\r\n", Err("broken")),
            ("0\r\na : b\r\n\r\n", Err("broken")),
            ("0\r\n: b\r\n\r\n", Err("broken")),
            ("0\r\nab\r\n\r\n", Err("broken")),
            ("0\r\na: \0\r\n\r\n", Err("broken")),
            ("0\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", Err("broken")),
            (&extension(8192), Ok(8192 + 12)),
            (&extension(8193), Err("broken")),
            (&trailer(8188), Ok(8188 + 9)),
            (&trailer(8189), Err("broken")),
        ] {
            for piece in [1, 2, 3, 7, usize::MAX] {
                let shown = &body[..body.len().min(60)];
                assert_eq!(follow(body.as_bytes(), piece), expected, "{shown:?} by {piece}");
            }
        }
    }

    #[test]
    fn passes_what_precedes_the_break() {
        let mut chunked = Chunked::of_request();
        assert_eq!(chunked.advance(b"2\r\nab\r\n1\nx"), (8, Err(Broken)));
    }
}
