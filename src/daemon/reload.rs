//! Reloads: reads everything anew, and has the gateway put it in force as a whole or not at all.

use crate::app::{App, Patience};
use crate::config::{Settings, Sources, load_keys};
use crate::telemetry;

/// What a reload left behind, for the service manager.
#[derive(Debug)]
pub(super) struct Reloaded {
    /// How long the end may take from now on; none: nothing has changed.
    pub(super) patience: Option<Patience>,
    /// One line about it.
    pub(super) status: String,
}

/// Reloads what still matters in a process that was replaced: who may go on.
pub(super) fn who_may_go_on(app: &App, sources: &Sources) {
    keys(app, sources, true);
    if let Some(callback) = app.authenticator.callback() {
        callback.flush();
    }
}

/// Reloads the keys alone, after their file changed.
pub(super) fn keys(app: &App, sources: &Sources, replaced: bool) {
    let old = app.keys.snapshot();
    match load_keys(sources, &old, replaced) {
        Ok(keys) => {
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
        return Reloaded { patience: None, status };
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
    Reloaded { patience: Some(renewed.patience), status }
}
