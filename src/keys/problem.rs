//! What can be wrong with a key list, and where.
//!
//! Messages name the entry by number and tenant. None of them quotes what stood in the place of a key, a scope or an
//! unknown field: fields get swapped, and then that text is the key.

use std::fmt;
use std::sync::Arc;

use super::BadDigest;
use crate::clock::BadDate;
use crate::principal::{BadTenant, TenantId};

/// Where an entry was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The setting or file, as the reader of a message knows it.
    pub source: Arc<str>,
    /// Line and column, counted from 1, in files.
    pub position: Option<(usize, usize)>,
    /// The number of the entry, counted from 1; none when the list as a whole is meant.
    pub entry: Option<usize>,
}

impl fmt::Display for Place {
    /// `keys.txt:3:1: entry 2`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        self.entry.map_or(Ok(()), |number| write!(f, ": entry {number}"))
    }
}

/// One thing wrong with one entry, or with a list.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyProblem {
    /// Where.
    pub place: Place,
    /// Whose, when that much could be read.
    pub tenant: Option<TenantId>,
    /// What.
    pub fault: KeyFault,
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        if let Some(tenant) = &self.tenant {
            write!(f, " (tenant {tenant})")?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// What is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// A list that is there but empty must not mean "no authentication".
    #[error("holds no key")]
    NoEntries,
    /// No colon at all.
    #[error("must be written as tenant:key:scope|scope")]
    Shape,
    /// One colon only.
    #[error("has a field too few; write tenant:key:scope|scope")]
    MissingField,
    /// See [`BadTenant`].
    #[error("{0}")]
    Tenant(BadTenant),
    /// Nothing between the colons.
    #[error("the key is empty")]
    EmptyKey,
    /// Over [`super::MAX_KEY`].
    #[error("the key is longer than 4096 bytes")]
    LongKey,
    /// Could not be sent in a header.
    #[error("the key holds something other than visible ASCII characters")]
    KeyCharacter,
    /// See [`BadDigest`].
    #[error("{0}")]
    Digest(BadDigest),
    /// A key without scopes grants nothing, and certainly not everything.
    #[error("there are no scopes (known: read, exec, owner, admin)")]
    NoScopes,
    /// As in `admin||exec`.
    #[error("a scope is empty (known: read, exec, owner, admin)")]
    EmptyScope,
    /// A name not on the list.
    #[error("a scope is unknown (known, in lower case: read, exec, owner, admin)")]
    UnknownScope,
    /// Two entries disagree about one key.
    #[error("the same key as {first}, with another {what}")]
    Conflict {
        /// The entry that came first.
        first: Place,
        /// In what they differ.
        what: &'static str,
    },
    /// Malformed JSON; the parser's words, which are constant.
    #[error("not valid JSON: {0}")]
    Syntax(String),
    /// Something else than an array at the top.
    #[error("the file must hold a JSON array of objects")]
    NotAnArray,
    /// Something else than an object in the array.
    #[error("must be a JSON object")]
    NotAnObject,
    /// See the message.
    #[error("unknown field (known: tenantID, name, key, keyHash, scopes, notBefore, expiresAt)")]
    UnknownField,
    /// A JSON object names one field twice.
    #[error("the field '{0}' is there twice")]
    RepeatedField(&'static str),
    /// A JSON object lacks a field.
    #[error("the field '{0}' is missing")]
    AbsentField(&'static str),
    /// A JSON field holds another type.
    #[error("the field '{0}' must be {1}")]
    WrongType(&'static str, &'static str),
    /// `key` beside `keyHash`.
    #[error("'key' and 'keyHash' exclude each other")]
    TwoKeys,
    /// A name of only white space, or with control characters.
    #[error("the name is empty, longer than 128 characters or holds control characters")]
    Name,
    /// Not RFC 3339, or before 1970.
    #[error("'{0}' {1}")]
    Date(&'static str, BadDate),
    /// The key could never be used.
    #[error("'expiresAt' is not after 'notBefore'")]
    NeverValid,
}
