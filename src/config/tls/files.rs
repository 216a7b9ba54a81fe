//! The files that TLS on the listeners is made of, and what they hold.
//!
//! Which files these are was set once; what they hold may change at any time, and is read as a whole. Paths are quoted,
//! and nothing of what the files hold is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::problem::{Problem, Problems, Spelling};
use super::super::table::TLS_CERT;
use crate::clock::UnixTime;
use crate::pem::{self, PemError, Source};
use crate::tls::{BadIdentity, Clients, Identity, Offer};

/// A path and how it was given.
pub(super) type Named = (Spelling, PathBuf);

/// Which files there are, and what is to be done with what they hold.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Of certificates and their keys.
    pub(super) pairs: Vec<[Named; 2]>,
    /// What is asked of clients; none: nothing.
    pub(super) clients: Option<Asked>,
}

/// What is asked of clients.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) authorities: Named,
    pub(super) are_required: bool,
    /// Names of those that are proxies.
    pub(super) proxies: Box<[Box<str>]>,
}

/// What is wrong, and what should be looked at.
#[derive(Debug, Default)]
pub(in super::super) struct Findings {
    pub(in super::super) problems: Vec<Problem>,
    pub(in super::super) warnings: Vec<String>,
}

impl TlsFiles {
    /// What they hold now, with the warnings that come up.
    ///
    /// # Errors
    /// Every problem with it.
    pub fn read(&self) -> Result<(Arc<Offer>, Vec<String>), Problems> {
        let mut findings = Findings::default();
        match self.offer(&mut findings) {
            Some(offer) if findings.problems.is_empty() => Ok((offer, findings.warnings)),
            Some(_) | None => Err(Problems::sorted(findings.problems)),
        }
    }

    /// What they hold. Whoever gets none finds a problem.
    pub(super) fn offer(&self, findings: &mut Findings) -> Option<Arc<Offer>> {
        let Self { pairs, clients } = self;
        // Before they are read: what changes meanwhile is noticed.
        let named = pairs.iter().flatten().chain(clients.iter().map(|asked| &asked.authorities));
        let sources = named.map(|(_, path)| Source::of(path)).collect();
        let mut identities = Vec::new();
        for (index, [certificate, key]) in pairs.iter().enumerate() {
            if pairs.iter().take(index).any(|[earlier, _]| earlier.1 == certificate.1) {
                let message = format!("'{}' is named twice", certificate.1.display());
                findings.problem(certificate.0.clone(), message);
                continue;
            }
            identities.extend(identity(findings, certificate, key));
        }
        let clients = match clients.as_ref().map(|asked| vouched(findings, asked)) {
            Some(clients) => Some(clients?),
            None => None,
        };
        if identities.len() < pairs.len() {
            return None;
        }
        match Offer::new(identities, clients, sources) {
            Ok(offer) => Some(Arc::new(offer)),
            Err(why) => {
                let message = format!("TLS is not to be had: {why}");
                findings.problem(Spelling::Key(TLS_CERT.key), message);
                None
            }
        }
    }
}

impl Findings {
    fn problem(&mut self, at: Spelling, message: String) {
        self.problems.push(Problem::Setting(at, message));
    }
}

fn identity(
    findings: &mut Findings,
    (at, file): &Named,
    (key_at, key_file): &Named,
) -> Option<Identity> {
    let chain = found(findings, at, file, pem::certificates(file));
    let key = found(findings, key_at, key_file, pem::private_key(key_file));
    if key.as_ref().is_some_and(|key| key.is_public) {
        let message = "holds a private key and every user can read it";
        findings.warnings.push(format!("{key_at}: '{}' {message}", key_file.display()));
    }
    let identity = match Identity::new(file, chain?, key?.key) {
        Ok(identity) => identity,
        Err(why) => {
            let (spelling, file) = match why {
                BadIdentity::Certificate => (at, file),
                BadIdentity::Key | BadIdentity::Mismatch => (key_at, key_file),
            };
            findings.problem(spelling.clone(), format!("'{}' {why}", file.display()));
            return None;
        }
    };
    if let Some(said) = remark(&identity, UnixTime::now()) {
        findings.warnings.push(format!("{at}: '{}' {said}", file.display()));
    }
    Some(identity)
}

/// What clients would say of a certificate.
fn remark(identity: &Identity, now: UnixTime) -> Option<String> {
    let certificate = identity.certificate();
    if certificate.ends < now {
        Some(format!("ended at {}: clients refuse it", certificate.ends))
    } else if now < certificate.begins {
        Some(format!("begins at {} only: clients refuse it until then", certificate.begins))
    } else if certificate.names.is_empty() {
        Some("is for no DNS name: most clients refuse it".to_owned())
    } else {
        None
    }
}

fn vouched(findings: &mut Findings, asked: &Asked) -> Option<Clients> {
    let (at, file) = &asked.authorities;
    let authorities = found(findings, at, file, pem::certificates(file))?;
    let Some(mut clients) = Clients::of(authorities) else {
        let message = format!("'{}' holds a certificate that cannot be read", file.display());
        findings.problem(at.clone(), message);
        return None;
    };
    clients.are_required = asked.are_required;
    clients.proxies.clone_from(&asked.proxies);
    Some(clients)
}

fn found<T>(
    findings: &mut Findings,
    at: &Spelling,
    file: &Path,
    read: Result<T, PemError>,
) -> Option<T> {
    read.map_err(|why| findings.problem(at.clone(), format!("'{}' {why}", file.display()))).ok()
}
