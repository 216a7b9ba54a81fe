//! The table in `docs/operate/metrics.md` is what a scrape has, and no page names a metric that it has not.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it docs::metrics` writes the table anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::book::{Page, pages, root};
use crate::metrics::dashboards::everything;
use crate::support::telemetry::Scrape;

const PATH: &str = "docs/operate/metrics.md";
const BEGIN: &str = "<!-- generated: UPDATE_GOLDEN=1 cargo test --test it docs::metrics -->\n\n";
const END: &str = "\n<!-- generated: end -->\n";

/// Values of a label beyond which they are not listed.
const FEW: usize = 8;

/// Name, kind, labels and help of each family, in the order of the scrape.
fn table(scrape: &Scrape) -> String {
    let mut text = "| metric | kind | labels | |\n|---|---|---|---|\n".to_owned();
    let (_, samples) = scrape.read();
    let mut help = "";
    for line in scrape.text.lines() {
        if let Some(line) = line.strip_prefix("# HELP ") {
            help = line.split_once(' ').unwrap().1;
        }
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        else {
            continue;
        };
        let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let of_it = samples.keys().filter(|(own, _)| {
            own == name || own.strip_prefix(name).is_some_and(|end| end == "_bucket")
        });
        for (label, value) in of_it.flat_map(|(_, labels)| labels) {
            labels.entry(label).or_default().insert(value);
        }
        let labels: Vec<String> = labels.iter().map(|(name, values)| shown(name, values)).collect();
        writeln!(text, "| `{name}` | {kind} | {} | {help} |", labels.join("; ")).unwrap();
    }
    text
}

fn shown(label: &str, values: &BTreeSet<&str>) -> String {
    let closed =
        !matches!(label, "certificate" | "tenant" | "version" | "le") && values.len() <= FEW;
    let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
    if closed { format!("`{label}`: {}", values.join(", ")) } else { format!("`{label}`") }
}

#[test]
fn every_alert_is_in_the_runbook() {
    let rules = fs::read_to_string(root().join("config/prometheus/alerts.yml")).unwrap();
    let alerts: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    let runbook = Page::read(Path::new("docs/operate/runbook.md"));
    let rows: String = runbook.prose.iter().map(|(_, line)| line.as_str()).collect();
    let named: BTreeSet<&str> =
        rows.split('`').filter(|span| span.starts_with("CoppiceGateway")).collect();
    assert_eq!(named, alerts.into_iter().collect());
}

#[test]
fn every_metric_has_its_line_and_every_page_names_only_such() {
    let scrape = everything();
    let text = fs::read_to_string(root().join(PATH)).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{BEGIN}{}{END}{after}", table(&scrape));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(root().join(PATH), &expected).unwrap();
    } else {
        assert_eq!(text, expected, "UPDATE_GOLDEN=1 writes {PATH} anew");
    }
    let names: BTreeSet<String> = scrape.read().1.into_keys().map(|(name, _)| name).collect();
    let script = fs::read_to_string(root().join("config/rc.d/coppice_gateway")).unwrap();
    for page in pages() {
        let blocks = page.blocks.iter().map(|block| (block.line, &block.text));
        let prose = page.prose.iter().map(|(line, text)| (*line, text));
        for (line, text) in blocks.chain(prose) {
            for (at, _) in text.match_indices("coppice_gateway_") {
                let end = |c: char| !c.is_ascii_alphanumeric() && c != '_';
                let name = text[at..].split(end).next().unwrap();
                // What ends so is the beginning of several; and variables of FreeBSD's script look alike.
                let is_one = names.contains(name)
                    || names.contains(&format!("{name}_bucket"))
                    || name.ends_with('_') && names.iter().any(|own| own.starts_with(name))
                    || script.contains(name);
                assert!(is_one, "{}:{line}: there is no {name}", page.path.display());
            }
        }
    }
}
