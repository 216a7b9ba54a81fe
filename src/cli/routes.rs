//! `routes [--json]`: the route table, for people and for programs.
//!
//! The table is [`crate::route::table`].

use std::fmt::Write as _;

use serde::Serialize;

use super::Exit;
use super::output::print;
use crate::route::{Methods, Route, table};

/// Prints the table.
pub(super) fn run(json: bool) -> Exit {
    print(&if json { render_json() } else { render_text() })
}

/// One row as JSON. `notes` is the row's small print, as words.
#[derive(Serialize)]
struct Row {
    surface: &'static str,
    methods: Vec<&'static str>,
    pattern: &'static str,
    class: &'static str,
    effect: &'static str,
    notes: Vec<&'static str>,
}

impl Row {
    fn of(route: &Route) -> Self {
        let methods = match route.methods {
            Methods::ANY => vec!["ANY"],
            listed => listed.names().collect(),
        };
        Self {
            surface: route.surface.name(),
            methods,
            pattern: route.pattern,
            class: route.class.name(),
            effect: route.effect.sign(),
            notes: route.words().collect(),
        }
    }
}

/// The table as aligned text, one row a line under a heading.
#[must_use]
fn render_text() -> String {
    let mut text = String::new();
    let mut line = |cells: [&str; 6]| {
        let [surface, methods, pattern, class, effect, notes] = cells;
        let line = format!("{surface:<12}{methods:<31}{pattern:<47}{class:<8}{effect:<8}{notes}");
        let _ = writeln!(text, "{}", line.trim_end());
    };
    line(["SURFACE", "METHODS", "PATTERN", "CLASS", "EFFECT", "NOTES"]);
    for route in table::rows() {
        let row = Row::of(route);
        let (methods, notes) = (row.methods.join(","), row.notes.join(" "));
        line([row.surface, &methods, row.pattern, row.class, row.effect, &notes]);
    }
    text
}

/// The table as a JSON array, one object a line. `methods` is an array; `ANY` stands for every method that the gateway
/// accepts.
#[must_use]
fn render_json() -> String {
    let rows: Vec<_> =
        table::rows().map(|route| serde_json::json!(Row::of(route)).to_string()).collect();
    format!("[\n{}\n]\n", rows.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_holds_every_row() {
        let rows: Vec<serde_json::Value> = serde_json::from_str(&render_json()).unwrap();
        assert_eq!(rows.len(), table::rows().count());
        let create = serde_json::json!({
            "surface": "api", "methods": ["POST"], "pattern": "/v2/sandboxes", "class": "exec",
            "effect": "+1", "notes": ["token", "body-create"],
        });
        assert!(rows.contains(&create));
        let init = serde_json::json!({
            "surface": "envd", "methods": ["ANY"], "pattern": "/init", "class": "hidden",
            "effect": "", "notes": [],
        });
        assert!(rows.contains(&init));
    }

    #[test]
    fn text_is_aligned() {
        let text = render_text();
        let heading = text.lines().next().unwrap();
        for name in ["METHODS", "PATTERN", "CLASS"] {
            let column = heading.find(name).unwrap();
            for line in text.lines() {
                let (before, cell) = line.split_at(column);
                assert!(before.ends_with(' ') && !cell.starts_with(' '), "{name}: {line:?}");
            }
        }
    }
}
