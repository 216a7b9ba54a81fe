//! The head of a request, as it is written (RFC 9112).
//!
//! What is passed on and what the sender says itself are never mixed: they meet on the wire.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};

/// How long a request's body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Length {
    /// There is none.
    None,
    /// This many bytes.
    Known(u64),
    /// Nobody knows: it is chunked.
    Unknown,
}

/// What one field says. None ends the line that it stands in.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// What was a header, or is to be kept secret.
    Header(&'a HeaderValue),
    /// A text.
    Text(Text<'a>),
}

/// Visible ASCII and spaces.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// `text`, unless there is something else in it.
    #[must_use]
    pub fn new(text: &'a str) -> Option<Self> {
        // Without a branch for each byte, so that many are looked at at once.
        let is_one = text.bytes().fold(true, |all, byte| all & matches!(byte, b' '..=b'~'));
        is_one.then_some(Self(text))
    }
}

impl<'a> Value<'a> {
    /// A text as a value, if it can be one.
    #[must_use]
    pub fn text(text: &'a str) -> Option<Self> {
        Text::new(text).map(Self::Text)
    }

    /// The bytes of it.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Header(value) => value.as_bytes(),
            Self::Text(Text(text)) => text.as_bytes(),
        }
    }

    /// The same for a map of headers.
    #[must_use]
    pub fn to_header(self) -> HeaderValue {
        match self {
            Self::Header(value) => value.clone(),
            // Never anything else than it says.
            Self::Text(Text(text)) => {
                HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
            }
        }
    }
}

impl<'a> From<&'a HeaderValue> for Value<'a> {
    fn from(value: &'a HeaderValue) -> Self {
        Self::Header(value)
    }
}

/// What a request says on behalf of whoever sends it on, beside the head that it passes on. None of it is in that head.
#[derive(Debug, Default)]
pub struct Fields<'a> {
    /// `Host`, in place of any in the head.
    pub host: Option<Value<'a>>,
    /// The names of all else.
    pub names: &'static [HeaderName],
    /// What is said under each, if anything.
    pub values: [Option<Value<'a>>; 9],
}

impl<'a> Fields<'a> {
    /// `Host` alone.
    #[must_use]
    pub fn host(host: &'a HeaderValue) -> Self {
        Self { host: Some(host.into()), ..Self::default() }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, Value<'a>)> {
        let host = self.host.map(|host| (&HOST, host));
        let others = self.names.iter().zip(self.values);
        host.into_iter().chain(others.filter_map(|(name, value)| Some((name, value?))))
    }
}

/// Writes a request's head: `fields`, then what `parts` has, but for what frames the body.
pub(super) fn write(out: &mut Vec<u8>, parts: &Parts, fields: &Fields<'_>, length: Length) {
    let Parts { method, uri, headers, .. } = parts;
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in fields.iter() {
        line(out, name, value.as_bytes());
    }
    for (name, value) in headers {
        let is_framing = *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING;
        if is_framing || (*name == HOST && fields.host.is_some()) {
            continue;
        }
        line(out, name, value.as_bytes());
    }
    match length {
        Length::Known(length) => {
            out.extend_from_slice(b"content-length: ");
            decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Length::Unknown => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        // Methods that are expected to have a body say that there is none (RFC 9110 8.6).
        Length::None if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {
            out.extend_from_slice(b"content-length: 0\r\n");
        }
        Length::None => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes one field.
pub(super) fn line(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_no_line() {
        for bad in ["a\r\nb: c", "\n", "\0", "\t", "\x7f", "é"] {
            assert!(Value::text(bad).is_none(), "{bad:?}");
        }
        for good in ["", "team-a", "Ada L.", "~"] {
            let value = Value::text(good).unwrap();
            assert_eq!(
                (value.as_bytes(), value.to_header().as_bytes()),
                (good.as_bytes(), good.as_bytes())
            );
        }
    }
}
