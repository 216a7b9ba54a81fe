//! The published SDKs, the newest and the last of the generation before, through every scenario of `tests/clients`.
//!
//! Each test is one script in a process of its own, with a world of its own. `plain` points the SDK at two addresses;
//! `domain` gives it nothing but a domain, as production does: TLS, HTTP/2, and a host name for every sandbox port; `tls`
//! does the same where the gateway speaks TLS itself.

use std::process::Command;

use coppice_gateway::simulator::Options;

use crate::support::World;
use crate::support::authority::Authority;
use crate::support::client::{WRONG_KEY, javascript, python, succeed};
use crate::support::front::{ConnectProxy, Front, Target};
use crate::support::tls::speaks;
use crate::support::world::DOMAIN;

/// One way to run a scenario.
#[derive(Debug, Clone, Copy)]
enum Sdk {
    PythonSync(Generation),
    PythonAsync(Generation),
    JavaScript(Generation),
}

#[derive(Debug, Clone, Copy)]
enum Generation {
    /// Creates with `POST /v2/sandboxes`.
    New,
    /// Creates with `POST /sandboxes`, and wants keys of the form `e2b_` and hex digits.
    Old,
}

impl Sdk {
    fn script(self, scenario: &str) -> Command {
        let of = |flavour| format!("python/{flavour}/{scenario}.py");
        let environment = |generation| match generation {
            Generation::New => ".venv",
            Generation::Old => ".venv-old",
        };
        match self {
            Self::PythonSync(generation) => python(environment(generation), &of("sync")),
            Self::PythonAsync(generation) => python(environment(generation), &of("async")),
            Self::JavaScript(generation) => {
                let generation = match generation {
                    Generation::New => "new",
                    Generation::Old => "old",
                };
                javascript(generation, &format!("{scenario}.mjs"))
            }
        }
    }
}

fn plain(sdk: Sdk, scenario: &str) {
    let world = World::new();
    let mut script = sdk.script(scenario);
    keys(&mut script, &world);
    script.env("E2B_API_URL", world.api_url()).env("E2B_SANDBOX_URL", world.sandbox_url());
    succeed(script, &world.gateway);
}

fn domain(sdk: Sdk, scenario: &str) {
    let world = World::new();
    let front = Front::new(&world.api_url(), DOMAIN);
    let mut script = sdk.script(scenario);
    keys(&mut script, &world);
    script
        .env("E2B_DOMAIN", DOMAIN)
        .env("PROXY_URL", front.proxy_url())
        .env("SSL_CERT_FILE", front.ca_file())
        .env("NODE_EXTRA_CA_CERTS", front.ca_file());
    succeed(script, &world.gateway);
}

fn tls(sdk: Sdk, scenario: &str) {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("server", &format!("DNS:{DOMAIN},DNS:*.{DOMAIN}"));
    let world = World::with(Options::default(), |setup| speaks(setup, (&certificate, &key)));
    let proxy = ConnectProxy::start(Target::Tcp(world.control()), DOMAIN);
    let mut script = sdk.script(scenario);
    keys(&mut script, &world);
    script
        .env("E2B_DOMAIN", DOMAIN)
        .env("PROXY_URL", proxy.url())
        .env("SSL_CERT_FILE", authority.file())
        .env("NODE_EXTRA_CA_CERTS", authority.file());
    succeed(script, &world.gateway);
}

fn keys(script: &mut Command, world: &World) {
    script
        .env("E2B_API_KEY", world.key("exec"))
        .env("READ_KEY", world.key("read"))
        .env("WRONG_KEY", WRONG_KEY);
}

/// One module for each scenario, with one test for each SDK.
macro_rules! scenarios {
    ($how:ident: $($scenario:ident)*) => {
        mod $how {
            $(mod $scenario {
                use crate::sdk::Generation::{New, Old};
                use crate::sdk::Sdk::{JavaScript, PythonAsync, PythonSync};

                scenarios!(@test $how $scenario:
                    python_sync_new = PythonSync(New), python_sync_old = PythonSync(Old),
                    python_async_new = PythonAsync(New), python_async_old = PythonAsync(Old),
                    javascript_new = JavaScript(New), javascript_old = JavaScript(Old));
            })*
        }
    };
    (@test $how:ident $scenario:ident: $($name:ident = $sdk:expr),*) => {
        $(#[test]
        fn $name() {
            crate::sdk::$how($sdk, stringify!($scenario));
        })*
    };
}

scenarios!(plain: lifecycle commands files terminal interpreter auth large);
scenarios!(domain: lifecycle commands files terminal interpreter auth urls);
scenarios!(tls: lifecycle commands files terminal interpreter);
