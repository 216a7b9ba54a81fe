//! What deciding about a credential takes from the heap: nothing, whether a key or a remembered answer knows it. Nor
//! does counting a request. And what is kept of a sandbox that was killed: nothing but that it was.
//!
//! A binary of its own, because the counter takes the place of the allocator. It counts for the calling thread alone,
//! so that neither the test harness nor the pretend service is counted.

#![expect(clippy::unwrap_used, reason = "a test that can't go on should fail there")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use coppice_gateway::authn::{Authentication, Authenticator, KeyRing};
use coppice_gateway::callback::{Callback, Question};
use coppice_gateway::clock::UnixTime;
use coppice_gateway::config::{Settings, Sources};
use coppice_gateway::credential::{Credential, Kind, Precedence};
use coppice_gateway::directory::Directory;
use coppice_gateway::keys::{KeyDraft, KeyFile, KeySet};
use coppice_gateway::metrics::Requests;
use coppice_gateway::principal::TenantId;
use coppice_gateway::record::{Observer as _, Record};
use coppice_gateway::route::{Class, Surface};
use coppice_gateway::sandbox::{Marker, Sandbox, State};
use coppice_gateway::target::SandboxId;
use coppice_gateway::token::Sealer;
use http::{HeaderValue, Method, StatusCode, Uri};

const DECISIONS: usize = 10_000;
/// Before counting: what threads and caches set up when they are first used, among it the cache's timers, which it
/// makes when it first looks through what was put in.
const WARM_UP: usize = 1_000;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nX-Auth-Tenant: team-a\r\nX-Auth-User: ada\r\nX-Auth-Scopes: read\r\n\
    Cache-Control: max-age=60\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A service that answers one call, and is then gone: who is known afterwards is remembered.
fn service_for_one_call() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        stream.write_all(ANSWER).unwrap();
    });
    address
}

/// An authenticator as these settings make it.
fn authenticator(variables: &[(&str, &str)]) -> Authenticator {
    let upstream = [("COPPICE_UPSTREAM", "http://127.0.0.1:9")];
    let environment =
        upstream.iter().chain(variables).map(|(name, value)| ((*name).into(), (*value).into()));
    let sources = Sources { flags: BTreeMap::new(), environment: environment.collect() };
    let loaded = Settings::load(&sources, None).unwrap();
    let auth = loaded.settings.auth;
    let keys = auth.has_keys.then(|| Arc::new(KeyRing::new(loaded.keys)));
    let callback = auth.callback.map(|settings| Arc::new(Callback::new(settings).unwrap()));
    Authenticator::new(keys, callback, Sealer::new(&auth.secrets), Precedence::default())
}

fn ask(authenticator: &Authenticator, question: &Question<'_>) -> Authentication {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let line = authenticator.callback().unwrap().line().unwrap();
    match authenticator.authenticate(question, UnixTime::now()) {
        Authentication::Unsettled(unknown) => {
            runtime.block_on(authenticator.ask(Some(&line), question, unknown))
        }
        settled @ (Authentication::Known(_)
        | Authentication::Refused(_)
        | Authentication::Declined(_)) => settled,
    }
}

/// How many allocations that many decisions about one credential make.
fn allocations(authenticator: &Authenticator, question: &Question<'_>) -> u64 {
    let decide = || {
        let now = UnixTime::now();
        let decided = authenticator.authenticate(question, now);
        assert!(matches!(decided, Authentication::Known(_)), "{decided:?}");
    };
    (0..WARM_UP).for_each(|_| decide());
    let counted = allocation_counter::measure(|| (0..DECISIONS).for_each(|_| decide()));
    counted.count_total
}

fn question<'r>(key: &'r str, request_id: &'r HeaderValue) -> Question<'r> {
    Question {
        credential: Credential::new(Kind::ApiKey, key),
        method: &Method::GET,
        path: "/sandboxes",
        host: Some("api.sandbox.test"),
        request_id,
        client: Some(Ipv4Addr::LOCALHOST.into()),
    }
}

const KEY: &str = "e2b_0123456789abcdef0123456789abcdef01234567";
const OTHER_KEY: &str = "e2b_fedcba9876543210fedcba9876543210fedcba98";

#[test]
fn a_static_key_takes_its_principal_alone() {
    let listed = format!("team-a:{KEY}:read");
    let authenticator = authenticator(&[("COPPICE_API_KEYS", &listed)]);
    let request_id = HeaderValue::from_static("id-1");
    assert_eq!(allocations(&authenticator, &question(KEY, &request_id)), DECISIONS as u64);
}

