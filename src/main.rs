//! The `coppice-gateway` binary: hands the command line to [`coppice_gateway::cli`], and it the daemon.

use std::process::ExitCode;

use coppice_gateway::{cli, daemon};

fn main() -> ExitCode {
    cli::run(std::env::args_os(), daemon::serve)
}
