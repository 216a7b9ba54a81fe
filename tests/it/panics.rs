//! Bugs: each takes down the request that met it and nothing else, and is told of like any other end of a request.
//!
//! The bug is in a ledger of sandboxes, which is a part that can be replaced. What is around it is a gateway as it is
//! composed for the daemon, in a process of its own.

use std::collections::{BTreeMap, HashSet};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use coppice_gateway::audit::Trail;
use coppice_gateway::authn::{Authenticator, KeyRing};
use coppice_gateway::clock::UnixTime;
use coppice_gateway::config::{Loaded, Settings, Sources};
use coppice_gateway::credential::Precedence;
use coppice_gateway::directory::Directory;
use coppice_gateway::endpoint::Audit;
use coppice_gateway::http1::Address;
use coppice_gateway::layer::auth::Gate;
use coppice_gateway::layer::cors::Cors;
use coppice_gateway::layer::observe::Line;
use coppice_gateway::lifecycle::Phases;
use coppice_gateway::limits::Limits as Limited;
use coppice_gateway::listener::bind;
use coppice_gateway::metrics::{Registry, Requests};
use coppice_gateway::ops::{self, Ops};
use coppice_gateway::ownership::Ownership;
use coppice_gateway::permit::Isolation;
use coppice_gateway::principal::TenantId;
use coppice_gateway::proxy::admission::{Admissions, Rules};
use coppice_gateway::proxy::census::Census;
use coppice_gateway::proxy::v1::Dialects;
use coppice_gateway::proxy::{Marking, Timeouts, Upstream as To, Upstreams, pool};
use coppice_gateway::quota::{
    Admission, Answered, Ask as Asked, Cadence, Held, Ledger, LedgerUnavailable, Mark, Reservation,
    Standing,
};
use coppice_gateway::record::Observers;
use coppice_gateway::route::{Listener, Router};
use coppice_gateway::server::connection;
use coppice_gateway::target::SandboxId;
use coppice_gateway::telemetry;
use coppice_gateway::token::Sealer;
use coppice_gateway::worker::{self, Part, Shared, Socket};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::unbounded_channel;

use crate::audit::event;
use crate::http2::{connect, parts, whole};
use crate::support::telemetry::Scrape;
use crate::support::wait::{PATIENCE, eventually, run};
use crate::support::world::{key, key_list};
use crate::support::{Ask, Gateway, Wire};

/// Set where the test runs as the gateway, to the authority of its upstream.
const CHILD: &str = "PANICS_BEFORE_UPSTREAM";
const CREATE: &str = r#"{"templateID":"base"}"#;

/// Falls over at every question but those of team-b, and over those when it is told what became of them.
#[derive(Debug)]
struct Faulty;

impl Ledger for Faulty {
    fn reserve<'a>(&'a self, ask: Asked<'a>) -> Answered<'a, Admission> {
        Box::pin(async move {
            assert_eq!(ask.tenant.as_str(), "team-b", "provoked by a test");
            Ok(Admission::Admitted(Reservation::new(Box::new(Self))))
        })
    }

    fn ended<'a>(&'a self, _: &'a TenantId, _: &'a SandboxId) -> Answered<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn begin_listing(&self, _: Instant) -> Answered<'_, Mark> {
        Box::pin(async { Err(LedgerUnavailable) })
    }

    fn apply_listing<'a>(
        &'a self,
        _: &'a TenantId,
        _: Mark,
        _: &'a HashSet<SandboxId>,
    ) -> Answered<'a, bool> {
        Box::pin(async { Err(LedgerUnavailable) })
    }

    fn standing<'a>(&'a self, _: &'a TenantId) -> Answered<'a, Standing> {
        Box::pin(async { panic!("provoked by a test") })
    }

    fn standings(&self, _: Instant) -> Answered<'_, Vec<(TenantId, Standing)>> {
        Box::pin(async { Err(LedgerUnavailable) })
    }
}

impl Held for Faulty {
    fn bind<'a>(self: Box<Self>, _: &'a [SandboxId]) -> Answered<'a, ()> {
        Box::pin(async { panic!("provoked by a test") })
    }

    fn release(self: Box<Self>) -> Answered<'static, ()> {
        Box::pin(async { Ok(()) })
    }

    fn doubt(self: Box<Self>) {
        tracing::info!("held in doubt");
    }
}

