//! A keys file that changes while a gateway uses it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use coppice_gateway::simulator::Options;
use tempfile::TempDir;

use super::gateway::Gateway;
use super::world::World;

/// The file, in a directory that vanishes with this value.
#[derive(Debug)]
pub(crate) struct KeysFile {
    directory: TempDir,
}

impl KeysFile {
    pub(crate) fn new(text: &str) -> Self {
        let file = Self { directory: tempfile::tempdir().unwrap() };
        file.write(text);
        file
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("keys")
    }

    /// Replaces the file as a whole, as careful writers do.
    pub(crate) fn write(&self, text: &str) {
        let fresh = self.directory.path().join("fresh");
        fs::write(&fresh, text).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&fresh, self.path()).unwrap();
    }

    /// The usual arrangement with the keys of this file beside the usual ones.
    pub(crate) fn world(&self) -> World {
        World::with(Options::default(), |setup| {
            setup.env("COPPICE_API_KEYS_FILE", self.path().to_str().unwrap())
        })
    }

    /// Replaces the file and has it read at once.
    pub(crate) fn reload(&self, gateway: &Gateway, text: &str) {
        self.write(text);
        gateway.reload();
    }
}
