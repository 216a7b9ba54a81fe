//! Links within the repository lead to a file, and to a heading in it where they name one.

use std::path::{Component, Path, PathBuf};

use super::book::{Page, pages, root};

/// Where a link leads, seen from a page: a path from the top of the repository.
fn target(page: &Path, link: &str) -> PathBuf {
    let mut path = page.parent().unwrap().to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{link} leaves the repository"),
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => path.push(part),
        }
    }
    path
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let others = ["ARCHITECTURE.md", "CHANGELOG.md", "benches/README.md"];
    let others = others.iter().map(|path| Page::read(Path::new(path)));
    for page in pages().into_iter().chain(others) {
        for (line, link) in &page.links {
            if link.starts_with("https://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if path.is_empty() { page.path.clone() } else { target(&page.path, path) };
            let leads = root().join(&path).exists()
                && (anchor.is_empty()
                    || Page::read(&path).headings.iter().any(|own| own == anchor));
            if !leads {
                broken.push(format!("{}:{line}: {link}", page.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_can_be_found_from_the_map() {
    let mut found = vec![PathBuf::from("docs/README.md")];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        for (_, link) in Page::read(&path).links {
            let path = target(&path, link.split('#').next().unwrap());
            let is_page = path.starts_with("docs") && path.extension().is_some_and(|e| e == "md");
            if is_page && root().join(&path).exists() && !found.contains(&path) {
                found.push(path);
            }
        }
    }
    for page in pages().iter().filter(|page| page.path.starts_with("docs")) {
        assert!(found.contains(&page.path), "no link leads to {}", page.path.display());
    }
}
