//! Reads what TLS on the listeners needs: pairs of certificate and key, whose certificates are accepted of clients, and
//! which of these are proxies.
//!
//! What comes out can be used as it is, or there is a problem: no connection finds out that a key does not fit. Paths are
//! quoted, and nothing of what the files hold is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::listen::Listen;
use super::network::Proxy;
use super::problem::Spelling;
use super::reader::Reader;
use super::settings::ServerSettings;
use super::table::{
    LISTEN, Setting, TLS_CERT, TLS_CLIENT_AUTH, TLS_CLIENT_CA, TLS_KEY, TLS_PAIRS, TRUSTED_PROXIES,
};
use super::value::{Raw, either, path};
use crate::clock::UnixTime;
use crate::pem::{self, PemError, Source};
use crate::tls::{BadIdentity, Clients, Identity, Offer};

/// A path and how it was given.
type Named = (Spelling, PathBuf);

/// Reads all of it. None: clear text, or a problem.
pub(super) fn read(reader: &mut Reader<'_>, proxies: &[Proxy]) -> Option<Arc<Offer>> {
    let first = first(reader);
    let more = reader.pairs(TLS_PAIRS, path_alone);
    let is_on = [TLS_CERT, TLS_KEY].iter().any(|setting| reader.given(setting).is_some())
        || !more.is_empty();
    let clients = asked(reader, is_on, proxies);
    // Files are looked at when everything about them is sound.
    let (first, more, clients) = (first?, more.into_iter().collect::<Option<Vec<_>>>()?, clients?);
    let pairs: Vec<_> = first.into_iter().chain(more).collect();
    // Before they are read: what changes meanwhile is noticed.
    let named = pairs.iter().flatten().chain(clients.iter().map(|(named, _)| named));
    let sources = named.map(|(_, path)| Source::of(path)).collect();
    let mut identities = Vec::new();
    for (index, [certificate, key]) in pairs.iter().enumerate() {
        if pairs.iter().take(index).any(|[earlier, _]| earlier.1 == certificate.1) {
            let message = format!("'{}' is named twice", certificate.1.display());
            reader.problem(certificate.0.clone(), message);
            continue;
        }
        identities.extend(identity(reader, certificate, key));
    }
    let vouched =
        clients.map(|(named, are_required)| vouched(reader, &named, are_required, proxies));
    let clients = match vouched {
        Some(clients) => Some(clients?),
        None => None,
    };
    if pairs.is_empty() || identities.len() < pairs.len() {
        return None;
    }
    match Offer::new(identities, clients, sources) {
        Ok(offer) => Some(Arc::new(offer)),
        Err(why) => {
            reader.problem(Spelling::Key(TLS_CERT.key), format!("TLS is not to be had: {why}"));
            None
        }
    }
}

/// The pair that has settings of its own. The outer None: it is not sound.
fn first(reader: &mut Reader<'_>) -> Option<Option<[Named; 2]>> {
    for (one, other) in [(TLS_CERT, TLS_KEY), (TLS_KEY, TLS_CERT)] {
        if let (Some(spelling), None) = (reader.given(one), reader.given(other)) {
            reader.problem(spelling, format!("needs --{} beside it", flag(other)));
        }
    }
    let (certificate, key) = (named(reader, TLS_CERT), named(reader, TLS_KEY));
    if [TLS_CERT, TLS_KEY].iter().all(|setting| reader.given(setting).is_none()) {
        return Some(None);
    }
    Some(Some([certificate?, key?]))
}

/// What is asked of clients: the file of authorities, and whether they must have a certificate. The outer None: it is not
/// sound.
fn asked(reader: &mut Reader<'_>, is_on: bool, proxies: &[Proxy]) -> Option<Option<(Named, bool)>> {
    let authorities = named(reader, TLS_CLIENT_CA);
    let are_required = reader
        .optional(TLS_CLIENT_AUTH, |raw| either(raw, [("required", true), ("optional", false)]));
    let mode = reader.given(TLS_CLIENT_AUTH);
    let Some(spelling) = reader.given(TLS_CLIENT_CA) else {
        let by_certificate = proxies.iter().any(|proxy| proxy.network().is_none());
        let message = format!("needs --{} beside it", flag(TLS_CLIENT_CA));
        if by_certificate {
            reader.problem(reader.origin(TRUSTED_PROXIES), format!("cert:NAME {message}"));
        }
        if let Some(spelling) = &mode {
            reader.problem(spelling.clone(), message);
        }
        return (!by_certificate && mode.is_none()).then_some(None);
    };
    if !is_on {
        let message = "needs --tls-cert and --tls-key, or [[server.tls]], beside it";
        reader.problem(spelling, message.to_owned());
        return None;
    }
    let are_required = if mode.is_some() { are_required? } else { true };
    Some(Some((authorities?, are_required)))
}

