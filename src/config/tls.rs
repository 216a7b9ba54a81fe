//! Reads what TLS on the listeners needs: pairs of certificate and key, whose certificates are accepted of clients, and
//! which of these are proxies.
//!
//! What comes out can be used as it is, or there is a problem: no connection finds out that a key does not fit.

mod files;

use std::path::PathBuf;
use std::sync::Arc;

pub(super) use self::files::Findings;
pub use self::files::TlsFiles;
use self::files::{Asked, Named};

use super::listen::Listen;
use super::network::Proxy;
use super::reader::Reader;
use super::settings::ServerSettings;
use super::table::{
    LISTEN, Setting, TLS_CERT, TLS_CLIENT_AUTH, TLS_CLIENT_CA, TLS_KEY, TLS_PAIRS, TRUSTED_PROXIES,
};
use super::value::{Raw, either, path};
use crate::tls::Offer;

/// Reads all of it. None: clear text, or a problem.
pub(super) fn read(reader: &mut Reader<'_>, proxies: &[Proxy]) -> Option<(TlsFiles, Arc<Offer>)> {
    let first = first(reader);
    let more = reader.pairs(TLS_PAIRS, path_alone);
    let is_on = [TLS_CERT, TLS_KEY].iter().any(|setting| reader.given(setting).is_some())
        || !more.is_empty();
    let clients = asked(reader, is_on, proxies);
    // Files are looked at when everything about them is sound.
    let (first, more, clients) = (first?, more.into_iter().collect::<Option<Vec<_>>>()?, clients?);
    let files = TlsFiles { pairs: first.into_iter().chain(more).collect(), clients };
    if files.pairs.is_empty() {
        return None;
    }
    let mut findings = Findings::default();
    let offer = files.offer(&mut findings);
    reader.take_in(findings);
    Some((files, offer?))
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

/// What is asked of clients. The outer None: it is not sound.
fn asked(reader: &mut Reader<'_>, is_on: bool, proxies: &[Proxy]) -> Option<Option<Asked>> {
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
    let proxies = proxies.iter().filter_map(|proxy| match proxy {
        Proxy::Certificate(name) => Some(name.clone()),
        Proxy::Network(_) => None,
    });
    let (authorities, proxies) = (authorities?, proxies.collect());
    Some(Some(Asked { authorities, are_required, proxies }))
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
