//! The decision about a request, as a whole and step by step: what is it for, who calls, may they.

use std::hint::black_box;

use coppice_gateway::authn::Authentication;
use coppice_gateway::caller::Caller;
use coppice_gateway::clock::UnixTime;
use coppice_gateway::credential::{Credential, Kind, Precedence, Presented};
use coppice_gateway::layer::identify::{Circumstances, Identified, Reading, identify};
use coppice_gateway::layer::subject::{Place, Subject};
use coppice_gateway::permit::{self, Control, Data, Isolation, Passing, Permit, Upgrade};
use coppice_gateway::route::{CanonicalPath, Router};
use coppice_gateway::token::Claims;
use divan::Bencher;
use http::{Method, Request};

use crate::stand::{SANDBOX, Stand, control, data, key, ring, sealer};

// ------------------------------------------------------------------------------------------------------ as a whole

/// As the gateway decides, with a sandbox that it knows.
fn decide(stand: &Stand, request: &Request<()>) -> Option<Permit> {
    let subject = Subject::read(request, &stand.conn, &stand.router, None).ok()?;
    let circumstances = Circumstances::of(request, &subject, &stand.conn, &stand.request_id);
    let query = request.uri().query().unwrap_or_default();
    let reading = identify(
        &stand.authenticator,
        &subject,
        &circumstances,
        request.headers(),
        query,
        UnixTime::now(),
    );
    let Ok(Reading::Caller(Identified { caller, passing })) = reading else { return None };
    let cleared = permit::clear(caller, &subject.matched, subject.upgrade, Isolation::On).ok()?;
    match subject.aim {
        Place::Control => {
            let sandbox = cleared.needs_standing().then(|| stand.sandbox.clone());
            let control =
                Control { sandbox, named: None, selected: None, foreign_authorization: false };
            cleared.control(control).ok()
        }
        Place::Sandbox(target) => {
            let sandbox = Some(stand.sandbox.clone());
            cleared.data(Data { target, sandbox, passing, query: None }).ok()
        }
        Place::Nowhere => None,
    }
}

fn decided(bencher: Bencher<'_, '_>, request: impl Fn(&Stand) -> Request<()>, is_permitted: bool) {
    let stand = Stand::new();
    let request = request(&stand);
    assert_eq!(decide(&stand, &request).is_some(), is_permitted, "{request:?}");
    bencher.bench_local(|| decide(black_box(&stand), black_box(&request)));
}

#[divan::bench]
fn decide_list(bencher: Bencher<'_, '_>) {
    decided(bencher, |_| control(Method::GET, "/v2/sandboxes?state=running", &key(7)), true);
}

#[divan::bench]
fn decide_kill(bencher: Bencher<'_, '_>) {
    let path = format!("/sandboxes/{SANDBOX}");
    decided(bencher, |_| control(Method::DELETE, &path, &key(0)), true);
}

#[divan::bench]
fn decide_sandbox_token(bencher: Bencher<'_, '_>) {
    decided(bencher, |stand| data(&stand.token), true);
}

#[divan::bench]
fn decide_unknown_key(bencher: Bencher<'_, '_>) {
    let unknown = "e2b_ffffffffffffffffffffffffffffffffffffffff";
    decided(bencher, |_| control(Method::GET, "/templates", unknown), false);
}

// ---------------------------------------------------------------------------------------------------- step by step

#[divan::bench(args = ["/templates", "/sandboxes/i1a2b3c4d5e6f7a8b9c0d/timeout", "/v2/sandboxes"])]
fn path_and_route(bencher: Bencher<'_, '_>, path: &str) {
    let router = Router::new();
    bencher.bench_local(|| {
        let path = CanonicalPath::parse(black_box(path)).unwrap();
        router.find_control(&Method::GET, &path).is_ok()
    });
}

#[divan::bench]
fn route_in_sandbox(bencher: Bencher<'_, '_>) {
    let router = Router::new();
    bencher.bench_local(|| router.find_data(49983, &Method::GET, black_box("/files")).is_ok());
}

