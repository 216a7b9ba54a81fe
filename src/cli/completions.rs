//! `completions` and `man`: what shells and `man` know of the command line, from its own definition.

use clap_complete::Shell;

use super::args::command;
use super::output::print;
use super::{Exit, Failure};

/// Prints a shell's completions.
pub(super) fn run(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "coppice-gateway", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Prints the manual page.
pub(super) fn man() -> Result<Exit, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command())
        .render(&mut page)
        .map_err(|why| Failure::new(Exit::Failed, why.to_string()))?;
    Ok(print(&String::from_utf8_lossy(&page)))
}
