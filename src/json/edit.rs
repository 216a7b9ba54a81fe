//! Changes to a text that leave every byte they do not name as it was.
//!
//! Changes are collected first and made together, so that several in one object or array get their commas right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::text::quote;
use super::{Array, Document, Member, Object, Span, Value};

/// Changes to one document. The spans, values and members given to it must come from that document.
///
/// Inside something that is removed or replaced, other changes have no effect; of two replacements of one place the
/// first counts. New values are taken as they are: they must be JSON.
#[derive(Clone)]
pub struct Edit<'a> {
    document: Document<'a>,
    replaced: Vec<(Span, String)>,
    /// By the offset of their opening brace or bracket.
    containers: BTreeMap<usize, ContainerEdit<'a>>,
}

#[derive(Clone)]
struct ContainerEdit<'a> {
    container: Value<'a>,
    /// Where the members or elements that go begin.
    removed: BTreeSet<usize>,
    /// Texts of members that come.
    inserted: Vec<String>,
}

impl<'a> Edit<'a> {
    /// No changes yet.
    #[must_use]
    pub fn of(document: &Document<'a>) -> Self {
        Self { document: *document, replaced: Vec::new(), containers: BTreeMap::new() }
    }

    /// Puts this JSON where a value is, or this JSON string where a key is.
    pub fn replace(&mut self, span: Span, json: impl Into<String>) {
        self.replaced.push((span, json.into()));
    }

    /// Takes a member out of its object, with its comma.
    pub fn remove(&mut self, object: &Object<'a>, member: &Member<'a>) {
        self.container((*object).into()).removed.insert(member.key_span.start);
    }

    /// Takes an element out of its array, with its comma.
    pub fn remove_element(&mut self, array: &Array<'a>, element: &Value<'a>) {
        self.container((*array).into()).removed.insert(element.span().start);
    }

    /// Adds a member at the end of an object. Whether the key is there already is not looked at.
    pub fn insert(&mut self, object: &Object<'a>, key: &str, json: &str) {
        let member = format!("{}:{json}", quote(key));
        self.container((*object).into()).inserted.push(member);
    }

    /// The text with all changes made.
    #[must_use]
    pub fn apply(self) -> Vec<u8> {
        let text = self.document.text();
        let mut changes = self.replaced;
        for edit in self.containers.values() {
            edit.changes(&mut changes);
        }
        // Stable, so that of equal ones the first given stays first; what contains others comes before them.
        changes.sort_by_key(|(span, _)| (span.start, std::cmp::Reverse(span.end)));
        let mut edited = String::with_capacity(text.len());
        let mut done = 0;
        for (span, json) in changes {
            if span.start < done {
                continue;
            }
            edited.push_str(text.get(done..span.start).unwrap_or_default());
            edited.push_str(&json);
            done = span.end;
        }
        edited.push_str(text.get(done..).unwrap_or_default());
        edited.into_bytes()
    }

    fn container(&mut self, container: Value<'a>) -> &mut ContainerEdit<'a> {
        self.containers.entry(container.span().start).or_insert_with(|| ContainerEdit {
            container,
            removed: BTreeSet::new(),
            inserted: Vec::new(),
        })
    }
}

impl ContainerEdit<'_> {
    fn changes(&self, changes: &mut Vec<(Span, String)>) {
        // Where the last part ended, and whether one before here stays.
        let mut end = self.container.span().start + 1;
        let mut any_stays = false;
        let mut parts = self.container.parts().peekable();
        while let Some(part) = parts.next() {
            if !self.removed.contains(&part.start) {
                any_stays = true;
            } else if any_stays {
                // With the comma before it.
                changes.push((Span { start: end, end: part.end }, String::new()));
            } else {
                // With the comma after it, if there is one.
                let next = parts.peek().map_or(part.end, |next| next.start);
                changes.push((Span { start: part.start, end: next }, String::new()));
            }
            end = part.end;
        }
        if !self.inserted.is_empty() {
            let comma = if any_stays { "," } else { "" };
            let members = format!("{comma}{}", self.inserted.join(","));
            changes.push((Span { start: end, end }, members));
        }
    }
}

impl fmt::Debug for Edit<'_> {
    /// Without the texts: they may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edit")
            .field("replaced", &self.replaced.len())
            .field("containers", &self.containers.len())
            .finish_non_exhaustive()
    }
}
