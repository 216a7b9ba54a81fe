//! The secret that seals sandbox tokens, where none was set: made once, and kept for the next start.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::config::Settings;
use crate::secret::Secret;
use crate::token::Sealer;

/// The sealer of sandbox tokens: of the secrets that were set, else of one that is kept in the state directory, else of
/// one that dies with the process, unless it is `inherited` from the process before. Gives that last one, too.
pub(super) fn sealer(
    settings: &Settings,
    inherited: Option<Secret>,
) -> io::Result<(Sealer, Option<Secret>)> {
    if !settings.auth.secrets.is_empty() {
        return Ok((Sealer::new(&settings.auth.secrets), None));
    }
    if let Some(directory) = &settings.state_dir {
        return Ok((Sealer::new(&[kept_secret(directory)?]), None));
    }
    let secret = inherited.map_or_else(|| Secret::random("", 32), Ok)?;
    Ok((Sealer::new(std::slice::from_ref(&secret)), Some(secret)))
}

fn kept_secret(directory: &Path) -> io::Result<Secret> {
    let path = directory.join("secret");
    std::fs::create_dir_all(directory)?;
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim_end().len() >= 32 => {
            return Ok(Secret::new(text.trim_end().to_owned()));
        }
        Ok(_) => return Err(io::Error::other(format!("{} is too short", path.display()))),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(cause),
    }
    let secret = Secret::random("", 32)?;
    // Written whole before it gets its name, so that a crash leaves no half of one.
    let partial = directory.join(format!("secret.{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(secret.expose().as_bytes())?;
    file.sync_all()?;
    match std::fs::hard_link(&partial, &path) {
        Ok(()) => std::fs::remove_file(&partial).map(|()| secret),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(&partial)?;
            kept_secret(directory)
        }
        Err(cause) => Err(cause),
    }
}
