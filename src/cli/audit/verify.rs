//! `audit verify`: whether journal files are as the gateway wrote them. Asks nobody.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::audit::journal::verify::{FileReport, Finding, verify};
use crate::cli::output::{print, visible};
use crate::cli::{Exit, Failure};

/// Prints what was found: for people a line for each finding, which begins `FILE:LINE:` where it has a line.
pub(super) fn run(files: &[PathBuf], json: bool) -> Result<Exit, Failure> {
    let report = verify(files).map_err(|(path, why)| {
        let exit = if why.kind() == ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
        Failure::new(exit, format!("{}: {why}", visible(&path.display().to_string())))
    })?;
    let text = if json {
        serde_json::to_string(&report)
            .map(|text| text + "\n")
            .map_err(|why| Failure::new(Exit::Failed, why.to_string()))?
    } else {
        report.files.iter().map(describe).collect()
    };
    let printed = print(&text);
    Ok(if report.intact { printed } else { Exit::Failed })
}

fn describe(file: &FileReport) -> String {
    let path = visible(&file.path.display().to_string());
    let tell = |finding: &Finding| match finding.line {
        Some(line) => format!("{path}:{line}: {}\n", visible(&finding.text)),
        None => format!("{path}: {}\n", visible(&finding.text)),
    };
    let mut text: String = file.faults.iter().chain(&file.remarks).map(tell).collect();
    if file.more_faults > 0 {
        text += &format!("{path}: and {} more like these\n", file.more_faults);
    }
    let verdict = if file.faults.is_empty() { "intact" } else { "NOT INTACT" };
    let numbers = match (file.first, file.last) {
        (Some(first), Some(last)) => format!(", numbers {first} to {last}"),
        (_, _) => String::new(),
    };
    text + &format!("{path}: {verdict}: {} lines{numbers}\n", file.lines)
}
