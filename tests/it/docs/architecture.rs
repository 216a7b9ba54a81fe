//! `ARCHITECTURE.md` names modules and files that exist, and its map has every module.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::book::{Page, root};

/// What is in typewriter letters, with its line.
fn spans(page: &Page) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in &page.prose {
        found.extend(line.split('`').skip(1).step_by(2).map(|span| (*number, span)));
    }
    found
}

/// The modules of the program.
fn modules() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("src")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(".rs").map(str::to_owned)).collect()
}

/// Whether a path in the sources, such as `proxy::control` or `keys::KeyDraft`, leads to a module or to a name in one.
fn is_in_sources(path: &[&str]) -> bool {
    let is_module = |path: &[&str]| {
        let place = root().join("src").join(path.join("/"));
        place.is_dir() || place.with_extension("rs").is_file()
    };
    let known = (1..=path.len()).rev().find(|&length| is_module(&path[..length])).unwrap();
    let module = root().join("src").join(path[..known].join("/")).with_extension("rs");
    let text = fs::read_to_string(module).unwrap();
    path[known..].iter().all(|name| text.contains(name))
}

#[test]
fn what_is_named_exists() {
    let (page, modules) = (Page::read(Path::new("ARCHITECTURE.md")), modules());
    let mut seen = 0;
    for (line, span) in spans(&page) {
        let path: Vec<&str> = span.split("::").flat_map(|part| part.split('/')).collect();
        let is_word = path.iter().all(|part| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        });
        if path.len() < 2 || !is_word {
            continue;
        }
        let is_there = if root().join(span).exists() {
            true
        } else if modules.contains(path[0]) {
            let last = path.len() - 1;
            let mut path = path;
            path[last] = path[last].trim_end_matches(".rs");
            is_in_sources(&path)
        } else {
            // Of the module that the paragraph is about, or of a crate.
            continue;
        };
        assert!(is_there, "ARCHITECTURE.md:{line}: there is no {span}");
        seen += 1;
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn the_map_has_every_module() {
    let page = Page::read(Path::new("ARCHITECTURE.md"));
    let rows = page.prose.iter().map(|(_, line)| line.as_str());
    let rows = rows.skip_while(|line| !line.starts_with("| from the ground up |")).skip(2);
    let mut found = Vec::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let modules = row.split('|').nth(2).unwrap();
        found.extend(modules.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    let once: BTreeSet<String> = found.iter().cloned().collect();
    assert_eq!(found.len(), once.len(), "{found:?}");
    let mut expected = modules();
    expected.remove("lib");
    assert_eq!(once, expected);
}
