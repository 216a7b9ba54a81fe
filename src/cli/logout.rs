//! `logout`: removes the stored login. The key itself stays valid.

use super::credentials::Login;
use super::output::complain;
use super::{Exit, Failure};
use crate::config::Sources;

/// Forgets the token; there being none is fine.
pub(super) fn run(sources: &Sources) -> Result<Exit, Failure> {
    complain(if Login::remove(sources)? { "logged out" } else { "was not logged in" });
    Ok(Exit::Done)
}
