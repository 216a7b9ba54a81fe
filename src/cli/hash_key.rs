//! `hash-key`: prints the digest that stands for a key in a keys file.

use std::io::{self, IsTerminal as _};

use super::output::print;
use super::token::read_line;
use super::{Exit, Failure};
use crate::keys::parse_key;

/// Reads the key from standard input, where neither history nor process list shows it.
pub(super) fn run() -> Result<Exit, Failure> {
    if io::stdin().is_terminal() {
        let message = "the key would show on the terminal; pipe it in, as in: coppice-gateway hash-key < FILE";
        return Err(Failure::new(Exit::Usage, message));
    }
    let key = read_line(io::stdin().lock(), "standard input")?;
    if key.expose().starts_with("sha256:") {
        return Err(Failure::new(Exit::Usage, "that is a digest, not a key"));
    }
    let digest =
        parse_key(key.expose()).map_err(|why| Failure::new(Exit::Usage, why.to_string()))?;
    Ok(print(&format!("sha256:{}\n", digest.to_hex())))
}
