//! What the benches work on: requests as SDKs send them, and a gateway's own parts with 10 000 keys.
//!
//! Nothing is random, so that two runs do the same work.

use std::net::Ipv4Addr;
use std::sync::Arc;

use coppice_gateway::authn::{Authenticator, KeyRing};
use coppice_gateway::credential::{Credential, Kind, Precedence};
use coppice_gateway::keys::{self, KeyDraft};
use coppice_gateway::principal::Principal;
use coppice_gateway::proxy::lookup;
use coppice_gateway::request::Conn;
use coppice_gateway::route::{Listener, Router};
use coppice_gateway::sandbox::Sandbox;
use coppice_gateway::secret::Secret;
use coppice_gateway::target::SandboxId;
use coppice_gateway::token::Sealer;
use http::{HeaderValue, Method, Request};

const KEYS: usize = 10_000;
const TENANTS: usize = 100;
pub(crate) const SANDBOX: &str = "i1a2b3c4d5e6f7a8b9c0d";

/// A key of the file; there are [`KEYS`].
pub(crate) fn key(number: usize) -> String {
    format!("e2b_{:040x}", number % KEYS)
}

pub(crate) fn ring() -> KeyRing {
    let lines: Vec<String> = (0..KEYS)
        .map(|number| format!("team-{}:{}:exec\n", number % TENANTS, key(number)))
        .collect();
    let mut draft = KeyDraft::default();
    keys::read_list(&mut draft, "keys", &lines.concat());
    KeyRing::new(draft.finish(None).unwrap())
}

pub(crate) fn sealer() -> Sealer {
    Sealer::new(&[Secret::new("a secret of a good length, for tokens".to_owned())])
}

/// Whoever has the first key.
pub(crate) fn principal(ring: &KeyRing) -> Arc<Principal> {
    ring.find(&Credential::new(Kind::ApiKey, &key(0))).unwrap()
}

/// A gateway, as far as decisions go, and a connection to it.
pub(crate) struct Stand {
    pub(crate) authenticator: Authenticator,
    pub(crate) router: Router,
    pub(crate) conn: Conn,
    pub(crate) request_id: HeaderValue,
    pub(crate) principal: Arc<Principal>,
    /// The principal's, with its record as the upstream tells it.
    pub(crate) sandbox: Arc<Sandbox>,
    /// Its token.
    pub(crate) token: String,
}

impl Stand {
    pub(crate) fn new() -> Self {
        let ring = Arc::new(ring());
        let principal = principal(&ring);
        let id = SandboxId::parse(SANDBOX).unwrap();
        let token = sealer().mint(&principal, &id).unwrap();
        let record = format!(
            r#"{{"templateID":"base","sandboxID":"{SANDBOX}","state":"running","envdAccessToken":"upstream-token",
            "metadata":{{"coppice_tenant_id":"{}","purpose":"bench"}}}}"#,
            principal.tenant
        );
        Self {
            authenticator: Authenticator::new(Some(ring), None, sealer(), Precedence::default()),
            router: Router::new(),
            conn: Conn::new(
                Listener::Control { one_port: true },
                Some(Ipv4Addr::LOCALHOST.into()),
                Arc::default(),
            ),
            request_id: HeaderValue::from_static("0123456789abcdef0123456789abcdef"),
            sandbox: Arc::new(lookup::record(record.as_bytes()).unwrap()),
            principal,
            token,
        }
    }
}

/// A request to the control plane.
pub(crate) fn control(method: Method, path: &str, key: &str) -> Request<()> {
    as_an_sdk(Request::builder().method(method).uri(path))
        .header("host", "api.sandboxes.example")
        .header("x-api-key", key)
        .body(())
        .unwrap()
}

/// A request to envd in the sandbox, on the port of the control plane.
pub(crate) fn data(token: &str) -> Request<()> {
    as_an_sdk(Request::builder().uri("/files?path=%2Fhome%2Fuser%2Fnotes.txt&username=user"))
        .header("host", "127.0.0.1:3000")
        .header("e2b-sandbox-id", SANDBOX)
        .header("e2b-sandbox-port", "49983")
        .header("x-access-token", token)
        .body(())
        .unwrap()
}

fn as_an_sdk(request: http::request::Builder) -> http::request::Builder {
    request
        .header("accept", "*/*")
        .header("accept-encoding", "gzip, deflate")
        .header("connection", "keep-alive")
        .header("user-agent", "e2b-python-sdk/2.4.1")
        .header("browser", "unknown")
        .header("lang", "python")
        .header("lang_version", "3.12.4")
        .header("package_version", "2.4.1")
        .header("publisher", "e2b")
        .header("sdk_runtime", "python")
        .header("system", "Linux")
}

/// The same kind of request as bytes.
pub(crate) fn on_the_wire(request: &Request<()>, body: &[u8]) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    [head.as_bytes(), b"\r\n", body].concat()
}
