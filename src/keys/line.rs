//! The line form of key lists: `tenant:key:scope|scope`, separated by commas or newlines.
//!
//! The first and the last colon split, so that a key may hold colons. White space around fields means nothing. In
//! files, `#` starts a comment at the start of a line or after white space (which no entry can hold inside a field).

use super::draft::{KeyDraft, Spot};
use super::rows::{Said, number};
use super::{KeyFault, parse_key, parse_scopes};
use crate::principal::{Scope, TenantId};

/// Where the list stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// In a setting: no comments, and lines have no numbers worth telling.
    Setting,
    /// In a file.
    File,
}

/// Reads a list line by line.
pub(super) struct Lines {
    list: u32,
    form: Form,
    line: u32,
    entry: u32,
}

impl Lines {
    /// Begins the list of that number.
    pub(super) const fn new(list: u32, form: Form) -> Self {
        Self { list, form, line: 0, entry: 0 }
    }

    /// Reads the next line.
    pub(super) fn read(&mut self, draft: &mut KeyDraft, line: &str) {
        self.line = self.line.saturating_add(1);
        let line = match self.form {
            Form::Setting => line,
            Form::File => without_comment(line),
        };
        let (mut rest, mut column) = (Some(line), 1);
        while let Some(text) = rest {
            let (part, more) = text.split_once(',').map_or((text, None), |(a, b)| (a, Some(b)));
            let indent = part.bytes().take_while(u8::is_ascii_whitespace).count();
            let entry = trim(part);
            if !entry.is_empty() {
                self.read_entry(draft, column + indent, entry);
            }
            if more.is_some() {
                column += part.chars().count() + 1;
            }
            rest = more;
        }
    }

    /// Ends the list.
    pub(super) fn end(self, draft: &mut KeyDraft) {
        if self.entry == 0 {
            let whole = Spot { list: self.list, position: (0, 0), entry: 0 };
            draft.fault(whole, None, KeyFault::NoEntries);
        }
    }

    fn read_entry(&mut self, draft: &mut KeyDraft, column: usize, text: &str) {
        self.entry = self.entry.saturating_add(1);
        let position = match self.form {
            Form::Setting => (0, 0),
            Form::File => (self.line, number(column)),
        };
        let spot = Spot { list: self.list, position, entry: self.entry };
        match split(text) {
            Fields::Three(tenant, key, scopes) => {
                let tenant = draft.shared.intern(tenant).map_err(KeyFault::Tenant);
                let digest = parse_key(key);
                let scopes = if scopes.is_empty() {
                    Err(KeyFault::NoScopes)
                } else {
                    parse_scopes(scopes.split('|').map(trim))
                };
                match (tenant, digest, scopes) {
                    (Ok(tenant), Ok(digest), Ok(scopes)) => {
                        let said = Said { name: None, scopes, not_before: None, expires: None };
                        draft.add(spot, tenant, digest, said);
                    }
                    (tenant, digest, scopes) => {
                        let known =
                            tenant.as_ref().ok().and_then(|id| draft.shared.id(*id)).cloned();
                        let faults = [tenant.err(), digest.err(), scopes.err()];
                        for fault in faults.into_iter().flatten() {
                            draft.fault(spot, known.clone(), fault);
                        }
                    }
                }
            }
            Fields::Two(tenant) => {
                let tenant = tenant.and_then(|tenant| TenantId::parse(tenant).ok());
                draft.fault(spot, tenant, KeyFault::MissingField);
            }
            Fields::One => draft.fault(spot, None, KeyFault::Shape),
        }
    }
}

enum Fields<'a> {
    Three(&'a str, &'a str, &'a str),
    /// The tenant, unless the second field holds scopes: then the first is more likely a key.
    Two(Option<&'a str>),
    One,
}

fn split(text: &str) -> Fields<'_> {
    let Some((first, rest)) = text.split_once(':') else { return Fields::One };
    let Some((key, scopes)) = rest.rsplit_once(':') else {
        let holds_scopes = rest.split('|').all(|name| trim(name).parse::<Scope>().is_ok());
        return Fields::Two((!holds_scopes).then(|| trim(first)));
    };
    Fields::Three(trim(first), trim(key), trim(scopes))
}

fn trim(text: &str) -> &str {
    text.trim_ascii()
}

fn without_comment(line: &str) -> &str {
    let starts = |at: &usize| {
        let before = at.checked_sub(1).and_then(|before| line.as_bytes().get(before));
        before.is_none_or(u8::is_ascii_whitespace)
    };
    let comment = memchr::memchr_iter(b'#', line.as_bytes()).find(starts);
    comment.and_then(|at| line.get(..at)).unwrap_or(line)
}
