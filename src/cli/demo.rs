//! `demo`: a gateway, and a simulated sandbox API behind it, in one process and on loopback only.
//!
//! The gateway is the real one, started from settings like any other; those come from here and the command line, never
//! from the environment or a file. Keys are made up at each start, and printed: they open nothing but this demo.

mod page;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IsTerminal as _};

use super::args::DemoOptions;
use super::output::{complain, print};
use super::{Exit, Failure};
use crate::app::{App, Beginning, Patience, StartError};
use crate::config::{Listen, Loaded, Settings, Sources};
use crate::daemon::{Daemon, Ended};
use crate::route::{Listener, PortLabel};
use crate::secret::Secret;
use crate::simulator::{Options, Simulator};
use crate::target::ENVD_PORT;
use crate::telemetry;
use page::Page;

/// The keys of a run.
struct Keys {
    admin: Secret,
    exec: Secret,
    read: Secret,
    /// The other tenant's, with exec.
    other: Secret,
}

impl Keys {
    fn new() -> io::Result<Self> {
        // What every generation of SDKs takes for a key.
        let key = || Secret::random("e2b_", 20);
        Ok(Self { admin: key()?, exec: key()?, read: key()?, other: key()? })
    }

    /// Whose they are, and what they may do.
    fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, &str)> {
        [
            ("team-a", "admin", &self.admin),
            ("team-a", "exec", &self.exec),
            ("team-a", "read", &self.read),
            ("team-b", "exec", &self.other),
        ]
        .into_iter()
        .map(|(tenant, scope, key)| (tenant, scope, key.expose()))
    }
}

/// Runs until a signal ends it. Of `sources` only the flags count, and `NO_COLOR`.
pub(super) fn run(options: &DemoOptions, sources: &Sources) -> Result<Exit, Failure> {
    let failed = |why: io::Error| Failure::new(Exit::Failed, why.to_string());
    let keys = Keys::new().map_err(failed)?;
    let upstream_key = Secret::random("e2b_", 20).map_err(failed)?;
    let simulator = Simulator::start(Options {
        api_key: Some(upstream_key.expose().to_owned()),
        local_processes: options.local_processes,
        record: false,
        ..Options::default()
    })
    .map_err(failed)?;
    let own = settings(sources, &simulator, &keys, &upstream_key).map_err(failed)?;
    let loaded = match Settings::load(&own, None) {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(&problems.to_string());
            return Ok(Exit::Config);
        }
    };
    demand_loopback(&loaded.settings)?;
    telemetry::start(&loaded.settings.log);
    let patience = Patience::of(&loaded.settings);
    let daemon = Daemon::prepare(None, patience).map_err(failed)?;
    let app = start(loaded)?;
    let (api, sandboxes) = urls(&app.listening);
    let no_color = sources.environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = io::stdout().is_terminal() && !no_color;
    let local_processes = options.local_processes;
    print(&Page { api, sandboxes, keys: &keys, local_processes, colour }.to_string());
    let ended = daemon.run(&app, &own);
    app.finish();
    match ended {
        Ended::Drained | Ended::CutOff => Ok(Exit::Done),
        Ended::Abandoned | Ended::Failed => {
            Err(Failure::new(Exit::Failed, "a worker ended on its own"))
        }
    }
}

/// The gateway's settings, as if somebody had written them.
fn settings(
    given: &Sources,
    simulator: &Simulator,
    keys: &Keys,
    upstream_key: &Secret,
) -> io::Result<Sources> {
    let mut flags = BTreeMap::from([
        ("upstream".to_owned(), simulator.api_url()),
        ("envd-upstream".to_owned(), simulator.envd_url()),
        // Whoever presses Ctrl-C does not want to wait for what still streams.
        ("drain-timeout".to_owned(), "1s".to_owned()),
        ("log".to_owned(), "warn".to_owned()),
    ]);
    flags.extend(given.flags.clone());
    let keys: Vec<String> =
        keys.iter().map(|(tenant, scope, key)| format!("{tenant}:{key}:{scope}")).collect();
    let environment = BTreeMap::from([
        ("COPPICE_API_KEYS".to_owned(), keys.join(",").into()),
        ("COPPICE_UPSTREAM_API_KEY".to_owned(), upstream_key.expose().into()),
        ("COPPICE_SECRET".to_owned(), Secret::random("", 32)?.expose().into()),
    ]);
    Ok(Sources { flags, environment })
}

fn demand_loopback(settings: &Settings) -> Result<(), Failure> {
    let data = settings.server.envd_listen.iter().map(|listen| ("--envd-listen", &listen.at));
    let control = settings.server.listen.iter().map(|at| ("--listen", at));
    let ops = settings.server.ops_listen.iter().map(|at| ("--ops-listen", at));
    for (flag, at) in control.chain(data).chain(ops) {
        if !(matches!(at, Listen::Tcp(_)) && at.is_local()) {
            let message = format!(
                "{flag}: {at} is no loopback address; the demo isolates nothing and listens on loopback only"
            );
            return Err(Failure::new(Exit::Config, message));
        }
    }
    Ok(())
}

fn start(loaded: Loaded) -> Result<App, Failure> {
    App::start(loaded, Beginning::default()).map_err(|why| {
        let advice = match &why {
            StartError::Listen { cause, .. } if cause.kind() == ErrorKind::AddrInUse => {
                "; choose another address with --listen, where port 0 takes any free port"
            }
            StartError::Listen { .. }
            | StartError::Inherited(_)
            | StartError::NothingLeft
            | StartError::State(_)
            | StartError::Audit { .. }
            | StartError::Callback(_)
            | StartError::Traces(_)
            | StartError::Worker(_) => "",
        };
        Failure::new(Exit::Failed, format!("{why}{advice}"))
    })
}

/// The base URLs for SDKs: of the sandbox API, and of the sandboxes' envd.
fn urls(listening: &[(Listen, Listener)]) -> (String, String) {
    let of = |wanted: fn(Listener) -> bool| {
        let found = listening.iter().find(|(_, listener)| wanted(*listener));
        found.map(|(at, _)| format!("http://{at}"))
    };
    let control = of(|listener| matches!(listener, Listener::Control { .. })).unwrap_or_default();
    let envd = of(|listener| {
        matches!(listener, Listener::Data(PortLabel::Every | PortLabel::Port(ENVD_PORT)))
    });
    let envd = envd.unwrap_or_else(|| control.clone());
    (control, envd)
}