#[test]
fn a_key_takes_a_row_and_little_else() {
    const KEYS: u32 = 50_000;
    let text: String =
        (0..KEYS).map(|key| format!("team-{}:key-{key}:exec\n", key % 100)).collect();
    let mut set = KeySet::default();
    let counted = allocation_counter::measure(|| {
        let mut draft = KeyDraft::default();
        let mut file = KeyFile::new(&mut draft, "keys", text.len());
        file.take(text.as_bytes()).unwrap();
        file.end().unwrap();
        set = draft.finish(None).unwrap();
    });
    assert_eq!(set.len(), KEYS as usize);
    let kept = counted.bytes_current / i64::from(KEYS);
    assert!((50..=65).contains(&kept), "{kept} bytes for each key");
    let most = counted.bytes_max / u64::from(KEYS);
    assert!(most <= 80, "{most} bytes for each key while they are read");
    assert!(counted.count_total < u64::from(KEYS) / 50, "{counted:?}");

    // None for those who came.
    let ring = KeyRing::new(set);
    let counted = allocation_counter::measure(|| {
        for key in 0..KEYS {
            let key = format!("key-{key}");
            assert!(ring.find(&Credential::new(Kind::ApiKey, &key)).is_some());
        }
    });
    assert!(counted.bytes_current < 1 << 10, "{counted:?}");
}

#[test]
fn a_remembered_answer_takes_nothing() {
    let keys = format!("team-a:{OTHER_KEY}:read");
    for cache_by in ["request", "credential"] {
        for beside_keys in [false, true] {
            let url = format!("http://{}/verify", service_for_one_call());
            let mut variables =
                vec![("AUTH_CALLBACK_URL", &*url), ("AUTH_CALLBACK_CACHE_BY", cache_by)];
            if beside_keys {
                variables.push(("COPPICE_API_KEYS", &keys));
            }
            let authenticator = authenticator(&variables);
            let request_id = HeaderValue::from_static("id-1");
            let question = question(KEY, &request_id);
            assert!(matches!(ask(&authenticator, &question), Authentication::Known(_)));
            let context = format!("by {cache_by}, beside keys: {beside_keys}");
            let counted = allocations(&authenticator, &question);
            assert_eq!(counted, 0, "{context}");
        }
    }
}

#[test]
fn counting_a_request_takes_nothing() {
    let requests = Requests::default();
    let id = HeaderValue::from_static("id-1");
    let mut record = Record::begin(id, None, Method::GET, Uri::from_static("/sandboxes"));
    (record.surface, record.class) = (Some(Surface::Api), Some(Class::Read));
    record.decided = Some(Duration::from_micros(7));
    record.answered = Some(Duration::from_micros(700));
    record.status = Some(StatusCode::OK);
    let count = || {
        requests.began();
        requests.ended(&record);
    };
    count();
    let counted = allocation_counter::measure(|| (0..DECISIONS).for_each(|_| count()));
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_sandbox_that_was_killed_leaves_little_behind() {
    const LIVES: i64 = 20_000;
    let listed = format!("team-a:{KEY}:exec");
    let authenticator = authenticator(&[("COPPICE_API_KEYS", &listed)]);
    let request_id = HeaderValue::from_static("id-1");
    let known = authenticator.authenticate(&question(KEY, &request_id), UnixTime::now());
    let Authentication::Known(principal) = known else { panic!("{known:?}") };
    let (directory, text) = (Directory::default(), HeaderValue::from_static("token"));
    let live = async |number: i64| {
        let (id, asked) = (SandboxId::parse(&format!("i{number:019}")).unwrap(), directory.now());
        let sandbox = Sandbox {
            id: id.clone(),
            tenant: TenantId::parse("team-a").ok(),
            marker: Marker::Present,
            state: State::Running,
            ends: None,
            envd_token: Some(text.clone()),
            traffic_token: Some(text.clone()),
        };
        directory.note_holder(&id, &principal, asked);
        directory.learn(sandbox, asked);
        assert!(directory.known(&id).is_some() && directory.last_holder(&id).is_some());
        directory.forget(&id, true);
        assert!(directory.known(&id).is_none() && directory.last_holder(&id).is_none());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // What is made once, and what waits to be tidied up.
    runtime.block_on(async {
        for number in 0..LIVES {
            live(number).await
        }
    });
    let counted = allocation_counter::measure(|| {
        runtime.block_on(async {
            for number in LIVES..2 * LIVES {
                live(number).await
            }
        });
    });
    let kept = counted.bytes_current / LIVES;
    assert!(kept <= 64, "{kept} bytes for each");
}