#[divan::bench]
fn subject_control(bencher: Bencher<'_, '_>) {
    let (stand, request) = (Stand::new(), control(Method::GET, "/templates", &key(7)));
    bencher.bench_local(|| {
        Subject::read(black_box(&request), &stand.conn, &stand.router, None).is_ok()
    });
}

#[divan::bench]
fn subject_data(bencher: Bencher<'_, '_>) {
    let stand = Stand::new();
    let request = data(&stand.token);
    bencher.bench_local(|| {
        Subject::read(black_box(&request), &stand.conn, &stand.router, None).is_ok()
    });
}

#[divan::bench]
fn credential_found(bencher: Bencher<'_, '_>) {
    let request = control(Method::GET, "/templates", &key(7));
    bencher.bench_local(|| {
        let presented = Presented::from_headers(black_box(request.headers())).unwrap();
        presented.judged(Precedence::default()).unwrap().is_some()
    });
}

/// Another of the 10 000 each time, so that they are not in the cache from the last time.
#[divan::bench]
fn keys_looked_up(bencher: Bencher<'_, '_>) {
    let (ring, mut number) = (ring(), 0_usize);
    let keys: Vec<String> = (0..10_000).map(key).collect();
    bencher.bench_local(|| {
        number = (number + 7_919) % keys.len();
        let text = keys.get(number).map_or("", String::as_str);
        ring.find(&Credential::new(Kind::ApiKey, black_box(text))).unwrap()
    });
}

#[divan::bench]
fn keys_unknown(bencher: Bencher<'_, '_>) {
    let ring = ring();
    let unknown = Credential::new(Kind::ApiKey, "e2b_ffffffffffffffffffffffffffffffffffffffff");
    bencher.bench_local(|| ring.find(black_box(&unknown)).is_some());
}

#[divan::bench]
fn token_read(bencher: Bencher<'_, '_>) {
    let token = Stand::new().token;
    bencher.bench_local(|| Claims::parse(black_box(&token)).unwrap());
}

#[divan::bench]
fn token_verified(bencher: Bencher<'_, '_>) {
    let (stand, sealer) = (Stand::new(), sealer());
    let claims = Claims::parse(&stand.token).unwrap();
    bencher.bench_local(|| assert!(sealer.verifies(black_box(&claims), &stand.principal.tenant)));
}

#[divan::bench]
fn token_opened(bencher: Bencher<'_, '_>) {
    let stand = Stand::new();
    let claims = Claims::parse(&stand.token).unwrap();
    bencher.bench_local(|| {
        let opened = stand.authenticator.open(black_box(&claims), UnixTime::now());
        assert!(matches!(opened, Authentication::Known(_)));
    });
}

#[divan::bench]
fn permit_cleared(bencher: Bencher<'_, '_>) {
    let stand = Stand::new();
    let path = CanonicalPath::parse("/templates").unwrap();
    let matched = stand.router.find_control(&Method::GET, &path).unwrap();
    bencher.with_inputs(|| Caller::Key(stand.principal.clone(), Kind::ApiKey)).bench_local_values(
        |caller| permit::clear(caller, black_box(&matched), Upgrade::None, Isolation::On).unwrap(),
    );
}

#[divan::bench]
fn permit_of_sandbox(bencher: Bencher<'_, '_>) {
    let stand = Stand::new();
    let request = data(&stand.token);
    let cleared = || {
        let subject = Subject::read(&request, &stand.conn, &stand.router, None).unwrap();
        let caller = Caller::Token(stand.principal.clone(), stand.sandbox.id.clone());
        let cleared = permit::clear(caller, &subject.matched, Upgrade::None, Isolation::On);
        let Place::Sandbox(target) = subject.aim else { unreachable!("it names a sandbox") };
        let sandbox = Some(stand.sandbox.clone());
        (cleared.unwrap(), Data { target, sandbox, passing: Passing::default(), query: None })
    };
    bencher.with_inputs(cleared).bench_local_values(|(cleared, data)| cleared.data(data).unwrap());
}
