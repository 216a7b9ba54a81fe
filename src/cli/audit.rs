//! `audit`: what callers did, asked of a gateway, or proved from its journal's files.

mod events;
mod stream;
mod verify;

use super::args::AuditOptions;
use super::{Exit, Failure};
use crate::config::Sources;

/// Runs one of its commands.
pub(super) fn run(options: &AuditOptions, sources: &Sources) -> Result<Exit, Failure> {
    match options {
        AuditOptions::Query { client, filters, page } => {
            events::query(client, sources, filters, page)
        }
        AuditOptions::Tail { client, filters, count, follow } => {
            events::tail(client, sources, filters, *count, *follow)
        }
        AuditOptions::Verify { files, json } => verify::run(files, *json),
    }
}
