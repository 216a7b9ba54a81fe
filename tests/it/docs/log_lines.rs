//! Log lines that the pages quote, in “curly quotes”, are lines that the gateway writes.

use std::fs;
use std::path::Path;

use super::book::{pages, root};

/// All sources, with string literals that go over several lines put together.
fn sources(directory: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &sources(&path);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for line in text.lines() {
                let continued = line.strip_suffix('\\');
                all += continued.unwrap_or(line).trim_start();
                if continued.is_none() {
                    all.push('\n');
                }
            }
        }
    }
    all
}

#[test]
fn quoted_log_lines_exist() {
    let sources = sources(&root().join("src"));
    let mut seen = 0;
    for page in pages() {
        // A quotation may go over the end of a line.
        let prose: Vec<&str> = page.prose.iter().map(|(_, line)| line.trim()).collect();
        for quoted in prose.join(" ").split('“').skip(1) {
            let (quoted, _) = quoted.split_once('”').unwrap();
            for part in quoted.split('…').map(str::trim) {
                assert!(sources.contains(part), "{}: “{part}”", page.path.display());
            }
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen}");
}
