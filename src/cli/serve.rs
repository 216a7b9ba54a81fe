//! `serve`: loads the settings and hands them to the daemon.

use super::output::complain;
use super::{Daemon, Exit, Failure};
use crate::config::{Settings, Sources};

/// Runs until the daemon ends.
pub(super) fn run(sources: Sources, daemon: impl Daemon) -> Result<Exit, Failure> {
    match Settings::load(&sources, None) {
        Ok(loaded) => daemon(sources, loaded)
            .map(|()| Exit::Done)
            .map_err(|why| Failure::new(Exit::Failed, why.to_string())),
        Err(problems) => {
            complain(&problems.to_string());
            Ok(Exit::Config)
        }
    }
}
