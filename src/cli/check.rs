//! `check`: loads every setting and file and says what is wrong with them. Starts nothing.

use std::collections::BTreeSet;

use super::Exit;
use super::output::{complain, print, rows};
use crate::config::{Authentication, Loaded, Settings, Sources};

/// Prints a summary, or every problem.
pub(super) fn run(sources: &Sources) -> Exit {
    match Settings::load(sources, None) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                complain(&format!("warning: {warning}"));
            }
            print(&summary(&loaded))
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
    if !settings.upstream.envd.is_empty() {
        let upstreams: BTreeSet<String> =
            settings.upstream.envd.iter().map(ToString::to_string).collect();
        lines.push(("envd-upstream", list(upstreams.into_iter().collect())));
    }
    lines.push((
        "keys",
        match settings.auth.authentication {
            Authentication::Open => "none: the gateway is open".to_owned(),
            Authentication::Keys => {
                let tenants: BTreeSet<_> = keys.iter().map(|principal| &principal.tenant).collect();
                format!("{} of {} tenants", keys.len(), tenants.len())
            }
        },
    ));
    format!("the settings are sound\n{}", rows(&lines))
}
