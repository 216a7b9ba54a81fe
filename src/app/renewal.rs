//! What a reload renews: one list, in two steps.
//!
//! Everything in the list is prepared first, and can refuse; nothing is put in force before all of it is prepared. So a
//! reload changes all that has changed, or nothing. What is not in the list waits for a restart, and is named.

use std::sync::Arc;
use std::time::Duration;

use super::quotas::rules;
use super::{App, connection_limits, lock, origins};
use crate::config::{Loaded, LogFilter, Problems, Settings};
use crate::http1::Tls;
use crate::keys::KeySet;
use crate::pem::Source;

/// Puts what was prepared in force. Cannot fail.
type Install<'a> = Box<dyn FnOnce(&mut Renewed) + 'a>;

/// Prepares one thing, or says why the reload must not happen.
type Prepare = for<'a> fn(&'a App, &mut Fresh) -> Result<Install<'a>, &'static str>;

/// All that reloads.
const RENEWED: [Prepare; 9] = [
    openness,
    callback,
    keys,
    tls,
    certificates,
    quotas,
    origins_and_proxies,
    client_timeouts,
    upstream_timeouts,
];

/// Settings that were just read.
struct Fresh {
    settings: Settings,
    keys: Option<KeySet>,
}

/// What a reload came to.
#[derive(Debug)]
pub struct Renewed {
    /// Keys in force.
    pub keys: usize,
    /// Keys that are not in force any more.
    pub revoked: usize,
    /// Settings that have changed and wait for a restart.
    pub waiting: Vec<&'static str>,
    /// How long the end may take now.
    pub patience: Patience,
    /// The file of those keys, as it was when it was read.
    pub keys_file: Option<Source>,
    /// What is to be logged now.
    pub log: LogFilter,
    /// What is not wrong, but should be looked at; a line each.
    pub warnings: Vec<String>,
}

/// How long the end of a process may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// From the signal to the first refused connection.
    pub delay: Duration,
    /// From there to the end of the last stream.
    pub drain: Duration,
    /// From an upgrade to the end of the last stream.
    pub upgrade: Duration,
}

impl Patience {
    /// What the settings say.
    #[must_use]
    pub const fn of(settings: &Settings) -> Self {
        let server = &settings.server;
        Self {
            delay: server.drain_delay,
            drain: server.drain_timeout,
            upgrade: server.upgrade_timeout,
        }
    }
}

/// What proves identities in TLS towards those whom the gateway asks.
#[derive(Debug)]
pub(super) struct Towards {
    upstreams: Tls,
    callback: Option<Tls>,
}

impl Towards {
    pub(super) fn of(settings: &Settings) -> Self {
        let callback = settings.auth.callback.as_ref().map(|callback| callback.tls.clone());
        Self { upstreams: settings.upstream.tls.tls.clone(), callback }
    }

    fn install(&self, newer: &Self) {
        self.upstreams.install(&newer.upstreams);
        if let (Some(own), Some(newer)) = (&self.callback, &newer.callback) {
            own.install(newer);
        }
    }
}

impl App {
    /// Puts settings that were just read in force, as far as that can be done without a restart.
    ///
    /// # Errors
    /// Why none of them is.
    pub fn renew(&self, loaded: Loaded) -> Result<Renewed, &'static str> {
        let Loaded { settings, keys, given, warnings } = loaded;
        let mut renewed = Renewed {
            keys: keys.len(),
            revoked: 0,
            // Compared with what is in force, as the start decided.
            waiting: given.waiting(&lock(&self.values)),
            patience: Patience::of(&settings),
            keys_file: settings.auth.keys_file.clone(),
            log: settings.log.filter.clone(),
            warnings,
        };
        let mut fresh = Fresh { settings, keys: Some(keys) };
        let prepared = RENEWED.iter().map(|prepare| prepare(self, &mut fresh));
        let prepared: Vec<_> = prepared.collect::<Result<_, _>>()?;
        for install in prepared {
            install(&mut renewed);
        }
        Ok(renewed)
    }

    /// Offers in TLS what the files hold now that the settings in force name. What the settings say by now is another
    /// matter. Returns the warnings that come up; none where TLS is not spoken.
    ///
    /// # Errors
    /// Every problem with the files.
    pub fn renew_tls(&self) -> Result<Vec<String>, Problems> {
        let (Some(tls), Some(files)) = (&self.tls, &*lock(&self.tls_files)) else {
            return Ok(Vec::new());
        };
        let (offer, warnings) = files.read()?;
        tls.install(offer);
        Ok(warnings)
    }
}

