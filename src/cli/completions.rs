//! `completions`: what shells know of the command line, from its own definition.

use clap_complete::Shell;

use super::Exit;
use super::args::command;
use super::output::print;

/// Prints a shell's completions.
pub(super) fn run(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "coppice-gateway", &mut script);
    print(&String::from_utf8_lossy(&script))
}