/// Serves until it is killed.
fn serve(upstream: &str) {
    let variables = [
        ("COPPICE_UPSTREAM", format!("http://{upstream}")),
        ("COPPICE_API_KEYS", key_list()),
        ("COPPICE_LOG_FORMAT", "json".to_owned()),
    ];
    let environment = variables.map(|(name, value)| (name.into(), value.into()));
    let sources = Sources { flags: BTreeMap::new(), environment: environment.into() };
    let Loaded { settings, keys, .. } = Settings::load(&sources, None).unwrap();
    telemetry::start(&settings.log);

    let phases = Phases::default();
    phases.open.cancel();
    let trail = Arc::new(Trail::new(settings.audit.log_cap, None));
    let requests = Arc::new(Requests::default());
    let observers =
        Observers::new(vec![Arc::new(Line), trail.clone(), requests.clone()], phases.stop.clone());
    let bound = |what: &str| {
        let (mut sockets, address) = bind::tcp("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        tracing::info!(%address, "listening for {what}");
        sockets.remove(0)
    };
    let registry = Registry::new(requests, UnixTime::now());
    let unready: Box<ops::Unready> = Box::new(|| None);
    let ops = Ops { registry, phases: phases.clone(), workers: 1, unready };
    let ops_socket = bound("metrics and health");
    std::thread::spawn(move || ops::run(ops, vec![ops_socket]));

    let ring = Arc::new(KeyRing::new(keys));
    let sealer = Sealer::new(&[]);
    let authenticator =
        Arc::new(Authenticator::new(Some(ring), None, sealer, Precedence::default()));
    let directory = Directory::new(Ownership::open(None).unwrap());
    let ledger: Arc<dyn Ledger> = Arc::new(Faulty);
    let (wait, limits) = (Duration::from_secs(60), Limited::parse("team-a=5,team-b=5").unwrap());
    let shared = Shared {
        admissions: Arc::new(Admissions {
            census: Census::new(Arc::clone(&ledger), directory.clone()),
            ledger,
            rules: ArcSwap::from_pointee(Rules { limits, over_quota: Default::default() }),
            cadence: Cadence::default(),
            elsewhere: Default::default(),
        }),
        gate: Arc::new(Gate {
            authenticator,
            directory,
            router: Router::new(),
            isolation: Isolation::On,
            domain: None,
            strangers: Semaphore::new(Gate::STRANGERS),
            audit: None,
        }),
        upstreams: Arc::new(Upstreams {
            control: To::new(Address::clear(upstream.parse().unwrap()), ""),
            key: None,
            ports: Vec::new(),
            any_port: None,
            domain: "localhost".into(),
            timeouts: Timeouts::new(wait, wait, wait),
            marking: Marking::default(),
            dialects: Dialects::default(),
        }),
        cors: Arc::new(Cors::new(Vec::new())),
        observers,
        sampler: None,
        tunnels: Arc::default(),
        audit: Audit::new(trail, phases.drain.clone()),
        tls: None,
        pool: pool::Settings { connect_timeout: wait, idle_timeout: wait, http2: false },
        connections: connection::Settings { limits: Default::default(), max_streams: 100 },
        trusted_proxies: ArcSwap::from_pointee(Arc::new([])),
        places: Arc::new(Semaphore::new(100)),
        phases,
        heir: Default::default(),
        watched: None,
    };
    let listener = Listener::Control { one_port: true };
    let socket = Socket { listener, socket: bound("the control plane") };
    let (_, adopted) = unbounded_channel();
    let part = Part { sockets: vec![socket], adopted, keeps_census: false };
    worker::run(Arc::new(shared), part).unwrap();
}

/// This test in a process of its own, as a gateway before `upstream`.
fn faulty(test: &str, upstream: &str) -> Gateway {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("panics::{test}"), "--nocapture"]).env(CHILD, upstream);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let gateway = Gateway::over(command.spawn().unwrap());
    gateway.wait_for_log(&["listening for the control plane"]);
    gateway
}

