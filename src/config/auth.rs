//! Reads who may come in: static keys from settings and file, and the secrets that sign sandbox tokens.

use std::path::{Path, PathBuf};

use super::problem::Spelling;
use super::reader::Reader;
use super::sources::read_file;
use super::table::{API_KEYS, API_KEYS_FILE, PRECEDENCE, SECRET};
use super::value::{Raw, path};
use crate::credential::Precedence;
use crate::keys::{KeySet, parse_file, parse_list};
use crate::secret::Secret;

/// Shortest signing secret, in bytes.
const MIN_SECRET: usize = 32;

/// How requests are authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authentication {
    /// Not at all: every request passes with its headers as sent.
    Open,
    /// By static keys.
    Keys,
}

/// Settings about credentials.
#[derive(Debug)]
pub struct AuthSettings {
    /// Whether anything is checked.
    pub authentication: Authentication,
    /// The keys file, to be watched.
    pub keys_file: Option<PathBuf>,
    /// Which credential counts.
    pub precedence: Precedence,
    /// What signs sandbox tokens, the newest first. Empty: one has to be made.
    pub secrets: Vec<Secret>,
}

/// Reads all of it.
pub(super) fn read(reader: &mut Reader<'_>, previous: Option<&KeySet>) -> (AuthSettings, KeySet) {
    let (authentication, keys_file, keys) = read_keys(reader, previous);
    let precedence = reader.value(PRECEDENCE, |raw| match raw.text()? {
        "bearer" => Ok(Precedence::Bearer),
        "api-key" => Ok(Precedence::ApiKey),
        other => Err(format!("'{other}' is neither bearer nor api-key")),
    });
    let secrets = reader.optional(SECRET, |raw| raw.list(secret)).unwrap_or_default();
    (AuthSettings { authentication, keys_file, precedence, secrets }, keys)
}

fn secret(text: &str) -> Result<Secret, String> {
    if text.len() < MIN_SECRET {
        return Err(format!("a secret is shorter than {MIN_SECRET} bytes"));
    }
    Ok(Secret::new(text.to_owned()))
}

/// Reads the keys of all sources into one set.
pub(super) fn read_keys(
    reader: &mut Reader<'_>,
    previous: Option<&KeySet>,
) -> (Authentication, Option<PathBuf>, KeySet) {
    let list = reader.optional(API_KEYS, |raw| match raw {
        Raw::Text(text) => Ok(text.clone()),
        Raw::Items(items) => Ok(items.join("\n")),
    });
    let file = reader.optional(API_KEYS_FILE, path);
    let mut lists = Vec::new();
    if let Some(text) = &list {
        lists.push(parse_list(&reader.origin(API_KEYS).to_string(), text));
    }
    if let Some(path) = &file {
        lists.extend(read_keys_file(reader, path));
    }
    let mut entries = Vec::new();
    let mut sound = true;
    for list in lists {
        match list {
            Ok(found) => entries.extend(found),
            Err(problems) => {
                sound = false;
                reader.key_problems(problems);
            }
        }
    }
    let keys = if sound { KeySet::build(entries, previous) } else { Ok(KeySet::default()) };
    let keys = keys.unwrap_or_else(|problems| {
        reader.key_problems(problems);
        KeySet::default()
    });
    let is_open = list.is_none() && file.is_none();
    if is_open && previous.is_some_and(|keys| !keys.is_empty()) {
        // Taking the last key out of a running gateway must not open it to everybody.
        let message = "a reload cannot take away the last keys and leave the gateway open";
        reader.problem(Spelling::Key(API_KEYS.key), message.to_owned());
    }
    (if is_open { Authentication::Open } else { Authentication::Keys }, file, keys)
}

type Entries = Result<Vec<crate::keys::KeyEntry>, Vec<crate::keys::KeyProblem>>;

fn read_keys_file(reader: &mut Reader<'_>, path: &Path) -> Option<Entries> {
    let name = path.display().to_string();
    match read_file(path) {
        Ok(file) => {
            if file.is_public {
                reader.warn(format!("{name}: holds keys and every user can read it"));
            }
            Some(parse_file(&name, &file.text))
        }
        Err(why) => {
            let spelling = reader.origin(API_KEYS_FILE);
            // Without the path, which may be a list of keys in the wrong variable.
            reader.problem(spelling, format!("the file {why}"));
            None
        }
    }
}
