//! The `coppice-gateway` binary: hands the command line to [`coppice_gateway::cli`].

use std::process::ExitCode;

use coppice_gateway::cli;

fn main() -> ExitCode {
    cli::run(std::env::args_os(), |_, _| Err("this build has no server".into()))
}
