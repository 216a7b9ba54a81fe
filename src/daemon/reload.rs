//! Reloads: reads everything anew, and has the gateway put it in force as a whole or not at all.

use super::watch::Watch;
use crate::app::{App, Renewed};
use crate::config::{Settings, Sources, load_keys};
use crate::telemetry;

/// What a reload left behind, for the service manager.
#[derive(Debug)]
pub(super) struct Reloaded {
    /// What is in force now; none: what was before.
    pub(super) renewed: Option<Renewed>,
    /// One line about it.
    pub(super) status: String,
}

/// Reloads what still matters in a process that was replaced: who may go on.
pub(super) fn who_may_go_on(app: &App, sources: &Sources, watch: &mut Watch) {
    keys(app, sources, watch, true);
    if let Some(callback) = app.authenticator.callback() {
        callback.flush();
    }
}

/// Reloads the keys alone, after their file changed. From then on the file is watched that they were read from.
pub(super) fn keys(app: &App, sources: &Sources, watch: &mut Watch, replaced: bool) {
    let old = app.keys.snapshot();
    match load_keys(sources, &old, replaced) {
        Ok((keys, file)) => {
            watch.follow(file);
            let count = keys.len();
            let revoked = app.keys.install(keys);
            app.reloads.count(true);
            tracing::info!(keys = count, revoked, "the keys were reloaded");
        }
        Err(problems) => {
            app.reloads.count(false);
            tracing::error!(%problems, "the keys were not reloaded; the old ones stay in force");
        }
    }
}

/// Reloads TLS alone, after one of its files changed.
pub(super) fn tls(app: &App) {
    let renewed = app.renew_tls();
    app.reloads.count(renewed.is_ok());
    match renewed {
        Ok(warnings) => {
            warn(&warnings);
            tracing::info!("TLS was reloaded");
        }
        Err(problems) => {
            tracing::error!(%problems, "TLS was not reloaded; what was offered before still is");
        }
    }
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// Reloads everything that can be reloaded, and names what cannot.
pub(super) fn all(app: &App, sources: &Sources) -> Reloaded {
    let old = app.keys.snapshot();
    let loaded = Settings::load(sources, Some(&old)).map_err(|problems| {
        tracing::error!(%problems, "not reloaded; the old configuration stays in force");
    });
    let renewed = loaded
        .and_then(|loaded| app.renew(loaded).map_err(|why| tracing::error!("not reloaded; {why}")));
    app.reloads.count(renewed.is_ok());
    let Ok(renewed) = renewed else {
        let status = "the last reload failed, and changed nothing; the log says why".to_owned();
        return Reloaded { renewed: None, status };
    };
    telemetry::refilter(&renewed.log);
    warn(&renewed.warnings);
    tracing::info!(
        keys = renewed.keys,
        revoked = renewed.revoked,
        "reloaded; settings that can change are in force"
    );
    let mut status = String::new();
    if !renewed.waiting.is_empty() {
        let settings = renewed.waiting.join(", ");
        status = format!("waiting for a restart: {settings}");
        tracing::warn!(settings, "these have changed, and take effect with a restart");
    }
    Reloaded { renewed: Some(renewed), status }
}