/// Whether anybody is asked for a key is decided at the start.
fn openness<'a>(app: &'a App, fresh: &mut Fresh) -> Result<Install<'a>, &'static str> {
    if app.authenticator.is_open() && !fresh.settings.auth.is_open() {
        return Err(
            "the gateway started open and stays so: restart it to have credentials checked",
        );
    }
    Ok(Box::new(|_| {}))
}

/// What the callback said is forgotten.
fn callback<'a>(app: &'a App, fresh: &mut Fresh) -> Result<Install<'a>, &'static str> {
    let callback = app.authenticator.callback();
    if callback.is_some() != fresh.settings.auth.callback.is_some() {
        return Err("an auth callback comes or goes with a restart");
    }
    Ok(Box::new(move |_| {
        if let Some(callback) = callback {
            callback.flush();
        }
    }))
}

fn keys<'a>(app: &'a App, fresh: &mut Fresh) -> Result<Install<'a>, &'static str> {
    let keys = fresh.keys.take();
    Ok(Box::new(move |renewed| {
        if let Some(keys) = keys {
            renewed.revoked = app.keys.install(keys);
        }
    }))
}

/// Offered to whoever connects from now on.
fn tls<'a>(app: &'a App, fresh: &mut Fresh) -> Result<Install<'a>, &'static str> {
    match (&app.tls, fresh.settings.server.tls.take()) {
        (Some(tls), Some(offer)) => {
            let files = fresh.settings.server.tls_files.take();
            Ok(Box::new(move |_| {
                tls.install(offer);
                *lock(&app.tls_files) = files;
            }))
        }
        (None, None) => Ok(Box::new(|_| {})),
        _ => Err("TLS comes or goes with a restart"),
    }
}

/// What proves identities towards those whom the gateway asks, for connections that are opened from now on.
fn certificates<'a>(app: &'a App, fresh: &mut Fresh) -> Result<Install<'a>, &'static str> {
    let newer = Towards::of(&fresh.settings);
    Ok(Box::new(move |_| app.towards.install(&newer)))
}

fn quotas<'a>(app: &'a App, fresh: &mut Fresh) -> Result<Install<'a>, &'static str> {
    let rules = Arc::new(rules(&fresh.settings.tenants));
    Ok(Box::new(move |_| app.shared.admissions.rules.store(rules)))
}

/// Proxies are believed from the next connection on.
fn origins_and_proxies<'a>(app: &'a App, fresh: &mut Fresh) -> Result<Install<'a>, &'static str> {
    let server = &fresh.settings.server;
    let (origins, proxies) = (origins(server), server.trusted_proxies.as_slice().into());
    Ok(Box::new(move |_| {
        app.shared.cors.install(origins);
        app.shared.trusted_proxies.store(Arc::new(proxies));
    }))
}

/// In force from the next connection on.
fn client_timeouts<'a>(app: &'a App, fresh: &mut Fresh) -> Result<Install<'a>, &'static str> {
    let limits = Arc::new(connection_limits(&fresh.settings.server));
    Ok(Box::new(move |_| app.shared.connections.limits.store(limits)))
}

/// In force from the next wait on.
fn upstream_timeouts<'a>(app: &'a App, fresh: &mut Fresh) -> Result<Install<'a>, &'static str> {
    let upstream = &fresh.settings.upstream;
    let times = (upstream.response_timeout, upstream.create_timeout, upstream.lookup_timeout);
    Ok(Box::new(move |_| app.shared.upstreams.timeouts.set(times.0, times.1, times.2)))
}
