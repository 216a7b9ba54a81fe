//! The line form of key lists: `tenant:key:scope|scope`, separated by commas or newlines.
//!
//! The first and the last colon split, so that a key may hold colons. White space around fields means nothing. In
//! files, `#` starts a comment at the start of a line or after white space (which no entry can hold inside a field).

use super::{KeyEntry, KeyFault, KeyProblem, Place, parse_key, parse_scopes};
use crate::principal::{Scope, TenantId};

/// Where the list stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// In a setting: no comments, and lines have no numbers worth telling.
    Setting,
    /// In a file.
    File,
}

/// Reads a list.
pub(super) fn parse(
    source: &str,
    text: &str,
    form: Form,
) -> Result<Vec<KeyEntry>, Vec<KeyProblem>> {
    let mut list =
        Reader { source: source.into(), form, entries: Vec::new(), problems: Vec::new(), count: 0 };
    for (index, line) in text.split('\n').enumerate() {
        list.read_line(index + 1, line);
    }
    if list.count == 0 {
        let place = Place { source: list.source, position: None, entry: None };
        return Err(vec![KeyProblem { place, tenant: None, fault: KeyFault::NoEntries }]);
    }
    if list.problems.is_empty() { Ok(list.entries) } else { Err(list.problems) }
}

struct Reader {
    source: std::sync::Arc<str>,
    form: Form,
    entries: Vec<KeyEntry>,
    problems: Vec<KeyProblem>,
    count: usize,
}

impl Reader {
    fn read_line(&mut self, number: usize, line: &str) {
        let line = match self.form {
            Form::Setting => line,
            Form::File => without_comment(line),
        };
        let mut column = 1;
        for part in line.split(',') {
            let indent = part.chars().take_while(char::is_ascii_whitespace).count();
            let entry = trim(part);
            if !entry.is_empty() {
                self.read_entry(number, column + indent, entry);
            }
            column += part.chars().count() + 1;
        }
    }

    fn read_entry(&mut self, line: usize, column: usize, text: &str) {
        self.count += 1;
        let place = Place {
            source: self.source.clone(),
            position: (self.form == Form::File).then_some((line, column)),
            entry: Some(self.count),
        };
        let mut faults = Vec::new();
        let (tenant, entry) = match split(text) {
            Fields::Three(tenant, key, scopes) => {
                let tenant =
                    TenantId::parse(tenant).map_err(|bad| faults.push(KeyFault::Tenant(bad))).ok();
                let digest = parse_key(key).map_err(|fault| faults.push(fault)).ok();
                let scopes = if scopes.is_empty() {
                    Err(KeyFault::NoScopes)
                } else {
                    parse_scopes(scopes.split('|').map(trim))
                };
                let scopes = scopes.map_err(|fault| faults.push(fault)).ok();
                let entry = tenant.clone().zip(digest).zip(scopes);
                (tenant, entry)
            }
            Fields::Two(tenant) => {
                faults.push(KeyFault::MissingField);
                (tenant.and_then(|tenant| TenantId::parse(tenant).ok()), None)
            }
            Fields::One => {
                faults.push(KeyFault::Shape);
                (None, None)
            }
        };
        if let Some(((tenant, digest), scopes)) = entry {
            let (name, not_before, expires) = (None, None, None);
            self.entries.push(KeyEntry {
                tenant,
                name,
                digest,
                scopes,
                not_before,
                expires,
                place,
            });
        } else {
            self.problems.extend(faults.into_iter().map(|fault| KeyProblem {
                place: place.clone(),
                tenant: tenant.clone(),
                fault,
            }));
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
    text.trim_matches(|c: char| c.is_ascii_whitespace())
}

fn without_comment(line: &str) -> &str {
    let mut after_space = true;
    for (at, c) in line.char_indices() {
        if c == '#' && after_space {
            return line.split_at(at).0;
        }
        after_space = c.is_ascii_whitespace();
    }
    line
}