fn flag(setting: &Setting) -> &'static str {
    setting.flag.unwrap_or(setting.key)
}

fn named(reader: &mut Reader<'_>, setting: &'static Setting) -> Option<Named> {
    let path = reader.optional(setting, path_alone)?;
    Some((reader.origin(setting), path))
}

/// A path, and not what should be in its file: that might be a key, and paths are shown.
fn path_alone(raw: &Raw) -> Result<PathBuf, String> {
    if raw.text()?.contains("-----BEGIN") {
        return Err("takes the path of a PEM file, not its text".to_owned());
    }
    path(raw)
}

fn identity(
    reader: &mut Reader<'_>,
    (at, file): &Named,
    (key_at, key_file): &Named,
) -> Option<Identity> {
    let chain = found(reader, at, file, pem::certificates(file));
    let key = found(reader, key_at, key_file, pem::private_key(key_file));
    if key.as_ref().is_some_and(|key| key.is_public) {
        let message = "holds a private key and every user can read it";
        reader.warn(format!("{key_at}: '{}' {message}", key_file.display()));
    }
    let identity = match Identity::new(file, chain?, key?.key) {
        Ok(identity) => identity,
        Err(why) => {
            let (spelling, file) = match why {
                BadIdentity::Certificate => (at, file),
                BadIdentity::Key | BadIdentity::Mismatch => (key_at, key_file),
            };
            reader.problem(spelling.clone(), format!("'{}' {why}", file.display()));
            return None;
        }
    };
    if let Some(said) = remark(&identity, UnixTime::now()) {
        reader.warn(format!("{at}: '{}' {said}", file.display()));
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

fn vouched(
    reader: &mut Reader<'_>,
    (at, file): &Named,
    are_required: bool,
    proxies: &[Proxy],
) -> Option<Clients> {
    let authorities = found(reader, at, file, pem::certificates(file))?;
    let names = proxies.iter().filter_map(|proxy| match proxy {
        Proxy::Certificate(name) => Some(name.clone()),
        Proxy::Network(_) => None,
    });
    let names = names.collect();
    let Some(mut clients) = Clients::of(authorities) else {
        let message = format!("'{}' holds a certificate that cannot be read", file.display());
        reader.problem(at.clone(), message);
        return None;
    };
    clients.are_required = are_required;
    clients.proxies = names;
    Some(clients)
}

fn found<T>(
    reader: &mut Reader<'_>,
    at: &Spelling,
    file: &Path,
    read: Result<T, PemError>,
) -> Option<T> {
    read.map_err(|why| reader.problem(at.clone(), format!("'{}' {why}", file.display()))).ok()
}

/// Warns of what works, but hardly as meant.
pub(super) fn remarks(reader: &mut Reader<'_>, server: &ServerSettings) {
    let Some(offer) = &server.tls else { return };
    if let Some(domain) = &server.domain {
        // What a sandbox host looks like.
        let host = format!("49983-i.{}", domain.as_str());
        if !offer.identities().iter().any(|identity| identity.certificate().covers(&host)) {
            let domain = domain.as_str();
            reader.warn(format!(
                "no TLS certificate is for *.{domain}: clients that look for sandboxes there refuse it"
            ));
        }
    }
    let control = server.listen.iter();
    let all = control.chain(server.envd_listen.iter().map(|listen| &listen.at));
    if offer.clients().is_some_and(|clients| clients.are_required) {
        for at in all.filter(|at| matches!(at, Listen::Unix(_))) {
            let origin = reader.origin(LISTEN);
            reader.warn(format!(
                "{origin}: {at} is in clear text and asks for no certificate: whoever may open it is let in"
            ));
        }
    }
}
