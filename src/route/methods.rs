//! Sets of HTTP methods, as the route table lists them.
//!
//! Only the seven methods that the gateway accepts exist here; any other is 405, whatever the path.

use std::fmt;

use http::Method;

/// A set of accepted methods.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Methods(u8);

impl Methods {
    /// No method at all.
    pub const NONE: Self = Self(0);
    /// `GET`; a row that lists it takes `HEAD` too.
    pub const GET: Self = Self(1);
    /// `HEAD`, listed only beside `GET`, where a row says so for the reader's sake.
    pub const HEAD: Self = Self(1 << 1);
    /// `POST`.
    pub const POST: Self = Self(1 << 2);
    /// `PUT`.
    pub const PUT: Self = Self(1 << 3);
    /// `PATCH`.
    pub const PATCH: Self = Self(1 << 4);
    /// `DELETE`.
    pub const DELETE: Self = Self(1 << 5);
    /// `OPTIONS`.
    pub const OPTIONS: Self = Self(1 << 6);
    /// Every accepted method.
    pub const ANY: Self = Self(0b111_1111);
    /// What goes upstream where no row says otherwise: preflights are the gateway's own to answer.
    pub const ALL_BUT_OPTIONS: Self = Self(0b011_1111);

    const NAMES: [(Self, &'static str); 7] = [
        (Self::GET, "GET"),
        (Self::HEAD, "HEAD"),
        (Self::POST, "POST"),
        (Self::PUT, "PUT"),
        (Self::PATCH, "PATCH"),
        (Self::DELETE, "DELETE"),
        (Self::OPTIONS, "OPTIONS"),
    ];

    /// The set a request with `method` is looked up by: one method, `HEAD` as `GET`. `None` for a method that the
    /// gateway accepts nowhere.
    #[must_use]
    pub fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD => Some(Self::GET),
            Method::POST => Some(Self::POST),
            Method::PUT => Some(Self::PUT),
            Method::PATCH => Some(Self::PATCH),
            Method::DELETE => Some(Self::DELETE),
            Method::OPTIONS => Some(Self::OPTIONS),
            _ => None,
        }
    }

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every method of `other` is in the set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether some method is in both sets.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The names, in the order of the constants above; all seven for [`Methods::ANY`].
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter(move |(method, _)| self.contains(*method))
            .map(|(_, name)| name)
    }

    /// As `Allow` lists them (RFC 9110 10.2.1): with the `HEAD` that every `GET` brings along.
    #[must_use]
    pub fn allow(self) -> String {
        let all = if self.contains(Self::GET) { self.and(Self::HEAD) } else { self };
        all.names().collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Methods {
    /// `GET,HEAD`, or `ANY`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ANY {
            return f.pad("ANY");
        }
        f.pad(&self.names().collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Methods({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_is_get_and_strangers_are_nothing() {
        assert_eq!(Methods::of(&Method::HEAD), Some(Methods::GET));
        for name in ["TRACE", "CONNECT", "PROPFIND", "get", "QUERY"] {
            assert_eq!(Methods::of(&Method::from_bytes(name.as_bytes()).unwrap()), None, "{name}");
        }
    }

    #[test]
    fn prints_as_the_table_is_written() {
        assert_eq!(Methods::GET.and(Methods::DELETE).to_string(), "GET,DELETE");
        assert_eq!(Methods::ANY.to_string(), "ANY");
        assert_eq!(Methods::ANY.names().count(), 7);
        assert_eq!(Methods::GET.and(Methods::DELETE).allow(), "GET, HEAD, DELETE");
        assert_eq!(Methods::POST.allow(), "POST");
    }
}
