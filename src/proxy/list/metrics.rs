//! The answer with the metrics of several sandboxes: an object whose `sandboxes` has a member for each.

use std::collections::HashSet;

use crate::json::{Document, Edit, Found, Limits, Object};
use crate::target::SandboxId;

const SANDBOXES: &str = "sandboxes";

/// The sandboxes that an answer tells of; what is no id is nobody's. `None` when it is no such answer.
#[must_use]
pub fn told_of(json: &[u8]) -> Option<Vec<SandboxId>> {
    let document = Document::parse(json, Limits::default()).ok()?;
    let (_, sandboxes) = sandboxes(&document)?;
    Some(sandboxes.members().filter_map(|member| SandboxId::parse(&member.key).ok()).collect())
}

/// The answer with only what is told of the sandboxes in `own`. `None` when it is no such answer.
#[must_use]
pub fn keep(json: &[u8], own: &HashSet<SandboxId>) -> Option<Vec<u8>> {
    let document = Document::parse(json, Limits::default()).ok()?;
    let (root, sandboxes) = sandboxes(&document)?;
    let mut edit = Edit::of(&document);
    // Nobody knows what else it may tell, and of whom.
    for member in root.members().filter(|member| member.key != SANDBOXES) {
        edit.remove(&root, &member);
    }
    let is_own = |key: &str| SandboxId::parse(key).is_ok_and(|id| own.contains(&id));
    for member in sandboxes.members().filter(|member| !is_own(&member.key)) {
        edit.remove(&sandboxes, &member);
    }
    Some(edit.apply())
}

fn sandboxes<'a>(document: &Document<'a>) -> Option<(Object<'a>, Object<'a>)> {
    let root = document.root().as_object()?;
    root.check_keys().ok()?;
    match root.find_folded(SANDBOXES) {
        Found::Exact(member) => Some((root, member.value.as_object()?)),
        Found::Variant(_) | Found::Absent => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ones_own_members_stay() {
        let json =
            br#"{"total":3,"sandboxes":{"i1":{"x":1.0},"i2":{},"\u0069\u0032":{},"i1":[]},"n":1}"#;
        let own = HashSet::from([SandboxId::parse("i1").unwrap()]);
        let kept = keep(json, &own).unwrap();
        assert_eq!(String::from_utf8(kept).unwrap(), r#"{"sandboxes":{"i1":{"x":1.0},"i1":[]}}"#);
        let ids: Vec<_> = told_of(json).unwrap();
        assert_eq!(ids.iter().map(SandboxId::as_str).collect::<Vec<_>>(), ["i1", "i2", "i2", "i1"]);
    }

    #[test]
    fn another_shape_is_not_passed_on() {
        for json in [
            "[]",
            "{}",
            "",
            r#"{"sandboxes":[]}"#,
            r#"{"Sandboxes":{}}"#,
            r#"{"sandboxes":{},"sandboxes":{"i2":{}}}"#,
            r#"{"sandboxes":{},"Sandboxes":{"i2":{}}}"#,
        ] {
            assert_eq!(keep(json.as_bytes(), &HashSet::new()), None, "{json}");
            assert_eq!(told_of(json.as_bytes()), None, "{json}");
        }
    }
}
