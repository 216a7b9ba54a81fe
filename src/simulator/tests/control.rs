//! The control plane: statuses, fields, lists, keys, expiry.

use axum::body::Body;
use http::Method;
use serde_json::{Value, json};

use super::client::{Setup, request, send};
use crate::simulator::{FAIL, Options, Plane};

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const DELETE: Method = Method::DELETE;

#[tokio::test]
async fn a_sandbox_lives_pauses_and_ends() {
    let setup = Setup::new().await;
    let path = format!("/sandboxes/{}", setup.id);
    for (method, suffix, body, status) in [
        (GET, "", Value::Null, 200),
        (GET, "-client", Value::Null, 200),
        (POST, "/connect", json!({}), 400),
        (POST, "/connect", json!({ "timeout": 60 }), 200),
        (POST, "/timeout", json!({ "timeout": -1 }), 400),
        (POST, "/timeout", json!({ "timeout": 60 }), 204),
        (POST, "/refreshes", json!({ "duration": 60 }), 204),
        (POST, "/resume", json!({}), 409),
        (POST, "/pause", Value::Null, 204),
        (POST, "/pause", json!({}), 409),
        (POST, "/timeout", json!({ "timeout": 60 }), 404),
        (POST, "/resume", json!({}), 201),
        (POST, "/pause", json!({}), 204),
        (POST, "/connect", json!({ "timeout": 60 }), 201),
        (POST, "/snapshots", json!({ "name": "mine" }), 201),
        (GET, "/logs", Value::Null, 200),
        (GET, "/metrics", Value::Null, 200),
        (Method::PUT, "/network", json!({ "denyOut": ["0.0.0.0/0"] }), 204),
        (GET, "/nothing", Value::Null, 404),
        (DELETE, "", Value::Null, 204),
        (DELETE, "", Value::Null, 404),
        (GET, "", Value::Null, 404),
    ] {
        let answer = setup.api(method.clone(), &format!("{path}{suffix}"), body.clone()).await;
        assert_eq!(answer.status, status, "{method} {suffix} {body}");
        if status >= 400 {
            assert_eq!(answer.json()["code"], status, "{method} {suffix}");
        }
    }
}

#[tokio::test]
async fn answers_hold_what_the_sdks_need() {
    let options = Options { domain: Some("sandbox.test".to_owned()), ..Options::default() };
    let setup = Setup::with(options, json!({ "templateID": "base" })).await;
    let body = json!({ "templateID": "base", "metadata": { "k": "v" }, "network": { "allowPublicTraffic": false } });
    let made = setup.api(POST, "/v2/sandboxes", body).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    for field in [
        "sandboxID",
        "templateID",
        "clientID",
        "envdVersion",
        "envdAccessToken",
        "trafficAccessToken",
    ] {
        assert!(made[field].is_string(), "{field}: {made}");
    }
    assert_eq!(made["domain"], "sandbox.test");
    let id = made["sandboxID"].as_str().unwrap();
    let detail = setup.api(GET, &format!("/sandboxes/{id}"), Value::Null).await.json();
    assert_eq!(detail["metadata"], json!({ "k": "v" }));
    assert_eq!(detail["envdAccessToken"], made["envdAccessToken"]);
    assert_eq!(detail["network"], json!({ "allowPublicTraffic": false }));
    let (access, traffic) = setup.simulator.tokens_of(id).unwrap();
    assert_eq!(
        (json!(access), json!(traffic)),
        (made["envdAccessToken"].clone(), made["trafficAccessToken"].clone())
    );
}

