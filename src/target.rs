//! Names of what a request is for: a sandbox, and a port inside it.
//!
//! Only syntax lives here; whose sandbox it is, is decided elsewhere.

use std::fmt;

use smol_str::SmolStr;

/// envd's port inside every sandbox.
pub const ENVD_PORT: u16 = 49983;
/// The code interpreter's port inside every sandbox.
pub const INTERPRETER_PORT: u16 = 49999;

/// A sandbox id as a client or the upstream wrote it.
///
/// Old E2B clients append `-<clientID>`; which id such a text stands for is the upstream's to say, so nothing is cut
/// here.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SandboxId(SmolStr);

/// A text that is no sandbox id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a sandbox id")]
pub struct NotASandboxId;

impl SandboxId {
    /// Longest id accepted, in bytes.
    pub const MAX: usize = 128;

    /// Takes an id as it stands: 1 to 128 ASCII letters, digits, `-`, `_` or `.` (self-hosted upstreams use UUIDs).
    ///
    /// # Errors
    /// [`NotASandboxId`] for anything else, and for an id that starts with `.` or `-`.
    pub fn parse(text: &str) -> Result<Self, NotASandboxId> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let well_formed = (1..=Self::MAX).contains(&text.len())
            && text.bytes().all(plain)
            && !text.starts_with(['.', '-']);
        if well_formed { Ok(Self(text.into())) } else { Err(NotASandboxId) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SandboxId({})", self.0)
    }
}

/// One port of one sandbox: what a data-plane request is for, authorised and forwarded as this one value.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Target {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// The port inside it.
    pub port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_ids_of_e2b_and_of_others() {
        for id in ["i1a2b3c4d5e6f7g8h9j0k", "0b6e3c1e-9a53-4c3b-8d7f-2f4f5f6a7b8c", "a"] {
            assert_eq!(SandboxId::parse(id).unwrap().as_str(), id);
        }
    }

    #[test]
    fn refuses_what_could_be_a_path_or_a_header() {
        let long = "a".repeat(129);
        for id in
            ["", ".", "..", "-a", ".a", "a/b", "a%2Fb", "a b", "a\n", "ä", "a;b", long.as_str()]
        {
            assert_eq!(SandboxId::parse(id), Err(NotASandboxId), "{id:?}");
        }
    }
}
