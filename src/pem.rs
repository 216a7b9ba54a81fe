//! PEM files: certificates and private keys as they lie on disk.
//!
//! Files are read here and their sections decoded; what a certificate says, and whether a key fits it, is for others.
//! No error and no `Debug` output shows anything of what a file holds.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// Largest file that is read, in bytes: many times what all authorities of the world take.
const MAX_FILE: u64 = 4 << 20;

/// Why a file is of no use. The sentence begins with a verb, to follow the name of a setting or file.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// It could not be opened or read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is too long for what it should be.
    #[error("is larger than 4 MiB")]
    TooLarge,
    /// A section is cut off, or is not base64.
    #[error("is not in PEM form, or cut off")]
    Malformed,
    /// No `CERTIFICATE` section.
    #[error("holds no certificate in PEM form")]
    NoCertificate,
    /// No section with a private key.
    #[error("holds no private key in PEM form")]
    NoKey,
    /// The key cannot be read without a password, and there is nobody to ask for it.
    #[error("holds a private key that is locked with a password")]
    LockedKey,
    /// Which of them is meant would be a guess.
    #[error("holds more than one private key")]
    SeveralKeys,
}

/// A private key from a file.
#[derive(Debug)]
pub struct KeyInFile {
    /// The key: PKCS #8, PKCS #1 or SEC 1.
    pub key: PrivateKeyDer<'static>,
    /// Whether users beyond the file's owner and group may read it.
    pub is_public: bool,
}

/// A file that something was read from, to notice when it is another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// As it was when it was read, or a moment before.
    pub stamp: Option<Stamp>,
}

impl Source {
    /// The file at `path`, which is about to be read.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), stamp: Stamp::of(path) }
    }
}

/// What differs between a file and what it was before: when it was written, and when anything about it was changed, such as
/// who may read it, its length, and which one it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp(SystemTime, (i64, i64), u64, u64);

impl Stamp {
    /// That of the file at `path` now; none where there is no file.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        Self::of_opened(&std::fs::metadata(path).ok()?)
    }

    /// That of a file that is open, of which these are the metadata.
    #[must_use]
    pub fn of_opened(metadata: &Metadata) -> Option<Self> {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Some(Self(metadata.modified().ok()?, changed, metadata.len(), metadata.ino()))
    }
}

/// The certificates of a file, in its order; at least one. Other sections are passed over.
///
/// # Errors
/// [`PemError`].
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let (text, _) = read(path)?;
    let found: Vec<_> = sections(&text)?;
    if found.is_empty() { Err(PemError::NoCertificate) } else { Ok(found) }
}

/// The private key of a file. Other sections are passed over, so that it may lie beside its certificate.
///
/// # Errors
/// [`PemError`].
pub fn private_key(path: &Path) -> Result<KeyInFile, PemError> {
    let (text, is_public) = read(path)?;
    let mut found = sections::<PrivateKeyDer<'_>>(&text)?.into_iter();
    match (found.next(), found.next()) {
        (Some(key), None) => Ok(KeyInFile { key, is_public }),
        (Some(_), Some(_)) => Err(PemError::SeveralKeys),
        (None, _) if is_locked(&text) => Err(PemError::LockedKey),
        (None, _) => Err(PemError::NoKey),
    }
}

fn sections<T: PemObject>(text: &[u8]) -> Result<Vec<T>, PemError> {
    // What the reader has to say quotes the text.
    T::pem_slice_iter(text)
        .collect::<Result<_, pem::Error>>()
        .map_err(|_| if is_locked(text) { PemError::LockedKey } else { PemError::Malformed })
}

/// PKCS #8 says so in the section's name; the older form has a header, which is no base64.
fn is_locked(text: &[u8]) -> bool {
    let holds = |words: &[u8]| memchr::memmem::find(text, words).is_some();
    holds(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds(b"Proc-Type: 4,ENCRYPTED")
}

fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, bool), PemError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let is_public = metadata.is_file() && metadata.permissions().mode() & 0o004 != 0;
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let room = usize::try_from(metadata.len().min(MAX_FILE) + 1).unwrap_or_default();
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    file.take(MAX_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE { Err(PemError::TooLarge) } else { Ok((text, is_public)) }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nBAUG\n-----END PRIVATE KEY-----\n";
    const SEC1: &str = "-----BEGIN EC PARAMETERS-----\nBw==\n-----END EC PARAMETERS-----\n\
        -----BEGIN EC PRIVATE KEY-----\nCAkK\n-----END EC PRIVATE KEY-----\n";

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.pem");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn sections_of_the_wanted_kind_are_found_among_others() {
        let (_folder, path) = file(&format!("a word before\n{KEY}{CERTIFICATE}{CERTIFICATE}"));
        let found = certificates(&path).unwrap();
        assert_eq!(found.iter().map(|found| found.as_ref()).collect::<Vec<_>>(), [[1, 2, 3]; 2]);
        assert_eq!(private_key(&path).unwrap().key.secret_der(), [4, 5, 6]);
        let (_folder, path) = file(SEC1);
        assert_eq!(private_key(&path).unwrap().key.secret_der(), [8, 9, 10]);
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        let locked = KEY.replace("PRIVATE", "ENCRYPTED PRIVATE");
        let header = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: a,b\n\nBAUG\n\
            -----END RSA PRIVATE KEY-----\n";
        for (text, of_key, of_certificate) in [
            ("", "holds no private", "holds no certificate"),
            (CERTIFICATE, "holds no private", ""),
            (KEY, "", "holds no certificate"),
            (&format!("{KEY}{SEC1}"), "holds more than one", "holds no certificate"),
            (&locked, "holds a private key that is locked", "holds no certificate"),
            (header, "holds a private key that is locked", "holds a private key that is locked"),
            ("-----BEGIN PRIVATE KEY-----\nBAUG\n", "is not in PEM", "is not in PEM"),
            ("-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n", "is not", "is not"),
        ] {
            let (_folder, path) = file(text);
            let told = [
                private_key(&path).map_or_else(|why| why.to_string(), |_| String::new()),
                certificates(&path).map_or_else(|why| why.to_string(), |_| String::new()),
            ];
            for (told, expected) in told.iter().zip([of_key, of_certificate]) {
                assert!(told.starts_with(expected), "{text}: {told}");
                assert_eq!(told.is_empty(), expected.is_empty(), "{text}: {told}");
            }
        }
        let missing = certificates(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(missing.to_string().starts_with("cannot be read: No such file"), "{missing}");
    }

    #[test]
    fn a_file_whose_permissions_change_is_another_one() {
        let (_folder, path) = file(KEY);
        let before = Stamp::of(&path).unwrap();
        // The system's clock for files turns in steps.
        let has_changed = (0..1000).any(|round| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            std::fs::set_permissions(&path, Permissions::from_mode(0o600 | (round % 2))).unwrap();
            Stamp::of(&path).unwrap() != before
        });
        assert!(has_changed);
    }

    #[test]
    fn who_may_read_a_key_is_told_and_the_key_is_not() {
        let (_folder, path) = file(KEY);
        for (mode, expected) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let found = private_key(&path).unwrap();
            assert_eq!(found.is_public, expected, "{mode:o}");
            let shown = format!("{found:?}");
            assert!(!shown.contains("4, 5") && !shown.contains("BAUG"), "{shown}");
        }
    }
}
