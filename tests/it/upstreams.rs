//! Upstreams behind TLS and unix sockets: who is spoken to, who is not and why, and that everything passes as it does in clear.

mod endings;
mod passing;
mod trust;

use std::path::Path;

use coppice_gateway::simulator::{Options, Simulator};

use crate::support::authority::Authority;
use crate::support::gateway::Setup;
use crate::support::nginx::Nginx;
use crate::support::world::{UPSTREAM_KEY, key_list, setup_before};
use crate::support::{Ask, World};

/// The names in most certificates here.
const NAMES: &str = "DNS:localhost,IP:127.0.0.1";

fn simulator() -> Simulator {
    Simulator::start(Options { api_key: Some(UPSTREAM_KEY.to_owned()), ..Options::default() })
        .unwrap()
}

/// A world with its usual keys and listeners, whose gateway knows these upstreams, and has one worker, so that there is one pool.
fn world(
    simulator: Simulator,
    api: &str,
    envd: &str,
    change: impl FnOnce(Setup) -> Setup,
) -> World {
    let setup = setup_before(api, envd)
        .flag("--envd-listen=127.0.0.1:0=*,127.0.0.1:0=49983,127.0.0.1:0=49999")
        .flag("--workers=1")
        .env("COPPICE_API_KEYS", key_list());
    World { gateway: change(setup).start(4), simulator }
}

/// A setting that holds a path.
fn path(name: &str, path: &Path) -> String {
    format!("--upstream-tls-{name}={}", path.display())
}

/// What a gateway that trusts an authority has before it.
struct Trusted {
    // Before nginx, so that it ends first.
    world: World,
    _nginx: Nginx,
    authority: Authority,
}

impl Trusted {
    /// nginx under [`NAMES`], with further words and lines of its settings, and a gateway that was changed.
    fn new(listen: &str, lines: &str, change: impl FnOnce(Setup) -> Setup) -> Self {
        let (authority, simulator) = (Authority::new(), simulator());
        let nginx = Nginx::tls(&simulator, &authority.issue("server", NAMES), listen, lines);
        let world = world(simulator, &nginx.api, &nginx.envd, |setup| {
            change(setup.flag(path("ca", &authority.file())))
        });
        Self { world, _nginx: nginx, authority }
    }
}

/// The status of a list of sandboxes.
fn listed(world: &World) -> u16 {
    world.ask("exec", Ask::get("/v2/sandboxes")).status
}
