//! `check`: loads every setting and file and says what is wrong with them. Starts nothing.

mod live;

use std::collections::BTreeSet;

use super::Exit;
use super::output::{complain, print, rows};
use crate::callback;
use crate::config::{Loaded, QuotaStatus, Settings, Sources, TenantSettings};
use crate::tls::Offer;

/// How many limits a line of the summary holds.
const LIMITS_SHOWN: usize = 20;

/// Prints a summary, or every problem. With `live`, the services that the settings name are asked too.
pub(super) fn run(sources: &Sources, live: bool) -> Exit {
    match Settings::load(sources, None) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                complain(&format!("warning: {warning}"));
            }
            let mut exit = print(&summary(&loaded));
            let said = if live { live::ask(&loaded.settings) } else { Vec::new() };
            for said in said {
                if let Err(problem) = said.map(|line| print(&rows(&[line]))) {
                    complain(&problem);
                    exit = Exit::Failed;
                }
            }
            exit
        }
        Err(problems) => {
            complain(&problems.to_string());
            Exit::Config
        }
    }
}

fn summary(loaded: &Loaded) -> String {
    let Loaded { settings, keys, .. } = loaded;
    let server = &settings.server;
    let list = |texts: Vec<String>| texts.join(", ");
    let mut lines = vec![
        ("listen", list(server.listen.iter().map(ToString::to_string).collect())),
        ("upstream", settings.upstream.url.to_string()),
    ];
    if !server.envd_listen.is_empty() {
        let listeners = server.envd_listen.iter().map(|listen| listen.at.to_string()).collect();
        lines.push(("envd-listen", list(listeners)));
    }
    if let Some(offer) = &server.tls {
        lines.push(("tls", tls(offer)));
    }
    if !settings.upstream.envd.is_empty() {
        let upstreams: BTreeSet<String> =
            settings.upstream.envd.iter().map(ToString::to_string).collect();
        lines.push(("envd-upstream", list(upstreams.into_iter().collect())));
    }
    if !settings.auth.is_open() {
        let tenants = &settings.tenants;
        let isolation = if tenants.isolation { "on" } else { "off: sandboxes are only labelled" };
        lines.push(("tenant isolation", isolation.to_owned()));
        lines.push(("limits", limits(tenants)));
    }
    lines.push((
        "keys",
        if settings.auth.is_open() {
            "none: the gateway is open".to_owned()
        } else if settings.auth.has_keys {
            let tenants: BTreeSet<_> = keys.iter().map(|key| key.tenant()).collect();
            format!("{} of {} tenants", keys.len(), tenants.len())
        } else {
            "none".to_owned()
        },
    ));
    if let Some(log) = &settings.audit.log {
        lines.push(("audit log", log.display().to_string()));
    }
    if let Some(callback) = &settings.auth.callback {
        lines.push(("auth callback", brief(callback)));
    }
    format!("the settings are sound\n{}", rows(&lines))
}

/// What TLS offers in a line.
fn tls(offer: &Offer) -> String {
    let shown = offer.identities().iter().map(|identity| {
        let certificate = identity.certificate();
        let names = if certificate.names.is_empty() {
            "no name".to_owned()
        } else {
            certificate.names.join(" ")
        };
        format!("{names} until {}", certificate.ends)
    });
    let clients = match offer.clients() {
        None => "",
        Some(clients) if clients.are_required => "; client certificates required",
        Some(_) => "; client certificates optional",
    };
    format!("{}{clients}", shown.collect::<Vec<_>>().join(", "))
}

/// Limits on active sandboxes in a line, as they are written. Of many, the first.
fn limits(tenants: &TenantSettings) -> String {
    let limits = &tenants.limits;
    if limits.is_empty() {
        return "none".to_owned();
    }
    let shown =
        limits.lines().take(LIMITS_SHOWN).map(|(tenant, limit)| format!("{tenant}={limit}"));
    let mut line = shown.collect::<Vec<_>>().join(", ");
    let more = limits.lines().skip(LIMITS_SHOWN).count();
    if more > 0 {
        line.push_str(&format!(" and {more} more"));
    }
    let status = match tenants.quota_status {
        QuotaStatus::Forbidden => 403,
        QuotaStatus::TooManyRequests => 429,
    };
    format!("{line}; above that, {status}")
}

/// An auth callback in a line, without what its query may hold.
fn brief(callback: &callback::Settings) -> String {
    let callback::Settings { url, timeout, connect_timeout, cache_ttl, stale_if_error, .. } =
        callback;
    let redacted = if url.expose().query().is_some() { " (query redacted)" } else { "" };
    let cache = match (cache_ttl.is_zero(), stale_if_error.is_zero()) {
        (true, true) => "as answers say".to_owned(),
        (false, true) => format!("{cache_ttl:?}"),
        (true, false) => format!("as answers say, stale {stale_if_error:?}"),
        (false, false) => format!("{cache_ttl:?}, stale {stale_if_error:?}"),
    };
    format!("{url}{redacted}; timeout {timeout:?}, connect {connect_timeout:?}; cache {cache}")
}
