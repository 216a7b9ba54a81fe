//! Writing to the two standard streams.

use std::io::{self, IsTerminal as _, Write as _};

use super::Exit;

/// Writes a result. A reader that went away, as in `… | head`, is no failure.
pub(super) fn print(text: &str) -> Exit {
    print_more(text).err().unwrap_or(Exit::Done)
}

/// Writes a part of a result.
///
/// # Errors
/// No more can be written; the exit code for that.
pub(super) fn print_more(text: &str) -> Result<(), Exit> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe { Exit::Done } else { Exit::Failed }
    })
}

/// Writes a line for people. Where standard error is closed there is nobody to tell.
pub(super) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Rows of a name and a value: aligned on a terminal, separated by a tab elsewhere.
pub(super) fn rows(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let aligned = io::stdout().is_terminal();
    rows.iter()
        .map(|(name, value)| match (aligned, visible(value)) {
            (true, value) => format!("{name:width$}{value}\n"),
            (false, value) => format!("{name}\t{value}\n"),
        })
        .collect()
}

/// Text from elsewhere, without characters that move a terminal's cursor.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
