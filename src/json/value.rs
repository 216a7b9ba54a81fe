//! Places in a checked text: values, and the members and elements inside them, found when asked for.
//!
//! Nothing is stored; walking over a value reads it again. Only texts that [`parse`](super::parse) passed come here, so
//! a missing byte cannot happen; where the code must say something about it, it says "the end".

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use memchr::memchr2;

use super::text::{decode, folded};
use super::{JsonError, Span};

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// One value of a [`Document`](super::Document).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    document: &'a str,
    span: Span,
    kind: Kind,
}

/// A value that is an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Object<'a>(Value<'a>);

/// A value that is an array.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Array<'a>(Value<'a>);

/// One member of an object.
#[derive(Clone, PartialEq, Eq)]
pub struct Member<'a> {
    /// The key, decoded.
    pub key: Cow<'a, str>,
    /// The key's place, quotes included.
    pub key_span: Span,
    /// The value.
    pub value: Value<'a>,
}

/// What [`Object::find_folded`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found<'a> {
    /// The first member with exactly this key.
    Exact(Member<'a>),
    /// No such member, but one whose key differs in case only.
    Variant(Member<'a>),
    /// Neither.
    Absent,
}

impl<'a> Value<'a> {
    /// The value that begins here.
    pub(super) fn at(document: &'a str, start: usize) -> Self {
        let bytes = document.as_bytes();
        let (kind, end) = match bytes.get(start) {
            Some(b'{') => (Kind::Object, container_end(bytes, start)),
            Some(b'[') => (Kind::Array, container_end(bytes, start)),
            Some(b'"') => (Kind::String, string_end(bytes, start)),
            Some(b't') => (Kind::Bool, start + 4),
            Some(b'f') => (Kind::Bool, start + 5),
            Some(b'n') => (Kind::Null, start + 4),
            _ => (Kind::Number, number_end(bytes, start)),
        };
        Self { document, span: Span { start, end }, kind }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it is.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }

    /// Its text as it stands.
    #[must_use]
    pub fn text(&self) -> &'a str {
        slice(self.document, self.span)
    }

    /// The decoded string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        (self.kind == Kind::String).then(|| decode(inside(self.text())))
    }

    /// The object, if it is one.
    #[must_use]
    pub fn as_object(&self) -> Option<Object<'a>> {
        (self.kind == Kind::Object).then_some(Object(*self))
    }

    /// The array, if it is one.
    #[must_use]
    pub fn as_array(&self) -> Option<Array<'a>> {
        (self.kind == Kind::Array).then_some(Array(*self))
    }

    /// Where the parts of an object or array are, in order: its members, each from its key on, or its elements.
    pub(super) fn parts(self) -> impl Iterator<Item = Span> {
        let keyed = self.kind == Kind::Object;
        let mut items = Items::new(self);
        std::iter::from_fn(move || {
            let first = items.next_value()?.span;
            let last = if keyed { items.next_value()?.span } else { first };
            Some(Span { start: first.start, end: last.end })
        })
    }
}

impl<'a> From<Object<'a>> for Value<'a> {
    fn from(object: Object<'a>) -> Self {
        object.0
    }
}

impl<'a> From<Array<'a>> for Value<'a> {
    fn from(array: Array<'a>) -> Self {
        array.0
    }
}

impl<'a> Object<'a> {
    /// Where it is, braces included.
    #[must_use]
    pub fn span(&self) -> Span {
        self.0.span
    }

    /// Its members in order, repeated keys included.
    #[must_use]
    pub fn members(&self) -> Members<'a> {
        Members(Items::new(self.0))
    }

    /// Refuses an object that two readers could read differently. Objects inside it are not looked at.
    ///
    /// # Errors
    /// [`JsonError::RepeatedKey`] where a key equals an earlier one, exactly or in other case.
    pub fn check_keys(&self) -> Result<(), JsonError> {
        let mut seen = HashSet::new();
        for member in self.members() {
            if !seen.insert(folded(&member.key).collect::<String>()) {
                return Err(JsonError::RepeatedKey(member.key_span.start));
            }
        }
        Ok(())
    }

    /// The first member with exactly this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Member<'a>> {
        self.members().find(|member| member.key == key)
    }

    /// Looks for a key, and for spellings of it that careless readers take for it.
    #[must_use]
    pub fn find_folded(&self, key: &str) -> Found<'a> {
        let mut variant = None;
        for member in self.members() {
            if member.key == key {
                return Found::Exact(member);
            }
            if variant.is_none() && folded(&member.key).eq(folded(key)) {
                variant = Some(member);
            }
        }
        variant.map_or(Found::Absent, Found::Variant)
    }
}

impl<'a> Array<'a> {
    /// Where it is, brackets included.
    #[must_use]
    pub fn span(&self) -> Span {
        self.0.span
    }

    /// Its elements in order.
    #[must_use]
    pub fn elements(&self) -> Elements<'a> {
        Elements(Items::new(self.0))
    }
}

/// The members of an object.
#[derive(Clone, Debug)]
pub struct Members<'a>(Items<'a>);

/// The elements of an array.
#[derive(Clone, Debug)]
pub struct Elements<'a>(Items<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let key = self.0.next_value()?;
        let value = self.0.next_value()?;
        Some(Member { key: decode(inside(key.text())), key_span: key.span, value })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.0.next_value()
    }
}

/// The keys, values and elements of one object or array.
#[derive(Clone, Debug)]
struct Items<'a> {
    container: Value<'a>,
    at: usize,
}

impl<'a> Items<'a> {
    fn new(container: Value<'a>) -> Self {
        Self { container, at: container.span.start + 1 }
    }

    /// What comes after white space, commas and colons.
    fn next_value(&mut self) -> Option<Value<'a>> {
        let bytes = self.container.document.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':') = bytes.get(self.at) {
            self.at += 1;
        }
        if self.at + 1 >= self.container.span.end {
            return None;
        }
        let value = Value::at(self.container.document, self.at);
        self.at = value.span.end;
        Some(value)
    }
}

fn slice(document: &str, span: Span) -> &str {
    document.get(span.start..span.end).unwrap_or_default()
}

/// A string's text without its quotes.
fn inside(text: &str) -> &str {
    text.get(1..text.len().saturating_sub(1)).unwrap_or_default()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(offset) = memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += offset;
        if bytes.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

fn number_end(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    let len = rest
        .iter()
        .position(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        .unwrap_or(rest.len());
    start + len
}

fn container_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

impl fmt::Debug for Value<'_> {
    /// Without the text: it may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value").field("kind", &self.kind).field("span", &self.span).finish()
    }
}

impl fmt::Debug for Member<'_> {
    /// Without the texts: they may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Member");
        shown.field("key_span", &self.key_span).field("value", &self.value).finish()
    }
}
