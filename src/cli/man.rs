//! `man`: the manual pages, from the command line's definition and the table of settings.
//!
//! They hold no date, so that the same version always makes the same pages.

mod settings;

use std::fs;
use std::io;
use std::path::Path;

use clap_mangen::Man;

use super::args::command;
use super::output::print;
use super::{Exit, Failure};

/// The heading of every page.
const MANUAL: &str = "Coppice Gateway Manual";

/// Whose manual it is, and as of which version.
const SOURCE: &str = concat!("coppice-gateway ", env!("CARGO_PKG_VERSION"));

/// No date. An empty argument would be left out, and those behind it move up.
const DATE: &str = " ";

/// Prints the program's own page or, with `out`, writes every page into that directory, which is made if it is not
/// there: one for the program, one for each command, and `coppice-gateway.toml(5)`.
pub(super) fn run(out: Option<&Path>) -> Result<Exit, Failure> {
    match out {
        None => {
            let page = main_page().map_err(|why| Failure::new(Exit::Failed, why.to_string()))?;
            Ok(print(&page))
        }
        Some(folder) => write(folder)
            .map(|()| Exit::Done)
            .map_err(|why| Failure::new(Exit::Failed, format!("{}: {why}", folder.display()))),
    }
}

fn main_page() -> io::Result<String> {
    let mut program = command();
    program.build();
    render(&program, &[])
}

fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut program = command().disable_help_subcommand(true);
    program.build();
    write_commands(&program, &[], folder)?;
    fs::write(folder.join(format!("{}.5", settings::NAME)), ascii(&settings::page()))
}

/// The page of a command, and of all below it.
fn write_commands(command: &clap::Command, above: &[&str], folder: &Path) -> io::Result<()> {
    let name = page_name(command, above);
    fs::write(folder.join(format!("{name}.1")), render(command, above)?)?;
    let path = [above, &[command.get_name()]].concat();
    command.get_subcommands().try_for_each(|inner| write_commands(inner, &path, folder))
}

fn page_name(command: &clap::Command, above: &[&str]) -> String {
    [above, &[command.get_name()]].concat().join("-")
}

fn render(command: &clap::Command, above: &[&str]) -> io::Result<String> {
    let mut page = Vec::new();
    Man::new(command.clone())
        .title(page_name(command, above))
        .date(DATE)
        .source(SOURCE)
        .manual(MANUAL)
        .render(&mut page)?;
    Ok(ascii(&String::from_utf8_lossy(&page)))
}

/// The same page in ASCII, which every troff reads alike.
fn ascii(page: &str) -> String {
    let mut plain = String::with_capacity(page.len());
    for c in page.chars() {
        match c {
            c if c.is_ascii() => plain.push(c),
            c => plain.push_str(&format!("\\[u{:04X}]", u32::from(c))),
        }
    }
    plain
}