#[tokio::test]
async fn lists_filter_and_page() {
    let setup = Setup::new().await;
    let mut made = vec![setup.id.clone()];
    for n in 0..4 {
        let body =
            json!({ "templateID": "base", "metadata": { "team a": format!("{}&=é", n % 2) } });
        let answer = setup.api(POST, "/v2/sandboxes", body).await.json();
        made.push(answer["sandboxID"].as_str().unwrap().to_owned());
    }
    setup.api(POST, &format!("/sandboxes/{}/pause", made[4]), Value::Null).await;

    let mut seen = Vec::new();
    let mut path = "/v2/sandboxes?limit=2&order=asc".to_owned();
    loop {
        let page = setup.api(GET, &path, Value::Null).await;
        assert_eq!(page.headers["x-total-running"], "4");
        let ids = page.json().as_array().unwrap().clone();
        assert!(ids.len() <= 2);
        seen.extend(ids.iter().map(|item| item["sandboxID"].as_str().unwrap().to_owned()));
        let Some(token) = page.headers.get("x-next-token") else { break };
        path = format!("/v2/sandboxes?limit=2&order=asc&nextToken={}", token.to_str().unwrap());
    }
    assert_eq!(seen, made);

    let count = async |query: &str| {
        setup.api(GET, query, Value::Null).await.json().as_array().unwrap().len()
    };
    // As the SDKs encode it: each part, then the whole, then once more on the wire.
    assert_eq!(
        count("/v2/sandboxes?metadata=team%252520a%253D0%252526%25253D%2525C3%2525A9").await,
        2
    );
    assert_eq!(count("/v2/sandboxes?metadata=team%2520a%3D9").await, 0);
    assert_eq!(count("/v2/sandboxes?state=paused").await, 1);
    assert_eq!(count("/v2/sandboxes?state=running").await, 4);
    assert_eq!(count("/v2/sandboxes?template=base").await, 5);
    assert_eq!(count("/sandboxes").await, 4);
    for bad in ["limit=0", "limit=101", "limit=x", "nextToken=***", "state=dead", "order=up"] {
        let answer = setup.api(GET, &format!("/v2/sandboxes?{bad}"), Value::Null).await;
        assert_eq!(answer.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn an_api_key_is_demanded_everywhere_but_for_health() {
    let options = Options { api_key: Some("right".to_owned()), ..Options::default() };
    let setup = Setup::with(options, json!({ "templateID": "base" })).await;
    assert_eq!(setup.id, "", "no key, no sandbox");
    let url = setup.simulator.api_url();
    for (path, key, status) in [
        ("/sandboxes", None, 401),
        ("/sandboxes", Some("wrong"), 401),
        ("/sandboxes", Some("right"), 200),
        ("/unknown", None, 401),
        ("/health", None, 204),
    ] {
        let mut builder = request(GET, &format!("{url}{path}"));
        if let Some(key) = key {
            builder = builder.header("x-api-key", key);
        }
        let answer = send(builder.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, status, "{path} {key:?}");
    }
    assert!(
        !format!("{:?}", Options { api_key: Some("canary".into()), ..Options::default() })
            .contains("canary")
    );
}

#[tokio::test]
async fn as_cube_there_is_no_v2_create_and_no_token() {
    let options = Options { v1_only: true, tokens: false, ..Options::default() };
    let setup = Setup::with(options, json!({ "templateID": "base" })).await;
    assert_eq!((setup.token.as_str(), setup.traffic.as_str()), ("", ""));
    let created = setup.api(POST, "/v2/sandboxes", json!({ "templateID": "base" })).await;
    assert_eq!(created.status, 405);
    let path = format!("/v2/sandboxes/{}/connect", setup.id);
    assert_eq!(setup.api(POST, &path, json!({})).await.status, 405);
    assert_eq!(setup.api(GET, "/v2/sandboxes", Value::Null).await.status, 200);
    let envs = send(setup.bare(49983, GET, "/envs").body(Body::empty()).unwrap()).await;
    assert_eq!(envs.status, 200);
}

#[tokio::test]
async fn bad_creates_make_nothing() {
    let setup = Setup::new().await;
    for (body, status) in [
        (json!({}), 400),
        (json!([]), 400),
        (json!({ "templateID": "base", "metadata": { "a": 1 } }), 400),
        (json!({ "templateID": "unknown" }), 404),
        (json!({ "templateID": "base", "metadata": { FAIL: "503" } }), 503),
    ] {
        assert_eq!(setup.api(POST, "/sandboxes", body.clone()).await.status, status, "{body}");
    }
    let url = format!("{}/sandboxes", setup.simulator.api_url());
    let answer = send(request(POST, &url).body(Body::from("{\"templateID\":")).unwrap()).await;
    assert_eq!(answer.status, 400);
    assert_eq!(setup.api(GET, "/sandboxes", Value::Null).await.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_idempotency_key_makes_one_sandbox() {
    let setup = Setup::new().await;
    let create = async |key: &str| {
        let url = format!("{}/v2/sandboxes", setup.simulator.api_url());
        let builder = request(POST, &url).header("idempotency-key", key);
        let answer = send(builder.body(Body::from(r#"{"templateID":"base"}"#)).unwrap()).await;
        answer.json()["sandboxID"].clone()
    };
    let first = create("a").await;
    assert_eq!(create("a").await, first);
    assert_ne!(create("b").await, first);
}

#[tokio::test]
async fn forks_and_snapshots() {
    let setup = Setup::new().await;
    let fork = format!("/sandboxes/{}/fork", setup.id);
    let forks = setup.api(POST, &fork, json!({ "count": 3 })).await;
    assert_eq!(forks.status, 201);
    assert_eq!(forks.json().as_array().unwrap().len(), 3);
    assert!(forks.json()[2]["sandbox"]["envdAccessToken"].is_string());
    for count in [0, 101] {
        assert_eq!(setup.api(POST, &fork, json!({ "count": count })).await.status, 400);
    }
    let snapshot =
        setup.api(POST, &format!("/sandboxes/{}/snapshots", setup.id), Value::Null).await;
    let template = snapshot.json()["snapshotID"].clone();
    let made = setup.api(POST, "/sandboxes", json!({ "templateID": template })).await;
    assert_eq!(made.status, 201);
    assert_eq!(setup.api(GET, "/snapshots", Value::Null).await.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn time_ends_or_pauses_a_sandbox() {
    let setup = Setup::new().await;
    let create = async |body: Value| {
        let answer = setup.api(POST, "/v2/sandboxes", body).await.json();
        answer["sandboxID"].as_str().unwrap().to_owned()
    };
    let ends = create(json!({ "templateID": "base", "timeout": 0 })).await;
    let pauses = create(json!({ "templateID": "base", "timeout": 0, "autoPause": true })).await;
    let state = async |id: &str| {
        let answer = setup.api(GET, &format!("/sandboxes/{id}"), Value::Null).await;
        (answer.status.as_u16(), answer.json()["state"].as_str().map(str::to_owned))
    };
    let settled = async {
        while state(&ends).await.0 != 404 || state(&pauses).await.1.as_deref() != Some("paused") {}
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), settled).await.unwrap();
}

#[tokio::test]
async fn templates_are_built_and_deleted() {
    let setup = Setup::new().await;
    let made = setup.api(POST, "/v3/templates", json!({ "name": "team/mine:v1" })).await;
    assert_eq!(made.status, 202);
    let (id, build) = (made.json()["templateID"].clone(), made.json()["buildID"].clone());
    let (id, build) = (id.as_str().unwrap(), build.as_str().unwrap());
    let status = format!("/templates/{id}/builds/{build}/status");
    assert_eq!(setup.api(GET, &status, Value::Null).await.json()["status"], "waiting");
    let link = setup.api(GET, &format!("/templates/{id}/files/abc"), Value::Null).await;
    assert_eq!((link.status.as_u16(), link.json()["present"].clone()), (201, json!(false)));
    let url = link.json()["url"].as_str().unwrap().to_owned();
    assert_eq!(send(request(Method::PUT, &url).body(Body::from("x")).unwrap()).await.status, 200);
    let link = setup.api(GET, &format!("/templates/{id}/files/abc"), Value::Null).await;
    assert_eq!(link.json()["present"], true);
    let start = format!("/v2/templates/{id}/builds/{build}");
    assert_eq!(setup.api(POST, &start, json!({ "fromImage": "ubuntu" })).await.status, 202);
    assert_eq!(setup.api(GET, &status, Value::Null).await.json()["status"], "ready");
    // One encoded segment, as the SDKs send names.
    let named = setup.api(GET, "/templates/team%2Fmine%3Av1", Value::Null).await;
    assert_eq!(named.json()["templateID"], id);
    assert_eq!(setup.api(DELETE, "/templates/mine", Value::Null).await.status, 204);
    assert_eq!(setup.api(GET, "/templates/aliases/mine", Value::Null).await.status, 404);
}

#[tokio::test]
async fn requests_are_recorded_as_sent() {
    let setup = Setup::new().await;
    setup.simulator.clear_requests();
    let before = setup.simulator.request_count();
    let url = format!("{}/sandboxes/x%2Fy?a=b%20c", setup.simulator.api_url());
    let builder =
        request(POST, &url).header("x-one", "1").header("x-two", "2").header("x-one", "3");
    send(builder.body(Body::from("{\"timeout\": 1}")).unwrap()).await;
    let big = setup.at(8080, POST, "/upload").body(Body::from(vec![0; 100_000])).unwrap();
    send(big).await;
    let [first, second] = &setup.simulator.requests()[..] else { panic!("two requests") };
    assert_eq!((first.plane, first.method.as_str()), (Plane::Control, "POST"));
    assert_eq!(first.path, "/sandboxes/x%2Fy?a=b%20c");
    assert_eq!(first.path_only(), "/sandboxes/x%2Fy");
    let ones: Vec<_> = first
        .headers
        .iter()
        .filter(|(name, _)| name == "x-one")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!((ones, first.header("x-two")), (vec!["1", "3"], Some("2")));
    assert_eq!(format!("http://{}", first.host), setup.simulator.api_url());
    assert_eq!((second.plane, second.body_len, second.body.len()), (Plane::Data, 100_000, 0));
    assert_eq!(setup.simulator.request_count() - before, 2);
}

#[tokio::test]
async fn dropping_it_frees_its_ports() {
    let simulator = crate::simulator::Simulator::start(Options::default()).unwrap();
    let listen = simulator.api_url().strip_prefix("http://").unwrap().parse().unwrap();
    drop(simulator);
    let again = crate::simulator::Simulator::start(Options { listen, ..Options::default() });
    assert!(again.is_ok());
}