/// Whether the request was told of as a bug's, by event and log, with who sent it.
fn is_told(gateway: &Gateway, id: &str, tenant: &str, class: &str) {
    let event = event(gateway.control(), id);
    for (name, expected) in [
        ("outcome", json!("error")),
        ("status", json!(500)),
        ("tenantID", json!(tenant)),
        ("routeClass", json!(class)),
    ] {
        assert_eq!(event[name], expected, "{event}");
    }
    gateway.wait_for_log(&["request ended by a bug", id, "\"level\":\"ERROR\""]);
    let log = gateway.log();
    let lines = log.iter().filter(|line| line.contains(&format!("\"request_id\":\"{id}\"")));
    assert_eq!(lines.count(), 1, "{log:#?}");
}

#[test]
fn a_bug_costs_one_request() {
    if let Ok(upstream) = std::env::var(CHILD) {
        return serve(&upstream);
    }
    let gateway = faulty("a_bug_costs_one_request", "127.0.0.1:9");
    let usage = |id: &str| Ask::get("/auth/usage").key(&key("read")).header("X-Request-Id", id);
    let create =
        |id: &str| Ask::post("/v2/sandboxes", CREATE).key(&key("exec")).header("X-Request-Id", id);
    let mut wire = Wire::open(gateway.control());
    let mut other = Wire::open(gateway.control());
    for (id, ask, class) in
        [("own", usage("own"), "read"), ("seen-through", create("seen-through"), "exec")]
    {
        let answer = wire.ask(&ask);
        assert_eq!((answer.status, &*answer.code()), (500, "internal"), "{id}");
        assert_eq!(answer.header("x-request-id"), Some(id));
        is_told(&gateway, id, "team-a", class);
    }
    // Neither its connection nor any other has suffered.
    let refused = Ask::get("/templates");
    for wire in [&mut wire, &mut other] {
        assert_eq!(wire.ask(&refused).status, 401);
    }
    run(async {
        let mut sender = connect(gateway.control()).await;
        for (path, status) in [("/auth/usage", 500), ("/templates", 502), ("/auth/usage", 500)] {
            let url = format!("http://{}{path}", gateway.control());
            let request = http::Request::get(url).header("x-api-key", key("read"));
            let answer = sender.send_request(request.body(whole("")).unwrap()).await.unwrap();
            assert_eq!(parts(answer).await.0, status, "{path}");
        }
    });
    let sum = |name: &str, labels: &[(&str, &str)]| Scrape::of(&gateway, "").sum(name, labels);
    let of_bugs = [("surface", "gateway"), ("outcome", "error"), ("status", "5xx")];
    eventually("bugs are counted", PATIENCE, || sum("requests_total", &of_bugs) == 3.0);
    // Where it happened is there too, and as JSON.
    for line in gateway.log() {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        if line["message"] == "a bug" {
            assert!(line["place"].as_str().unwrap().starts_with("tests/it/panics.rs:"), "{line}");
        }
    }
    gateway.wait_for_logs(4, &["\"message\":\"a bug\"", "provoked by a test"]);
}

#[test]
fn a_bug_after_the_client_has_left_is_told_too() {
    if let Ok(upstream) = std::env::var(CHILD) {
        return serve(&upstream);
    }
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap().to_string();
    let gateway = faulty("a_bug_after_the_client_has_left_is_told_too", &address);
    let create =
        Ask::post("/v2/sandboxes", CREATE).key(&key("other")).header("X-Request-Id", "left");
    let mut client = Wire::open(gateway.control());
    client.send(&create.kept_bytes(gateway.control()));
    let mut upstream = Wire::over(upstream.accept().unwrap().0);
    upstream.until(b"\r\n\r\n");
    drop(client);
    // Served by the same thread after that.
    assert_eq!(Ask::get("/templates").send(gateway.control()).status, 401);
    let json = r#"{"sandboxID":"i1","templateID":"base","envdVersion":"0.2.0"}"#;
    let head = format!("HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n", json.len());
    upstream.send(format!("{head}{json}").as_bytes());
    is_told(&gateway, "left", "team-b", "exec");
    assert_eq!(Ask::get("/templates").send(gateway.control()).status, 401);
}
