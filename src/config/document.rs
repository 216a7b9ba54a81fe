//! The settings file: TOML, with the position of every value.
//!
//! Says which keys it does not know. What the values mean is for those who ask for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use super::problem::{Problem, Spelling};
use super::table::{PAIRS, Pairs, SETTINGS, is_unsupported_key};
use super::value::Raw;

/// The values of a file by their dotted keys.
#[derive(Default)]
pub(super) struct Document {
    values: BTreeMap<String, Value>,
    pairs: Vec<(&'static str, [Value; 2])>,
    /// Settings that this version does not know; each of them a problem, if nothing else is said.
    pub(super) strangers: Vec<Problem>,
}

/// A value, and where it stands.
pub(super) type Value = (Spelling, Result<Raw, String>);

impl Document {
    /// Reads a file's text. What is wrong with it as a whole goes to `problems`.
    pub(super) fn parse(path: &Arc<str>, text: &str, problems: &mut Vec<Problem>) -> Self {
        let mut walk = Walk { path, text, problems, document: Self::default() };
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            walk.table("", table.get_ref());
        }
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            walk.problem("", at, format!("not valid TOML: {}", error.message()));
        }
        walk.document
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// The values of all tables of a kind, in the order of the file.
    pub(super) fn pairs(&self, pairs: &'static Pairs) -> impl Iterator<Item = &[Value; 2]> {
        self.pairs.iter().filter(|(key, _)| *key == pairs.key).map(|(_, values)| values)
    }
}

struct Walk<'a> {
    path: &'a Arc<str>,
    text: &'a str,
    problems: &'a mut Vec<Problem>,
    document: Document,
}

impl Walk<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            let at = name.span().start;
            let has_children = known_keys()
                .any(|known| known.strip_prefix(&key).is_some_and(|rest| rest.starts_with('.')));
            if has_children {
                match value.get_ref().as_table() {
                    Some(inner) => self.table(&format!("{key}."), inner),
                    None => self.problem(&key, at, "must be a table".to_owned()),
                }
            } else if known_keys().any(|known| known == key) {
                let spelling = self.spelling(&key, value.span().start);
                self.document.values.insert(key, (spelling, raw(value.get_ref())));
            } else if let Some(pairs) = PAIRS.iter().find(|pairs| pairs.key == key) {
                self.pairs(pairs, value);
            } else if is_unsupported_key(&key) {
                self.stranger(&key, at, "is not supported by this version".to_owned());
            } else {
                let hint =
                    nearest(&key, known_keys()).map(|near| format!("; did you mean {near}?"));
                self.stranger(&key, at, format!("unknown setting{}", hint.unwrap_or_default()));
            }
        }
    }

    fn pairs(&mut self, pairs: &'static Pairs, value: &Spanned<DeValue<'_>>) {
        let tables = value.get_ref().as_array().into_iter().flatten();
        let tables: Option<Vec<_>> =
            tables.map(|item| Some((item.span().start, item.get_ref().as_table()?))).collect();
        let Some(tables) = tables.filter(|tables| !tables.is_empty()) else {
            let message = format!("must be tables under [[{}]]", pairs.key);
            return self.problem(pairs.key, value.span().start, message);
        };
        for (at, table) in tables {
            for name in table.keys().filter(|name| !pairs.names.contains(&&**name.get_ref())) {
                let key = format!("{}.{}", pairs.key, name.get_ref());
                let [one, other] = pairs.names;
                let message = format!("unknown setting; there are {one} and {other}");
                self.problem(&key, name.span().start, message);
            }
            let values = pairs.names.map(|name| {
                let key = format!("{}.{name}", pairs.key);
                match table.get(name) {
                    Some(value) => (self.spelling(&key, value.span().start), raw(value.get_ref())),
                    None => (self.spelling(&key, at), Err("is missing from this table".to_owned())),
                }
            });
            self.document.pairs.push((pairs.key, values));
        }
    }

    fn problem(&mut self, key: &str, at: usize, message: String) {
        let spelling = self.spelling(key, at);
        self.problems.push(Problem::Setting(spelling, message));
    }

    fn stranger(&mut self, key: &str, at: usize, message: String) {
        let spelling = self.spelling(key, at);
        self.document.strangers.push(Problem::Setting(spelling, message));
    }

    fn spelling(&self, key: &str, at: usize) -> Spelling {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Spelling::File { path: self.path.clone(), line, column, key: key.to_owned() }
    }
}

fn known_keys() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().flat_map(|setting| {
        std::iter::once(setting.key).chain(setting.file_form().map(|form| form.key))
    })
}

fn raw(value: &DeValue<'_>) -> Result<Raw, String> {
    match value {
        DeValue::Array(items) => items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                DeValue::Integer(number) => Ok(number.to_string()),
                DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_)
                | DeValue::Table(_) => {
                    Err("must be an array of strings or whole numbers".to_owned())
                }
            })
            .collect::<Result<_, _>>()
            .map(Raw::Items),
        DeValue::String(text) => Ok(Raw::Text(text.to_string())),
        DeValue::Integer(number) => Ok(Raw::Text(number.to_string())),
        DeValue::Float(number) => Ok(Raw::Text(number.to_string())),
        DeValue::Boolean(switch) => Ok(Raw::Text(switch.to_string())),
        DeValue::Datetime(_) | DeValue::Table(_) => {
            Err("must be a string, a number, true or false, or an array of strings".to_owned())
        }
    }
}
