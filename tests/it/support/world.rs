//! The usual arrangement: a simulator, a gateway with keys of two tenants, listeners for both planes.

use std::net::{SocketAddr, TcpListener};

use coppice_gateway::simulator::{Options, Plane, RecordedRequest, Simulator};

use super::gateway::{Gateway, Setup};
use super::http::{Answer, Ask};

/// The domain that sandbox hosts are under.
pub(crate) const DOMAIN: &str = "coppice.test";
/// The key that only the gateway knows.
pub(crate) const UPSTREAM_KEY: &str = "e2b_00000000000000000000000000000000000000aa";
/// Signs sandbox tokens, so that a second gateway can read them.
pub(crate) const SECRET: &str = "a signing secret that is long enough and for tests only";

/// A simulator with a gateway before it.
#[derive(Debug)]
pub(crate) struct World {
    // Before the simulator, so that it ends first.
    pub(crate) gateway: Gateway,
    pub(crate) simulator: Simulator,
}

/// The key of team-a with this scope; `other` is an exec key of team-b.
pub(crate) fn key(role: &str) -> String {
    let digit = match role {
        "admin" => 'a',
        "owner" => 'b',
        "exec" => 'e',
        "read" => 'f',
        "other" => '7',
        _ => panic!("there is no key for {role}"),
    };
    format!("e2b_{}", digit.to_string().repeat(40))
}

/// All keys, as `COPPICE_API_KEYS` wants them.
pub(crate) fn key_list() -> String {
    let of_a =
        ["admin", "owner", "exec", "read"].map(|role| format!("team-a:{}:{role}", key(role)));
    format!("{},team-b:{}:exec", of_a.join(","), key("other"))
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Options::default(), |setup| setup)
    }

    /// The usual, changed.
    pub(crate) fn with(options: Options, change: impl FnOnce(Setup) -> Setup) -> Self {
        let options = Options { api_key: Some(UPSTREAM_KEY.to_owned()), ..options };
        let simulator = Simulator::start(options).unwrap();
        let gateway = change(setup(&simulator).env("COPPICE_API_KEYS", key_list())).start(4);
        Self { gateway, simulator }
    }

    /// The usual, changed, but what runs in sandboxes is the test itself: it accepts what the gateway sends there.
    pub(crate) fn with_app(change: impl FnOnce(Setup) -> Setup) -> (Self, TcpListener) {
        let (app, flag) = listener_for("--envd-upstream=");
        let world = Self::with(Options::default(), |setup| {
            change(setup.without("--envd-upstream=").flag(flag))
        });
        (world, app)
    }

    /// The usual, but the sandbox API is the test itself.
    pub(crate) fn with_api() -> (Self, TcpListener) {
        let (api, flag) = listener_for("--upstream=");
        let world = Self::with(Options::default(), |setup| setup.without("--upstream=").flag(flag));
        (world, api)
    }

    /// A gateway that asks nobody for anything.
    pub(crate) fn open() -> Self {
        let simulator = Simulator::start(Options::default()).unwrap();
        let gateway = setup(&simulator).start(4);
        Self { gateway, simulator }
    }

    /// A second gateway with the same secret and keys before the same simulator, which knows no sandbox yet.
    pub(crate) fn replica(&self) -> Gateway {
        self.sibling(|setup| setup)
    }

    /// The same, changed.
    pub(crate) fn sibling(&self, change: impl FnOnce(Setup) -> Setup) -> Gateway {
        change(setup(&self.simulator).env("COPPICE_API_KEYS", key_list())).start(4)
    }

    pub(crate) fn control(&self) -> SocketAddr {
        self.gateway.control()
    }

    /// The data-plane listener for every port.
    pub(crate) fn data(&self) -> SocketAddr {
        self.gateway.address("port=*")
    }

    pub(crate) fn api_url(&self) -> String {
        format!("http://{}", self.control())
    }

    pub(crate) fn sandbox_url(&self) -> String {
        format!("http://{}", self.data())
    }

    pub(crate) fn key(&self, role: &str) -> String {
        key(role)
    }

    /// What reached the simulator on this plane.
    pub(crate) fn reached(&self, plane: Plane) -> Vec<RecordedRequest> {
        let mut requests = self.simulator.requests();
        requests.retain(|request| request.plane == plane);
        requests
    }

    /// Sends a control-plane request with a key.
    pub(crate) fn ask(&self, role: &str, ask: Ask) -> Answer {
        ask.key(&key(role)).send(self.control())
    }

    /// Creates a sandbox with the key of `role`: its id, and the token that its creator got.
    pub(crate) fn create(&self, role: &str) -> (String, String) {
        let answer =
            self.ask(role, Ask::post("/v2/sandboxes", r#"{"templateID":"base","timeout":300}"#));
        assert_eq!(answer.status, 201, "{}", answer.text());
        let json = answer.json();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        (text("sandboxID"), text("envdAccessToken"))
    }

    /// A request into a sandbox, on the listener for every port.
    pub(crate) fn ask_sandbox(&self, id: &str, port: u16, ask: Ask) -> Answer {
        ask.header("E2b-Sandbox-Id", id)
            .header("E2b-Sandbox-Port", port.to_string())
            .send(self.data())
    }
}

/// A free port of this test's own, and the flag that makes it an upstream.
fn listener_for(flag: &str) -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, format!("{flag}{url}"))
}

/// Listeners on free ports: control, every sandbox port, envd, interpreter.
fn setup(simulator: &Simulator) -> Setup {
    setup_before(&simulator.api_url(), &simulator.envd_url())
        .flag("--envd-listen=127.0.0.1:0=*,127.0.0.1:0=49983,127.0.0.1:0=49999")
        .flag("--workers=2")
}

/// What every gateway before these upstreams has in common; it has no keys yet, and no listener for the data plane.
pub(crate) fn setup_before(api_url: &str, envd_url: &str) -> Setup {
    Setup::default()
        .flag("--listen=127.0.0.1:0")
        .flag(format!("--upstream={api_url}"))
        .flag(format!("--envd-upstream={envd_url}"))
        .flag(format!("--domain={DOMAIN}"))
        .env("COPPICE_UPSTREAM_API_KEY", UPSTREAM_KEY)
        .env("COPPICE_SECRET", SECRET)
        .env("COPPICE_LOG_FORMAT", "json")
}
