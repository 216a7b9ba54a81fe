//! Reads who may come in: static keys from settings and file, the auth callback, and the secrets that sign sandbox
//! tokens.

use std::path::PathBuf;

use super::problem::Spelling;
use super::reader::Reader;
use super::sources::LongFile;
use super::table::{API_KEYS, API_KEYS_FILE, CALLBACK_URL, PRECEDENCE, SECRET};
use super::value::{Raw, either};
use crate::callback;
use crate::credential::Precedence;
use crate::keys::{KeyDraft, KeyFile, KeySet, read_list};
use crate::pem::Source;
use crate::secret::Secret;

/// Shortest signing secret, in bytes.
const MIN_SECRET: usize = 32;

/// Settings about credentials.
#[derive(Debug)]
pub struct AuthSettings {
    /// Whether there are static keys.
    pub has_keys: bool,
    /// The service that is asked about credentials that no key knows.
    pub callback: Option<callback::Settings>,
    /// The keys file, as it was when it was read, to be watched.
    pub keys_file: Option<Source>,
    /// Which credential counts.
    pub precedence: Precedence,
    /// What signs sandbox tokens, the newest first. Empty: one has to be made.
    pub secrets: Vec<Secret>,
}

impl AuthSettings {
    /// Whether nobody is asked for a credential: every request passes with its headers as sent.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !self.has_keys && self.callback.is_none()
    }
}

/// Whether nothing says who may come in. What is there but broken says so too: it is a problem, not an open gateway.
pub(super) fn is_open(reader: &Reader<'_>) -> bool {
    !has_keys(reader) && reader.given(CALLBACK_URL).is_none()
}

fn has_keys(reader: &Reader<'_>) -> bool {
    [API_KEYS, API_KEYS_FILE].iter().any(|setting| reader.given(setting).is_some())
}

/// Reads all of it. The callback keeps what must outlive a restart in `state_dir`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    previous: Option<&KeySet>,
    state_dir: Option<PathBuf>,
) -> (AuthSettings, KeySet) {
    let (keys_file, keys) = read_keys(reader, previous);
    let callback = super::callback::read(reader, state_dir);
    let precedence = reader.value(PRECEDENCE, |raw| {
        either(raw, [("bearer", Precedence::Bearer), ("api-key", Precedence::ApiKey)])
    });
    let secrets = reader.optional(SECRET, |raw| raw.list(secret)).unwrap_or_default();
    let has_keys = has_keys(reader);
    (AuthSettings { has_keys, callback, keys_file, precedence, secrets }, keys)
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
) -> (Option<Source>, KeySet) {
    let list = reader.optional(API_KEYS, |raw| match raw {
        Raw::Text(text) => Ok(text.clone()),
        Raw::Items(items) => Ok(items.join("\n")),
    });
    let file = reader.long_file(API_KEYS_FILE);
    let mut draft = KeyDraft::default();
    if let Some(text) = &list {
        read_list(&mut draft, &reader.origin(API_KEYS).to_string(), text);
    }
    let source = file.map(|file| {
        let source = file.source.clone();
        let name = source.path.display().to_string();
        if file.is_public {
            reader.warn(format!("{name}: holds keys and every user can read it"));
        }
        if let Err(why) = read_keys_file(&mut draft, &name, file) {
            reader.problem(reader.origin(API_KEYS_FILE), format!("the file {why}"));
        }
        source
    });
    let keys = draft.finish(previous).unwrap_or_else(|problems| {
        reader.key_problems(problems);
        KeySet::default()
    });
    if is_open(reader) && previous.is_some_and(|keys| !keys.is_empty()) {
        // Taking the last key out of a running gateway must not open it to everybody.
        let message = "a reload cannot take away the last keys and leave the gateway open";
        reader.problem(Spelling::Key(API_KEYS.key), message.to_owned());
    }
    (source, keys)
}

fn read_keys_file(draft: &mut KeyDraft, name: &str, file: LongFile) -> Result<(), String> {
    let mut keys = KeyFile::new(draft, name, file.size);
    file.read(|piece| keys.take(piece))?;
    keys.end().map_err(|why| why.to_string())
}
