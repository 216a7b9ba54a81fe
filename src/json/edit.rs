//! Changes to a text that leave every byte they do not name as it was.
//!
//! Changes are collected first and made together, so that several in one object get their commas right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::text::quote;
use super::{Document, Member, Object, Span};

/// Changes to one document. The spans, objects and members given to it must come from that document.
///
/// Inside something that is removed or replaced, other changes have no effect; of two replacements of one place the
/// first counts. New values are taken as they are: they must be JSON.
#[derive(Clone)]
pub struct Edit<'a> {
    document: Document<'a>,
    replaced: Vec<(Span, String)>,
    /// By the offset of their opening brace.
    objects: BTreeMap<usize, ObjectEdit<'a>>,
}

#[derive(Clone)]
struct ObjectEdit<'a> {
    object: Object<'a>,
    /// Offsets of the keys of members that go.
    removed: BTreeSet<usize>,
    /// Texts of members that come.
    inserted: Vec<String>,
}

impl<'a> Edit<'a> {
    /// No changes yet.
    #[must_use]
    pub fn of(document: &Document<'a>) -> Self {
        Self { document: *document, replaced: Vec::new(), objects: BTreeMap::new() }
    }

    /// Puts this JSON where a value is, or this JSON string where a key is.
    pub fn replace(&mut self, span: Span, json: impl Into<String>) {
        self.replaced.push((span, json.into()));
    }

    /// Takes a member out of its object, with its comma.
    pub fn remove(&mut self, object: &Object<'a>, member: &Member<'a>) {
        self.object(object).removed.insert(member.key_span.start);
    }

    /// Adds a member at the end of an object. Whether the key is there already is not looked at.
    pub fn insert(&mut self, object: &Object<'a>, key: &str, json: &str) {
        let member = format!("{}:{json}", quote(key));
        self.object(object).inserted.push(member);
    }

    /// The text with all changes made.
    #[must_use]
    pub fn apply(self) -> Vec<u8> {
        let text = self.document.text();
        let mut changes = self.replaced;
        for edit in self.objects.values() {
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

    fn object(&mut self, object: &Object<'a>) -> &mut ObjectEdit<'a> {
        self.objects.entry(object.span().start).or_insert_with(|| ObjectEdit {
            object: *object,
            removed: BTreeSet::new(),
            inserted: Vec::new(),
        })
    }
}

impl ObjectEdit<'_> {
    fn changes(&self, changes: &mut Vec<(Span, String)>) {
        let start = self.object.span().start + 1;
        // Where the last member ended, and whether one before here stays.
        let mut end = start;
        let mut any_stays = false;
        let mut members = self.object.members().peekable();
        while let Some(member) = members.next() {
            let key = member.key_span.start;
            let value_end = member.value.span().end;
            if !self.removed.contains(&key) {
                any_stays = true;
            } else if any_stays {
                // With the comma before it.
                changes.push((Span { start: end, end: value_end }, String::new()));
            } else {
                // With the comma after it, if there is one.
                let next = members.peek().map_or(value_end, |next| next.key_span.start);
                changes.push((Span { start: key, end: next }, String::new()));
            }
            end = value_end;
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
            .field("objects", &self.objects.len())
            .finish_non_exhaustive()
    }
}
