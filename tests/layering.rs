//! Keeps the modules in their order: what may import what, where outside crates may be named, and how long a file gets.
//!
//! [`rules`] is the table, [`source`] reads Rust, [`planted`] shows that breaches are found. Needs nothing but `std`.

#![expect(clippy::unwrap_used, reason = "a test that can't go on should fail there")]

#[path = "layering/planted.rs"]
mod planted;
#[path = "layering/rules.rs"]
mod rules;
#[path = "layering/source.rs"]
mod source;

use std::fs;
use std::path::Path;

/// Folders with other people's files, or none of interest.
const SKIPPED: [&str; 3] = ["__pycache__", "node_modules", "target"];

/// Files that people write, and that are therefore kept short.
const WRITTEN: [&str; 6] = ["js", "mjs", "py", "rs", "sh", "ts"];

/// Every written file under `folder`, relative to `root`, with its text.
fn files(root: &Path, folder: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if entry.file_type().unwrap().is_dir() {
            if !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                files(root, &path, found);
            }
        } else if name.rsplit_once('.').is_some_and(|(_, kind)| WRITTEN.contains(&kind)) {
            let text = fs::read_to_string(entry.path()).unwrap();
            found.push((path, text));
        }
    }
}

#[test]
fn the_source_keeps_to_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files(root, "src", &mut found);
    files(root, "tests", &mut found);
    for known in ["src/lib.rs", "src/main.rs", "src/proxy/pool.rs", "tests/layering/rules.rs"] {
        assert!(found.iter().any(|(file, _)| file == known), "{known} was not looked at");
    }
    let mut breaches: Vec<String> =
        found.iter().flat_map(|(file, text)| rules::breaches(file, text)).collect();
    breaches.sort();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn a_module_has_one_place() {
    let mut modules: Vec<&str> = rules::RANKS.iter().flat_map(|row| row.iter().copied()).collect();
    let listed = modules.len();
    modules.sort_unstable();
    modules.dedup();
    assert_eq!(modules.len(), listed);
}
