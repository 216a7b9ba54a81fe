//! Reads whom servers have to be vouched for by in TLS, and who the gateway says it is: of upstreams and of the auth callback.
//!
//! No message quotes a path: it may be a secret, put where the path belongs.

use std::path::Path;

use super::reader::Reader;
use super::table::Setting;
use super::value;
use crate::http1::{Authorities, Identity};
use crate::pem::{self, PemError};

/// The settings that name the files.
pub(super) struct Files {
    pub(super) authorities: &'static Setting,
    pub(super) certificate: &'static Setting,
    pub(super) key: &'static Setting,
}

impl Files {
    /// All of them.
    pub(super) const fn all(&self) -> [&'static Setting; 3] {
        [self.authorities, self.certificate, self.key]
    }

    /// What the authorities' file holds, besides `others`; none without a file.
    pub(super) fn authorities(
        &self,
        reader: &mut Reader<'_>,
        others: impl FnOnce() -> Authorities,
    ) -> Option<Authorities> {
        let path = reader.optional(self.authorities, value::path)?;
        let found = read(reader, self.authorities, &path, pem::certificates)?;
        let all = others().and(found);
        all.map_err(|why| complain(reader, self.authorities, &why)).ok()
    }

    /// Certificate and key, which need each other.
    pub(super) fn identity(&self, reader: &mut Reader<'_>) -> Option<Identity> {
        for (one, other) in [(self.certificate, self.key), (self.key, self.certificate)] {
            if let (Some(spelling), None) = (reader.given(one), reader.given(other)) {
                reader.problem(spelling, format!("needs {} beside it", other.env));
            }
        }
        let certificate = reader.optional(self.certificate, value::path);
        let (certificate, path) = certificate.zip(reader.optional(self.key, value::path))?;
        let chain = read(reader, self.certificate, &certificate, pem::certificates);
        let found = read(reader, self.key, &path, pem::private_key)?;
        if found.is_public {
            reader.warn(format!("{}: holds a secret and every user can read it", path.display()));
        }
        let identity = Identity::new(chain?, found.key);
        identity.map_err(|why| complain(reader, self.certificate, &why)).ok()
    }
}

fn read<T>(
    reader: &mut Reader<'_>,
    setting: &'static Setting,
    path: &Path,
    read: impl FnOnce(&Path) -> Result<T, PemError>,
) -> Option<T> {
    read(path).map_err(|why| complain(reader, setting, &why)).ok()
}

fn complain(reader: &mut Reader<'_>, setting: &'static Setting, why: &dyn std::error::Error) {
    reader.problem(reader.origin(setting), format!("the file {why}"));
}
