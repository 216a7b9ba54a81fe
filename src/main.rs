//! The `coppice-gateway` binary: hands the command line to [`coppice_gateway::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    coppice_gateway::cli::run(std::env::args_os())
}
