//! The stored login: `coppice/credentials.json` below `$XDG_CONFIG_HOME`, or below `~/.config`.
//!
//! Its directory is the user's alone (0700), the file too (0600), and it is replaced as a whole.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Exit, Failure};
use crate::config::Sources;
use crate::secret::Secret;

/// A gateway and the token for it.
#[derive(Debug)]
pub(super) struct Login {
    /// The gateway's base URL.
    pub(super) url: String,
    /// What to send it.
    pub(super) token: Secret,
}

#[derive(Serialize, Deserialize)]
struct Stored<T> {
    url: T,
    token: T,
}

impl Login {
    /// The stored login, if there is one.
    pub(super) fn load(sources: &Sources) -> Result<Option<Self>, Failure> {
        let Some(path) = path(sources) else { return Ok(None) };
        let fail = |why: &str| Failure::new(Exit::Failed, format!("{}: {why}", path.display()));
        let text = match fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(&format!("cannot be read: {error}"))),
        };
        let mode = fs::metadata(&path).map_or(0, |metadata| metadata.permissions().mode());
        if mode & 0o077 != 0 {
            return Err(fail("other users can read it; log in again with another token"));
        }
        let stored: Stored<String> =
            serde_json::from_str(&text).map_err(|_| fail("is malformed; log in again"))?;
        Ok(Some(Self { url: stored.url, token: Secret::new(stored.token) }))
    }

    /// Stores it in place of any other, and says where.
    pub(super) fn save(&self, sources: &Sources) -> Result<PathBuf, Failure> {
        let missing = "neither XDG_CONFIG_HOME nor HOME says where to store the login";
        let path = path(sources).ok_or_else(|| Failure::new(Exit::Config, missing))?;
        let stored = Stored { url: self.url.as_str(), token: self.token.expose() };
        let written = serde_json::to_vec(&stored).map_err(io::Error::from).map(Zeroizing::new);
        written.and_then(|text| replace(&path, &text)).map_err(|why| {
            Failure::new(Exit::Failed, format!("{}: cannot be written: {why}", path.display()))
        })?;
        Ok(path)
    }

    /// Removes it. Says whether there was one.
    pub(super) fn remove(sources: &Sources) -> Result<bool, Failure> {
        let Some(path) = path(sources) else { return Ok(false) };
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => {
                let message = format!("{}: cannot be removed: {error}", path.display());
                Err(Failure::new(Exit::Failed, message))
            }
        }
    }
}

/// Where the login is stored. Paths that are not absolute do not count, as the XDG base directory specification says.
fn path(sources: &Sources) -> Option<PathBuf> {
    let absolute = |name: &str| {
        sources.environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(base.join("coppice").join("credentials.json"))
}

/// Writes a file beside `path` and moves it there, so that a reader finds the old text or the new.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    let draft = directory.join(format!(".credentials.{}", std::process::id()));
    let result = write_new(&draft, text).and_then(|()| fs::rename(&draft, path));
    if result.is_err() {
        // Best effort: the first error is the one worth telling.
        let _ = fs::remove_file(&draft);
        return result;
    }
    File::open(directory)?.sync_all()
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}
