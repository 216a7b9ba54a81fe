//! `serve`: loads the settings and hands them to the daemon.

use super::output::complain;
use super::{Exit, Failure};
use crate::config::{Problem, Settings, Sources, Spelling};
use crate::daemon::{self, Program, ServeError};

/// Runs until the daemon ends.
pub(super) fn run(sources: &Sources, program: Program) -> Result<Exit, Failure> {
    match Settings::load(sources, None) {
        Ok(loaded) => daemon::serve(sources, loaded, program).map(|()| Exit::Done).map_err(|why| {
            let exit = match why {
                ServeError::Configuration(_) => Exit::Config,
                ServeError::Start(_)
                | ServeError::System(_)
                | ServeError::Abandoned
                | ServeError::WorkerEnded => Exit::Failed,
            };
            Failure::new(exit, why.to_string())
        }),
        Err(problems) => {
            complain(&problems.to_string());
            if problems.iter().any(is_missing_upstream) {
                complain(
                    "hint: 'coppice-gateway demo' runs the gateway before a simulated sandbox API",
                );
            }
            Ok(Exit::Config)
        }
    }
}

/// Whether it is that nothing says where the sandbox API is.
fn is_missing_upstream(problem: &Problem) -> bool {
    matches!(problem, Problem::Setting(Spelling::Key("upstream.url"), _))
}
